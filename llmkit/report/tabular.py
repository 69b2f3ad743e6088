"""Outcomes as a table: one row an answer, for a spreadsheet or a notebook."""

from __future__ import annotations

import csv as csv_
import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, BinaryIO, overload

from llmkit.measure import scored
from llmkit.measure.changed import changed_by_noise
from llmkit.parsing import JsonObject
from llmkit.runs.samples import Sample
from llmkit.secrets import scrub

if TYPE_CHECKING:
    from pyarrow import Schema, Table
    from pyarrow.parquet import ParquetWriter

_FORMULA = re.compile(r"[=@＝＠＋－\t\n]|[+-](?![\d.,]*\d%?\Z)")  # a number with a sign stays one

_SCORE = "score."  # before the name of a score, which names its column
_BATCH = 10_000  # rows of one group of a Parquet file

Column = Sequence[Any]

_TYPES: dict[str, type] = {
    "question_id": str,
    "cluster_id": str,
    "condition": str,
    "prompt": str,
    "arm": str,
    "draw": int,
    "search_seed": int,
    "holdout": str,
    "gold": str,
    "parsed": str,
    "correct": bool,
    "cut": bool,
    "fallback": str,
    "error": str,
    "calls": int,
    "prompt_tokens": int,
    "completion_tokens": int,
    "cached_tokens": int,
    "seconds": float,
    "strength": float,
    "changed": bool,
    "rejected": str,
    "question": str,
    "text": str,
    "corrected_text": str,
    "reply": str,
}
"""The columns that every table has, in their order."""


def _values(sample: Sample) -> tuple[Any, ...]:
    """Returns one answer by columns, without the lone surrogates that UTF-8 cannot hold."""
    o = sample.outcome
    usage, meta = o.usage, o.meta
    return (
        o.question_id,
        o.cluster_id,
        o.condition,
        o.prompt,
        o.arm,
        o.draw,
        int(meta.get("search_seed") or 0),
        meta.get("holdout"),
        o.gold,
        _plain(o.parsed),
        o.correct,
        o.cut,
        o.fallback,
        _plain(o.error and scrub(o.error)),
        o.calls,
        usage.prompt,
        usage.completion,
        usage.cached,
        round(sample.seconds, 4),
        sample.strength,
        changed_by_noise(sample),
        _plain(sample.rejected),
        _plain(sample.question),
        _plain(sample.text),
        _plain(o.corrected_text),
        _plain(sample.said("")),
    )


def _plain(text: str | None) -> str | None:
    return text if text is None or text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


class Answers(Sequence[JsonObject]):
    """All answers, by question, condition and arm; each row is made when it is asked for."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._samples = list(samples)
        # One key after the other: a million keys of all parts would take as much room as a tenth of the answers.
        for key in _ORDER:
            self._samples.sort(key=key)
        self._scores = scored.names(self._samples)
        self.types = _TYPES | dict.fromkeys((f"{_SCORE}{name}" for name in self._scores), float)
        """The type of each column. Scores come last, so that the places of the others do not depend on the run."""

    def __len__(self) -> int:
        return len(self._samples)

    @overload
    def __getitem__(self, place: int) -> JsonObject: ...
    @overload
    def __getitem__(self, place: slice) -> list[JsonObject]: ...
    def __getitem__(self, place: int | slice) -> JsonObject | list[JsonObject]:
        chosen = self._samples[place]
        return self._row(chosen) if isinstance(chosen, Sample) else [self._row(sample) for sample in chosen]

    def blocks(self) -> Iterator[list[Column]]:
        """Yields the columns of some thousand rows at a time."""
        for start in range(0, len(self), _BATCH):
            rows = map(self._cells, self._samples[start : start + _BATCH])
            yield list(zip(*rows, strict=True))

    def _row(self, sample: Sample) -> JsonObject:
        return dict(zip(self.types, self._cells(sample), strict=True))

    def _cells(self, sample: Sample) -> tuple[Any, ...]:
        if not self._scores:
            return _values(sample)
        known = {name: value for name, value in sample.outcome.scores.items() if name not in sample.unknown}
        return *_values(sample), *map(known.get, self._scores)


_ORDER: tuple[Callable[[Sample], str], ...] = (
    lambda s: str(s.outcome.meta.get("holdout")),
    lambda s: str(int(s.outcome.meta.get("search_seed") or 0)),
    lambda s: str(s.outcome.draw),
    lambda s: s.outcome.arm,
    lambda s: s.outcome.condition,
    lambda s: s.outcome.question_id,
)
"""What rows are sorted by, the last one first."""


def write(answers: Answers, csv: BinaryIO, parquet: BinaryIO | None = None) -> None:
    """Writes all answers as CSV with a header, and as Parquet as well if there is a file for it: in one pass, as a run
    may have more answers than there is room for as rows.

    In CSV what is missing is empty, and what a spreadsheet would run as a formula begins with '. In Parquet columns
    have their types even where all their values are missing.
    """
    with ExitStack() as stack:
        groups = stack.enter_context(_parquet(answers, parquet)) if parquet else None
        csv.write(_lines([answers.types]))
        for columns in answers.blocks():
            csv.write(_lines(zip(*map(_inert, columns), strict=True)))
            if groups:
                groups.write_table(_group(columns, groups.schema))


def _lines(rows: Iterable[Iterable[Any]]) -> bytes:
    """Returns rows as lines of CSV."""
    out = io.StringIO(newline="")
    csv_.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue().encode("utf-8")


def _inert(column: Column) -> Column:
    texts = any(issubclass(kind, str) for kind in set(map(type, column)))
    return list(map(inert, column)) if texts else column


def inert(cell: Any) -> Any:
    """Returns a cell that no spreadsheet runs as a formula: such a text begins with '."""
    if not isinstance(cell, str):
        return cell
    # The csv module does not quote a lone \r, which ends a row.
    text = cell.replace("\r\n", "\n").replace("\r", "\n") if "\r" in cell else cell
    return f"'{text}" if _FORMULA.match(text) else text


def _parquet(answers: Answers, file: BinaryIO) -> ParquetWriter:
    import pyarrow as pa
    from pyarrow import parquet as pq

    types = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string()}
    schema = pa.schema([(name, types[kind]) for name, kind in answers.types.items()])
    return pq.ParquetWriter(file, schema, compression="zstd")


def _group(columns: Iterable[Column], schema: Schema) -> Table:
    import pyarrow as pa

    return pa.Table.from_arrays(list(map(pa.array, columns, schema.types)), schema=schema)
