"""The journal of a run, samples.jsonl, read line by line: the only reader of its lines.

A run may have more answers than there is room for as parsed lines, so what counts is found before it is parsed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from llmkit.errors import DataError
from llmkit.parsing import parse_line
from llmkit.runs import names

Row = dict[str, Any]
"""A line of the journal, or the content of a result file."""

# Every line has its kind first and its key second; other programs may have written it with spaces.
_KIND = re.compile(rb'\s*\{\s*"kind"\s*:\s*"(\w+)"')
_KEYED = re.compile(_KIND.pattern + rb'\s*,\s*"key"\s*:\s*"((?:[^"\\]|\\.)*)"')
_ERROR = re.compile(rb'"error"\s*:\s*[^\sn]')  # cannot be inside a text, because JSON escapes the quotes there
_OWN = b'{"kind":"'
_BUFFER = 1 << 18  # bytes read at once: a line has one or two thousand
_OUTCOME, _VERDICT, _NOISE = names.OUTCOME.encode(), names.VERDICT.encode(), names.NOISE.encode()


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


class Counted:
    """The lines of a journal that count: by key its last outcome, with the verdict that it was last given, and noise
    that a model wrote. Only lines whose head is not enough are parsed.

    Where `failed` is false, answers that failed do not count, as in a run that goes on.
    """

    def __init__(self, path: Path, *, failed: bool = True) -> None:
        self.path = path
        self.outcomes: dict[bytes, int] = {}
        """The number of the line of each outcome, by its key as it is in the file."""
        self._noise: list[int] = []
        verdicts: dict[bytes, Row] = {}
        for number, line in lines(path):
            kind, key = self._head(number, line)
            if kind == _OUTCOME:
                if failed or not self._failed(number, line):
                    self.outcomes[key] = number
                    verdicts.pop(key, None)
            elif kind == _VERDICT and key in self.outcomes:
                row = parsed(path, number, line)
                verdicts[key] = verdicts.get(key, {}) | {name: row[name] for name in names.SCORED if name in row}
            elif kind == _NOISE and not self._failed(number, line):
                self._noise.append(number)
            elif kind == names.GENERATION.encode():
                self.outcomes, self._noise, verdicts = {}, [], {}
        self._verdicts = {self.outcomes[key]: verdict for key, verdict in verdicts.items()}

    def _head(self, number: int, line: bytes) -> tuple[bytes, bytes]:
        """Returns the kind and the key of a line."""
        if (found := _KEYED.match(line)) and b"\\" not in found[2]:
            return found[1], found[2]
        row = parsed(self.path, number, line)
        return str(row.get("kind")).encode(), str(row.get("key")).encode("utf-8", "surrogatepass")

    def _failed(self, number: int, line: bytes) -> bool:
        # An `error` that is not null may also be in the arguments of a tool call.
        return bool(_ERROR.search(line)) and parsed(self.path, number, line).get("error") is not None

    def rows(self) -> Iterator[Row]:
        """Returns the outcomes, one parsed line at a time, in the order of the file. Nothing of this object has to stay
        in memory for that: a million keys would take a good part of the room for a million answers."""
        return _scored(self.path, set(self.outcomes.values()), self._verdicts)

    def kept(self) -> Iterator[bytes]:
        """Yields the lines of outcomes and noise as they are, without verdicts."""
        wanted = {*self.outcomes.values(), *self._noise}
        for number, line in lines(self.path):
            if number in wanted:
                yield line


def _scored(path: Path, wanted: Collection[int], verdicts: Mapping[int, Row]) -> Iterator[Row]:
    """Yields the parsed lines of some numbers, each with the verdict that it was last given."""
    for number, line in lines(path):
        if number in wanted:
            row = parsed(path, number, line)
            yield row | verdicts[number] if number in verdicts else row


def kind_of(line: bytes) -> str:
    """Returns the kind of a journal line; empty where it does not begin with one."""
    kind = _KIND.match(line)
    return kind[1].decode() if kind else ""


def lines(path: Path, *kinds: str) -> Iterator[tuple[int, bytes]]:
    """Yields the whole lines of a journal with their numbers: those of some kinds, or all."""
    if not path.is_file():
        return
    heads = tuple(b'{"kind":"%b"' % kind.encode() for kind in kinds)
    with open(path, "rb", buffering=_BUFFER) as file:
        for number, line in enumerate(file, 1):
            # Most lines are as llmkit writes them, and of another kind.
            if kinds and not line.startswith(heads) and (line.startswith(_OWN) or kind_of(line) not in kinds):
                continue
            if line.endswith(b"\n"):
                yield number, line


def parsed(path: Path, number: int, line: bytes) -> Row:
    """Returns a line that has the fields of its kind. DataError, with file and number, for any other."""
    try:
        return _checked(parse_line(line))
    except ValueError as error:
        raise DataError(
            f"{path}:{number}: not a line of a journal: {error}", "delete that line; its question is asked again"
        ) from error


# The fields that a line of a kind has in every release, and the types of a call's parts where it has them.
_FIELDS = {
    names.OUTCOME: ("key", "error", "question_id", "cluster_id", "condition", "arm", "draw", "correct", "gold", "text"),
    names.NOISE: ("key", "error"),
    names.VERDICT: ("key", "parsed", "correct"),
    names.CANARY: ("key", "seen", "model", "fingerprint", "kept"),
    names.GENERATION: ("key", "place"),
}
_CALL_FIELDS: tuple[tuple[str, type | tuple[type, ...]], ...] = (
    ("id", str),
    ("purpose", str),
    ("messages", list),
    ("reply", (dict, str)),
    ("cached", bool),
)


def _checked(row: Any) -> Row:
    """Returns a line that has the fields of its kind; ValueError for any other."""
    if not isinstance(row, dict):
        raise ValueError("it is not an object with fields")
    needed = _FIELDS.get(str(row.get("kind")), ())
    if not row.keys() >= set(needed):
        raise ValueError(f"it has no `{next(name for name in needed if name not in row)}`")
    calls = row.get("calls")
    for call in calls if isinstance(calls, list) else ():
        if not isinstance(call, dict):
            raise ValueError("a call in it is not an object with fields")
        for name, kind in _CALL_FIELDS:
            if name in call and not isinstance(call[name], kind):
                raise ValueError(f"a call in it has a `{name}` of the wrong type")
    return row
