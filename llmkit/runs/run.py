"""A run folder, read: the only reader of what `RunFolder` and the training write."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from llmkit.errors import DataError
from llmkit.parsing import parse_json
from llmkit.runs import names, verdicts
from llmkit.runs.journal import Counted, Row, lines, parsed
from llmkit.runs.samples import Sample

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

    def entries(self, *kinds: str, every: bool = False) -> Iterator[Row]:
        """Yields the lines of the journal, oldest first. DataError names file and line of one that is damaged.

        With `kinds`, only the lines of these; without `every`, only those since the run last began anew. A last line
        without its end was being written when the process died: it never happened.
        """
        path = self.folder / names.JOURNAL
        # Two passes: a mark may stand behind everything else, and the lines before it need not be parsed.
        marks = () if every else (number for number, _ in lines(path, names.GENERATION))
        begin = max(marks, default=0)
        return (parsed(path, number, line) for number, line in lines(path, *kinds) if number > begin)

    def outcomes(self, *, failed: bool = True) -> Iterator[Row]:
        """Yields the outcomes, the last one of each key, as they were last scored. One is in memory at a time.

        Where `failed` is false, answers that failed do not count, as in a run that goes on.
        """
        return Counted(self.folder / names.JOURNAL, failed=failed).rows()

    def samples(self) -> Iterator[Sample]:
        """Yields the outcomes with their texts and calls, as they were last scored. DataError where there are none."""
        if not (self.folder / names.JOURNAL).is_file():
            raise DataError(f"no samples in `{self.folder}`", "give a run folder, as `llmkit runs ls` lists them")
        samples = map(self._sample, self.outcomes())
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
        return len(Counted(self.folder / names.JOURNAL, failed=False).outcomes)
