"""labels.jsonl: what people said of pairs of answers, one line for each judgement. The only reader and writer.

A line holds digests of the row's text and of both answers, and no text: it fits whatever run has the same text and the
same answers. Lines are only added; the latest of a pair counts.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar, get_args

from llmkit.errors import DataError
from llmkit.files import on_disk, text_digest
from llmkit.records import numbered_lines, parse_line
from llmkit.runs import names
from llmkit.terminal import json_text

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Record = TypeVar("Record", bound=DataclassInstance)

Verdict = Literal["first", "second", "both", "neither", "skip", "undone"]
"""The answer that is right; "skip" where the person cannot tell, "undone" where the last verdict is taken back."""
VERDICTS: tuple[Verdict, ...] = ("first", "second", "both", "neither", "skip")
State = Literal["right", "wrong", "skipped"]


@dataclass(frozen=True, slots=True)
class Label:
    """One judgement: `first` and `second` are the answers in the order in which they were shown, `text` the row, all
    as digests. `when` is UTC, `where` "page" or "csv", `run` the name of the run in which it was given."""

    text: str
    first: str
    second: str
    verdict: Verdict
    when: str
    where: str
    run: str

    @property
    def pair(self) -> str:
        """The name of the pair, whatever its order."""
        return pair_digest(self.text, self.first, self.second)

    @property
    def right(self) -> dict[str, bool | None]:
        """The rightness of the two answers, by digest; None where the person could not tell."""
        if self.verdict == "skip":
            return {self.first: None, self.second: None}
        return {self.first: self.verdict in ("first", "both"), self.second: self.verdict in ("second", "both")}


def pair_digest(text: str, one: str, other: str) -> str:
    """Returns the name of a pair of answers to one row, from three digests; the order of the answers does not
    matter."""
    return text_digest(" ".join((text, *sorted((one, other)))))


def now() -> str:
    """Returns the time as labels keep it: UTC, to the microsecond, so that texts sort as times do."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def read(path: Path) -> list[Label]:
    """Returns the labels of a file, in the order of its lines; none where there is no file. Raises as `records`."""
    return records(path, Label, get_args(Verdict))


def records(path: Path, form: type[Record], verdicts: Sequence[str]) -> list[Record]:
    """Returns the lines of a file of verdicts as values of `form`, whose fields are all texts; none where there is no
    file.

    DataError names file and line of one that is damaged. A last line without its end was being written when the process
    died: it never happened.
    """
    if not path.is_file():
        return []
    whole = path.read_bytes()
    lines = whole[: whole.rfind(b"\n") + 1].split(b"\n")
    return [_record(line, place, form, verdicts) for place, line in numbered_lines(lines, str(path))]


def judgements(folder: Path) -> Judgements | None:
    """Returns what people said of the answers of a run; None where nobody was asked."""
    file = folder / names.LABELS
    return Judgements(read(file)) if file.is_file() else None


def _record(line: bytes, place: str, form: type[Record], verdicts: Sequence[str]) -> Record:
    try:
        row = parse_line(line)
    except DataError as error:
        raise DataError(f"{place}: {error.message}", _DELETE) from None
    keys = [field.name for field in fields(form)]
    if not isinstance(row, dict) or any(not isinstance(row.get(key), str) for key in keys):
        raise DataError(f"{place}: not a {form.__name__.lower()}", _DELETE)
    if row["verdict"] not in verdicts:
        raise DataError(f"{place}: no verdict is called {row['verdict']!r}", _DELETE)
    return form(**{key: row[key] for key in keys})


_DELETE = "delete that line; its pair is asked again"


def append(path: Path, made: Iterable[DataclassInstance]) -> None:
    """Adds verdicts to a file, which is on the disk when this returns. Incomplete where the disk is full.

    A torn last line of an earlier process is ended first, and is then a line of its own that `read` would refuse: so it
    is cut off.
    """
    data = "".join(f"{json_text(asdict(record))}\n" for record in made).encode()
    with on_disk(path.parent), open(path, "ab+", buffering=0) as file:
        _cut_torn_line(file.fileno())
        while data:
            data = data[file.write(data) or 0 :]
        os.fsync(file.fileno())


def _cut_torn_line(file: int) -> None:
    size = os.fstat(file).st_size
    tail = os.pread(file, 65536, max(0, size - 65536))
    if tail and not tail.endswith(b"\n"):
        os.ftruncate(file, size - len(tail) + tail.rfind(b"\n") + 1)


class Judgements:
    """The sum of a set of labels: by pair the verdict that counts, by text and answer whether it is right.

    The latest label wins. `conflicts` counts those that it overruled: other verdicts on the same pair, and other
    judgements of the same answer to the same text.
    """

    def __init__(self, labels: Iterable[Label] = ()) -> None:
        self.conflicts = 0
        self.pairs: dict[str, Label] = {}
        for label in sorted(labels, key=lambda label: label.when):
            before = self.pairs.pop(label.pair, None)
            if label.verdict != "undone":
                self.conflicts += before is not None and before.right != label.right
                self.pairs[label.pair] = label  # after all earlier ones
        self._states: dict[tuple[str, str], tuple[bool, str, State]] = {}
        for label in self.pairs.values():
            for answer, right in label.right.items():
                place = label.text, answer
                known = self._states.get(place)
                # A person who cannot tell of one pair may have told of the same answer in another.
                latest = (right is not None, label.when, _state(right))
                self.conflicts += known is not None and known[0] and latest[0] and known[2] != latest[2]
                self._states[place] = max(latest, known) if known else latest

    def state(self, text: str, answers: Iterable[str]) -> State | None:
        """Returns what is known of equal answers to a text, all as digests; None where nobody has looked at them."""
        known = [state for answer in answers if (state := self._states.get((text, answer)))]
        return max(known)[2] if known else None


def _state(right: bool | None) -> State:
    return "skipped" if right is None else "right" if right else "wrong"
