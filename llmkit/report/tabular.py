"""Outcomes as a table: one row an answer, for a spreadsheet or a notebook."""

from __future__ import annotations

import csv as csv_
import io
import re
from collections.abc import Iterator, Sequence
from typing import Any, overload

from llmkit.measure import scored
from llmkit.measure.changed import changed_by_noise
from llmkit.parsing import JsonObject
from llmkit.runs.samples import Sample
from llmkit.secrets import scrub

_FORMULA = re.compile(r"[=@＝＠＋－\t\n]|[+-](?![\d.,]*\d%?\Z)")  # a number with a sign stays one

_SCORE = "score."  # before the name of a score, which names its column
_BATCH = 10_000  # rows of one group of a Parquet file


def row(sample: Sample) -> JsonObject:
    """Returns one answer, flat, without the lone surrogates that UTF-8 cannot hold."""

    o = sample.outcome
    return {
        "question_id": o.question_id,
        "cluster_id": o.cluster_id,
        "condition": o.condition,
        "prompt": o.prompt,
        "arm": o.arm,
        "draw": o.draw,
        "search_seed": int(o.meta.get("search_seed") or 0),
        "holdout": o.meta.get("holdout"),
        "gold": o.gold,
        "parsed": _plain(o.parsed),
        "correct": o.correct,
        "cut": o.cut,
        "fallback": o.fallback,
        "error": _plain(o.error and scrub(o.error)),
        "calls": o.calls,
        "prompt_tokens": o.usage.prompt,
        "completion_tokens": o.usage.completion,
        "cached_tokens": o.usage.cached,
        "seconds": round(sample.seconds, 4),
        "strength": sample.strength,
        "changed": changed_by_noise(sample),
        "rejected": _plain(sample.rejected),
        "question": _plain(sample.question),
        "text": _plain(sample.text),
        "corrected_text": _plain(o.corrected_text),
        "reply": _plain(sample.said("")),
    }


def _plain(text: str | None) -> str | None:
    return text if text is None or text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


class Answers(Sequence[JsonObject]):
    """All answers, by question, condition and arm; each row is made when it is asked for."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._samples = sorted(samples, key=_order)
        self._scores = scored.names(self._samples)

    def __len__(self) -> int:
        return len(self._samples)

    @overload
    def __getitem__(self, place: int) -> JsonObject: ...
    @overload
    def __getitem__(self, place: slice) -> list[JsonObject]: ...
    def __getitem__(self, place: int | slice) -> JsonObject | list[JsonObject]:
        chosen = self._samples[place]
        return self._row(chosen) if isinstance(chosen, Sample) else [self._row(sample) for sample in chosen]

    def _row(self, sample: Sample) -> JsonObject:
        if not self._scores:
            return row(sample)
        # In a column each, behind the others, whose places do not depend on the run.
        known = {name: value for name, value in sample.outcome.scores.items() if name not in sample.unknown}
        return row(sample) | {f"{_SCORE}{name}": known.get(name) for name in self._scores}


def _order(sample: Sample) -> tuple[str, ...]:
    o = sample.outcome
    seed = int(o.meta.get("search_seed") or 0)
    return o.question_id, o.condition, o.arm, str(o.draw), str(seed), str(o.meta.get("holdout"))


def table(samples: Sequence[Sample]) -> Answers:
    """Returns all answers, by question, condition and arm."""
    return Answers(samples)


def csv(rows: Sequence[JsonObject]) -> bytes:
    """Returns CSV with a header. What is missing is empty; what a spreadsheet would run as a formula begins with '."""
    return b"".join(csv_lines(rows))


def csv_lines(rows: Sequence[JsonObject]) -> Iterator[bytes]:
    """Yields the lines of CSV in blocks, the header first."""
    out = io.StringIO(newline="")
    writer = csv_.writer(out, lineterminator="\n")
    names = list(rows[0]) if rows else []
    writer.writerow(names)
    for start in range(0, len(rows), _BATCH):
        writer.writerows([inert(one[name]) for name in names] for one in rows[start : start + _BATCH])
        yield out.getvalue().encode("utf-8")
        out.seek(0)
        out.truncate()
    yield out.getvalue().encode("utf-8")


def inert(cell: Any) -> Any:
    """Returns a cell that no spreadsheet runs as a formula: such a text begins with '."""
    if not isinstance(cell, str):
        return cell
    text = (
        cell.replace("\r\n", "\n").replace("\r", "\n") if "\r" in cell else cell
    )  # the csv module does not quote a lone \r, which ends a row
    return f"'{text}" if _FORMULA.match(text) else text


def parquet(rows: Sequence[JsonObject]) -> bytes:
    """Returns Parquet, with the types that the columns have even where all their values are missing."""
    import pyarrow as pa
    from pyarrow import parquet as pq

    kinds = {bool: pa.bool_(), int: pa.int64(), float: pa.float64()}
    types: dict[str, type] = {"draw": int, "search_seed": int, "correct": bool, "cut": bool, "changed": bool}
    types |= {
        "calls": int,
        "prompt_tokens": int,
        "completion_tokens": int,
        "cached_tokens": int,
        "seconds": float,
        "strength": float,
    }
    names = list(rows[0]) if rows else list(types)
    types |= {name: float for name in names if name.startswith(_SCORE)}
    schema = pa.schema([(name, kinds.get(types.get(name, str), pa.string())) for name in names])
    out = io.BytesIO()
    with pq.ParquetWriter(out, schema, compression="zstd") as writer:
        for start in range(0, max(len(rows), 1), _BATCH):
            writer.write_table(pa.Table.from_pylist(list(rows[start : start + _BATCH]), schema=schema))
    return out.getvalue()
