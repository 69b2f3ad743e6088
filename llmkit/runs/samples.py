"""One line of samples.jsonl: an outcome with the texts and the calls behind it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmkit.engines.model_paths import read_text
from llmkit.errors import DataError
from llmkit.parsing import parse_json
from llmkit.runs.folder import read_journal
from llmkit.types import Outcome, Usage

_FIELDS = tuple(f.name for f in dataclasses.fields(Outcome) if f.name not in ("usage", "calls"))


@dataclass(frozen=True, slots=True)
class Sample:
    """An outcome with `question` (clean), `text` (as asked) and its calls: purpose, messages, reply, cached, seconds.

    `strength` is the share of words that noise changed; `rejected` says why a noisy copy was left as it was.
    """

    outcome: Outcome
    question: str = ""
    text: str = ""
    options: tuple[str, ...] = ()
    edits: tuple[Any, ...] = ()
    calls: tuple[Mapping[str, Any], ...] = ()
    kind: str = ""
    strength: float | None = None
    rejected: str | None = None

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Sample:
        """The sample that a journal line holds; keys it does not know are left alone."""
        calls = row.get("calls") or ()
        outcome = Outcome(
            **{name: row[name] for name in _FIELDS if name in row},
            usage=Usage.reported(
                *((row.get("usage") or {}).get(name, 0) for name in ("prompt", "completion", "cached"))
            ),
            calls=len(calls) if isinstance(calls, Sequence) else int(calls),
        )
        return cls(
            outcome,
            row.get("question") or "",
            row.get("text") or "",
            tuple(row.get("options") or ()),
            tuple(row.get("edits") or ()),
            tuple(calls) if isinstance(calls, Sequence) else (),
            row.get("question_kind") or "",
            (row.get("strength") or {}).get("words"),
            row.get("rejected"),
        )

    @property
    def seconds(self) -> float:
        """The calls' shares of the engine's time. Waiting in a queue raises it: read sums."""
        return sum(float(call.get("seconds") or 0) for call in self.calls)

    @property
    def cached_calls(self) -> int:
        """Calls that the response cache answered."""
        return sum(bool(call.get("cached")) for call in self.calls)

    def said(self, purpose: str) -> str | None:
        """The reply of the last call whose purpose contains `purpose`."""
        for call in reversed(self.calls):
            if purpose in str(call.get("purpose", "")):
                reply = call.get("reply")
                return reply.get("text", "") if isinstance(reply, Mapping) else reply
        return None


def as_samples(items: Iterable[Outcome | Sample]) -> list[Sample]:
    """Bare outcomes become samples without texts."""
    return [item if isinstance(item, Sample) else Sample(item) for item in items]


def outcomes(rows: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """The outcomes in a journal by key: the last one where a key was asked twice, with the verdict it was last given.

    The only reader of verdicts, so that metrics.json, comparisons and exports cannot differ after `llmkit eval score`.
    """
    latest: dict[str, Mapping[str, Any]] = {}
    for row in rows:
        if row.get("kind") == "outcome":
            latest[row["key"]] = row
        elif row.get("kind") == "verdict" and row["key"] in latest:
            latest[row["key"]] = {**latest[row["key"]], "parsed": row["parsed"], "correct": row["correct"]}
    return latest


def read_samples(run: Path | str) -> Iterator[Sample]:
    """The outcomes in a run folder's samples.jsonl, as they were last scored.

    A torn last line is left out. Raises DataError where there is no such file, or a line in its middle is broken.
    """
    if not (Path(run) / "samples.jsonl").is_file():
        raise DataError(f"no samples in `{run}`", "give a run folder, as `llmkit runs ls` lists them")
    return (_sample(row, Path(run)) for row in outcomes(read_journal(Path(run))).values())


def _sample(row: Mapping[str, Any], run: Path) -> Sample:
    try:
        return Sample.from_row(row)
    except (TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{run}: the answer {row['key']!r} in samples.jsonl is damaged: {error}") from None


def recipe_of(folder: Path) -> Mapping[str, Any]:
    """The recipe that a run folder was made with, as plain values; empty where it is not there."""
    from llmkit.recipe.document import parse

    path = folder / "recipe.resolved.yaml"
    try:
        tree = parse(path.read_text(encoding="utf-8"), str(path)).tree if path.is_file() else {}
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}", "the folder of this run is damaged") from None
    return tree if isinstance(tree, Mapping) else {}


def facts_of(run: Path) -> Mapping[str, Any]:
    """Returns what a run's run.json says of how it was carried out: command, engine, dtype; empty where it is not
    there.

    DataError where the file is damaged.
    """
    path = run / "run.json"
    try:
        facts = parse_json(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {error}", "the same llmkit command writes it again") from None
    if not isinstance(facts, Mapping):
        raise DataError(f"{path}: no object with fields", "the same llmkit command writes it again")
    return facts


def dtype_of(run: Path) -> str:
    """Returns what a run was computed in, in words."""
    return facts_of(run).get("dtype") or "not known, as a server does not say"


def system_prompt_of(run: Path) -> str | None:
    """The system prompt that the engine put before every conversation of a run; the journal holds messages without it.

    Runs of before it was kept are read from the file that their recipe names: UsageError where that is gone.
    """
    facts = facts_of(run)
    if "system_prompt" in facts:
        return facts["system_prompt"]
    return read_text((recipe_of(run).get("model") or {}).get("system_prompt"), "system prompt")[0]
