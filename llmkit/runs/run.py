"""A run folder, read: the only reader of what `RunFolder` and the training write."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from llmkit.errors import DataError
from llmkit.parsing import parse_json
from llmkit.runs import names, verdicts
from llmkit.runs.samples import Sample

Row = dict[str, Any]
"""A line of the journal, or the content of a result file."""
State = Literal["finished", "unfinished"]

_WRITTEN_AGAIN = "the `llmkit rop` or `llmkit eval` command that made the run writes it again"
_DAMAGED = "the folder of this run is damaged"


class Run:
    """One run folder. Each file is read when it is first asked for, and then kept.

    A file that is missing is not an error, because folders of earlier releases lack some: `recipe` and `facts` are then
    empty, `environment`, `instructions` and `metrics` are None. A damaged file raises a DataError that names it.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)

    @property
    def name(self) -> str:
        """The name of the folder."""
        return self.folder.name

    @property
    def exists(self) -> bool:
        """True where the folder is one of a run."""
        return self.recipe_file.is_file()

    @property
    def recipe_file(self) -> Path:
        """The file that `llmkit.recipe.load` reads the run's recipe from."""
        return self.folder / names.RESOLVED_RECIPE

    @property
    def state(self) -> State:
        """The state of the run: whether it came to its end. One that was interrupted looks like one still at work."""
        # metrics.json is written last, and removed where a run begins anew. The lock cannot be asked: in the process
        # that holds it, to open and close its file would give it up (POSIX locks).
        return "finished" if (self.folder / names.METRICS).is_file() else "unfinished"

    @property
    def stopped(self) -> str | None:
        """The look at which the run stopped before all questions were asked ("look 2 of 5"); None for any other."""
        looks = (self.metrics or {}).get("looks")
        asked = len(looks["shares"]) if looks else 0
        return f"look {asked} of {looks['of']}" if looks and asked < looks["of"] else None

    @property
    def changed(self) -> datetime:
        """The time at which anything in the folder changed last."""
        # The folder's own time changes only where a file comes or goes, and a journal grows without either.
        latest = max(path.stat().st_mtime for path in [self.folder, *self.folder.iterdir()])
        return datetime.fromtimestamp(latest)

    @property
    def files(self) -> list[str]:
        """The names of the files and folders in it, without hidden ones."""
        return sorted(path.name for path in self.folder.iterdir() if not path.name.startswith("."))

    @cached_property
    def recipe(self) -> Mapping[str, Any]:
        """The recipe as plain values. Unlike `llmkit.recipe.load`, this also reads keys that are no longer known."""
        from llmkit.recipe.document import parse

        if not self.exists:
            return {}
        try:
            document = parse(self.recipe_file.read_text(encoding="utf-8"), str(self.recipe_file))
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{self.recipe_file}: cannot be read: {error}", _DAMAGED) from None
        if document.faults or not isinstance(document.tree, Mapping):
            raise DataError(f"{self.recipe_file}: is not a recipe", _DAMAGED)
        return document.tree

    def section(self, name: str) -> Mapping[str, Any]:
        """Returns one section of the recipe; an empty one where the recipe has none."""
        section = self.recipe.get(name)
        return section if isinstance(section, Mapping) else {}

    @property
    def model(self) -> str | None:
        """The model that the recipe names."""
        return self.section("model").get("path")

    @property
    def task(self) -> str | None:
        """The question set that the recipe names, or the file."""
        data = self.section("data")
        return data.get("task") or data.get("path")

    @cached_property
    def facts(self) -> Mapping[str, Any]:
        """The content of run.json, on how the run was carried out: command, engine, dtype, shard, system prompt."""
        return self._object(names.FACTS) or {}

    @property
    def command(self) -> str | None:
        """The command that made the run, `rop` or `eval`; None where run.json does not say it."""
        return self.facts.get("command")

    @property
    def dtype(self) -> str | None:
        """The dtype that the run was computed in; None where a server answered, which does not state it."""
        return self.facts.get("dtype")

    @property
    def dtype_in_words(self) -> str:
        """The dtype as comparisons show it."""
        return self.dtype or "not known, as a server does not say"

    @property
    def system_prompt(self) -> str | None:
        """The system prompt that the engine put before every conversation; the journal holds messages without it.

        Folders of earlier releases do not keep it: there it is read from the file that the recipe names, with a
        UsageError where that file is gone.
        """
        if "system_prompt" in self.facts:
            kept = self.facts["system_prompt"]
            if kept is not None and not isinstance(kept, str):
                raise DataError(f"{self.folder / names.FACTS}: system_prompt is no text", "the same command runs again")
            return kept
        from llmkit.engines.model_paths import read_text

        return read_text(self.section("model").get("system_prompt"), "system prompt")[0]

    @cached_property
    def environment(self) -> Mapping[str, Any] | None:
        """Versions and hardware, as `llmkit.runs.environment` gave them."""
        return self._object(names.ENVIRONMENT)

    @cached_property
    def instructions(self) -> Mapping[str, Any] | None:
        """The content of instructions.json."""
        return self._object(names.INSTRUCTIONS)

    @cached_property
    def metrics(self) -> Row | None:
        """The measurements; None where the run is unfinished."""
        return self._object(names.METRICS)

    def _object(self, name: str) -> Row | None:
        """Reads a JSON file that holds one object."""
        path = self.folder / name
        try:
            content = parse_json(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: cannot be read: {error}", _WRITTEN_AGAIN) from None
        if not isinstance(content, dict):
            raise DataError(f"{path}: not an object with fields", _WRITTEN_AGAIN)
        return content

    def entries(self, kind: str = "", *, every: bool = False) -> Iterator[Row]:
        """Yields the lines of the journal, oldest first. DataError names file and line of one that is damaged.

        With `kind`, only the lines of that kind; without `every`, only those since the run last began anew. A last line
        without its end was being written when the process died: it never happened.
        """
        path = self.folder / names.JOURNAL
        # Two passes: a mark may stand behind everything else, and the lines before it need not be parsed.
        marks = () if every else (number for number, _ in _lines(path, names.GENERATION))
        begin = max(marks, default=0)
        for number, line in _lines(path, kind):
            if number <= begin:
                continue
            try:
                yield _checked(parse_json(line.decode("utf-8", "surrogatepass")))
            except ValueError as error:
                raise DataError(
                    f"{path}:{number}: not a line of a journal: {error}",
                    "delete that line; its question is asked again",
                ) from error

    def samples(self) -> Iterator[Sample]:
        """Yields the outcomes with their texts and calls, as they were last scored. DataError where there are none."""
        if not (self.folder / names.JOURNAL).is_file():
            raise DataError(f"no samples in `{self.folder}`", "give a run folder, as `llmkit runs ls` lists them")
        samples = (self._sample(row) for row in outcomes(self.entries()).values())
        return verdicts.scored(samples, verdicts.read(self.folder))

    def _sample(self, row: Row) -> Sample:
        try:
            return Sample.from_row(row)
        except (TypeError, ValueError, AttributeError) as error:
            raise DataError(
                f"{self.folder}: the answer {row['key']!r} in {names.JOURNAL} is damaged: {error}"
            ) from None

    def count_answers(self) -> int:
        """Returns how many answers the run has since it last began anew; a key counts once, a failed one not at all."""
        # Lines are searched and not parsed: journals can be long, and `llmkit runs ls` counts the answers of every run.
        keys: set[bytes] = set()
        for _, line in _lines(self.folder / names.JOURNAL, ""):
            if _kind(line) == names.GENERATION:
                keys.clear()
            elif (outcome := _OUTCOME_KEY.match(line)) and _NO_ERROR.search(line):
                keys.add(outcome[1])
        return len(keys)


def outcomes(rows: Iterable[Row]) -> dict[str, Row]:
    """Returns the outcomes in a journal by key: the last one where a key was asked twice, as it was last scored.

    The only reader of verdicts, so that metrics.json, comparisons and exports cannot differ after `llmkit eval score`.
    """
    latest: dict[str, Row] = {}
    for row in rows:
        if row.get("kind") == names.OUTCOME:
            latest[row["key"]] = row
        elif row.get("kind") == names.VERDICT and row["key"] in latest:
            latest[row["key"]] = {**latest[row["key"]], **{name: row[name] for name in names.SCORED if name in row}}
    return latest


# Every line has its kind first and its key second; other programs may have written it with spaces.
_KIND = re.compile(rb'\s*\{\s*"kind"\s*:\s*"(\w+)"')
_KEY = rb'\s*,\s*"key"\s*:\s*"((?:[^"\\]|\\.)*)"'
_OUTCOME_KEY = re.compile(rb'\s*\{\s*"kind"\s*:\s*"%s"' % names.OUTCOME.encode() + _KEY)
_NO_ERROR = re.compile(rb'"error"\s*:\s*null')  # cannot stand inside a text, because JSON escapes the quotes there


def _kind(line: bytes) -> str:
    """Returns the kind of a journal line; empty where it does not begin with one."""
    kind = _KIND.match(line)
    return kind[1].decode() if kind else ""


def _lines(path: Path, kind: str) -> Iterator[tuple[int, bytes]]:
    """Yields the whole lines of a journal with their numbers: those of one kind, or all."""
    if not path.is_file():
        return
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if line.endswith(b"\n") and (not kind or _kind(line) == kind):
                yield number, line


# The fields that a line of a kind has in every release, and the types of a call's parts where it has them.
_FIELDS = {
    names.OUTCOME: ("key", "error", "question_id", "cluster_id", "condition", "arm", "draw", "correct", "gold", "text"),
    names.NOISE: ("key", "error"),
    names.VERDICT: ("key", "parsed", "correct"),
    names.CANARY: ("key", "seen", "model", "fingerprint", "kept"),
    names.GENERATION: ("key", "place"),
}
_CALL_FIELDS = {"id": str, "purpose": str, "messages": list, "reply": dict | str, "cached": bool}


def _checked(row: Any) -> Row:
    """Returns a line that has the fields of its kind; ValueError for any other."""
    if not isinstance(row, dict):
        raise ValueError("it is not an object with fields")
    if missing := [name for name in _FIELDS.get(str(row.get("kind")), ()) if name not in row]:
        raise ValueError(f"it has no `{missing[0]}`")
    calls = row.get("calls")
    for call in calls if isinstance(calls, list) else ():
        if not isinstance(call, dict):
            raise ValueError("a call in it is not an object with fields")
        if wrong := [name for name in call if not isinstance(call[name], _CALL_FIELDS.get(name, object))]:
            raise ValueError(f"a call in it has a `{wrong[0]}` of the wrong type")
    return row
