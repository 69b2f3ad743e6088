"""Rows through perturbers: one output row per input, condition, rate and copy, in input order, on several processes."""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import signal
from collections import Counter, deque
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice
from multiprocessing.connection import wait
from threading import Thread
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

from llmkit.errors import DataError
from llmkit.parsing import JsonObject
from llmkit.perturb.engine import NOT_SERVED, Guarded, PerturbationRecord, Perturbed, Perturber
from llmkit.perturb.input_rows import (
    InputRow,
    RowFields,
    UnreadLine,
    checked_fields,
    gold_of,
    options_of,
    with_place,
)
from llmkit.records import parse_line
from llmkit.runs import Runner
from llmkit.terminal import escape_json
from llmkit.types import Steps

EditForm = Literal["full", "compact", "none"]
"""How edits are kept: with the original and the new part of each, so that they are rebuilt from the text, or not."""

_CHUNK, _CHUNK_TEXT = 512, 1_000_000  # rows and characters handed to a worker at once


@dataclass
class ConditionStats:
    """Statistics of one condition's rows: sums of strengths, kinds of edits, rejects and shortfalls by reason.

    `not_served` counts rows by the operator and the language that it does not serve.
    """

    rows: int = 0
    words: float = 0.0
    chars: float = 0.0
    edits: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    short: int = 0
    not_served: Counter[str] = field(default_factory=Counter)

    def add(self, perturbed: Perturbed) -> None:
        self.rows += 1
        if perturbed.reason and NOT_SERVED in perturbed.reason:
            self.not_served.update(part for part in perturbed.reason.split("; ") if NOT_SERVED in part)
        if perturbed.rejected:
            self.rejected[perturbed.reason or ""] += 1
            return
        self.words += perturbed.strength.words
        self.chars += perturbed.strength.chars
        self.short += perturbed.reason is not None
        for edit in perturbed.edits:
            self.edits[edit_kind(edit.old, edit.new)] += 1

    def __iadd__(self, other: ConditionStats) -> ConditionStats:
        self.rows += other.rows
        self.words += other.words
        self.chars += other.chars
        self.short += other.short
        self.edits += other.edits
        self.rejected += other.rejected
        self.not_served += other.not_served
        return self

    def as_dict(self) -> JsonObject:
        """Returns means over the rows that were changed, and counts, for JSON."""
        changed_rows = self.rows - sum(self.rejected.values())
        return {
            "rows": self.rows,
            "changed": changed_rows,
            "words": round(self.words / changed_rows, 4) if changed_rows else None,
            "chars": round(self.chars / changed_rows, 4) if changed_rows else None,
            "edits": dict(self.edits.most_common()),
            "rejected": dict(self.rejected.most_common()),
            "short": self.short,
        } | ({"not_served": dict(self.not_served.most_common())} if self.not_served else {})


def edit_kind(old_part: str, new_part: str) -> str:
    """Names an edit: insertion, deletion, order (the same letters or words otherwise placed), case or substitution."""
    if not old_part or not new_part:
        return "deletion" if old_part else "insertion"
    if sorted(old_part) == sorted(new_part):
        return "order"
    return "case" if old_part.lower() == new_part.lower() else "substitution"


class PerturbedRows(NamedTuple):
    """The result for some rows: their number, their output lines, statistics by condition, and an error if any."""

    rows: int
    lines: bytes
    stats: dict[str, ConditionStats]
    skipped: int = 0
    error: DataError | None = None


class Done(Protocol):
    """The result for some rows; `error` is that of the first bad one."""

    @property
    def error(self) -> DataError | None: ...


D = TypeVar("D", bound=Done)
D_co = TypeVar("D_co", bound=Done, covariant=True)


class RowWork(Protocol[D_co]):
    """Work on rows that are read as those of `perturb` are. Picklable, so that workers get it once."""

    @property
    def fields(self) -> RowFields: ...

    def made(self, rows: Sequence[InputRow | UnreadLine], /) -> D_co: ...

    def steps(self, row: InputRow, /) -> Steps: ...


def read_row(line: UnreadLine, fields: RowFields) -> InputRow:
    """Reads a line that holds its own id. DataError for a bad one."""
    content = checked_fields(parse_line(line.text), fields)
    return InputRow(content, str(content[fields.id]))


@dataclass(frozen=True)
class RowPerturber:
    """The work on each row: `perturbers` by condition name. Picklable, so that workers get it once."""

    perturbers: Mapping[str, Perturber]
    fields: RowFields = field(default_factory=RowFields)
    copies: int = 1
    skip_bad_lines: bool = False
    edits: EditForm = "full"

    @property
    def per_row(self) -> int:
        return len(self.perturbers) * self.copies

    def rows(self, row: InputRow, stats: Mapping[str, ConditionStats] | None = None) -> Iterator[JsonObject]:
        """Yields the output rows of one input row."""
        text, (options, gold) = row.fields[self.fields.question], self._guarded(row)
        for condition, perturber in self.perturbers.items():
            for copy in range(self.copies):
                perturbed = perturber.apply(text, row.id, options=options, gold=gold, copy=copy)
                if stats is not None:
                    stats[condition].add(perturbed)
                yield self._row(row, perturber, copy, perturbed)

    def steps(self, row: InputRow) -> Steps:
        """Does what `made` does with one row, for operators that ask a model."""
        text, (options, gold) = row.fields[self.fields.question], self._guarded(row)
        lines, stats = [], {condition: ConditionStats() for condition in self.perturbers}
        for condition, perturber in self.perturbers.items():
            for copy in range(self.copies):
                perturbed = yield from perturber.steps(text, row.id, options=options, gold=gold, copy=copy)
                stats[condition].add(perturbed)
                lines.append(encode(self._row(row, perturber, copy, perturbed)))
        return PerturbedRows(1, b"".join(lines), stats)

    def _guarded(self, row: InputRow) -> Guarded:
        return Guarded(options_of(row.fields, self.fields), gold_of(row.fields, self.fields))

    def _row(self, row: InputRow, perturber: Perturber, copy: int, perturbed: Perturbed) -> JsonObject:
        record = self._record(row, perturber, copy, perturbed)
        return row.fields | {self.fields.question: perturbed.text, "perturbation": record}

    def _record(self, row: InputRow, perturber: Perturber, copy: int, perturbed: Perturbed) -> Mapping[str, Any]:
        record = perturber.record(row.fields[self.fields.question], perturbed)
        if self.copies > 1:
            record["copy"] = copy
        if "perturbation" in row.fields:
            record["previous"] = row.fields["perturbation"]
        return record if self.edits == "full" else _shortened(record, self.edits)

    def could_write(self, row: InputRow, lines: bytes) -> bool:
        """Returns whether these are the output lines of a row or, if a model was asked, whether they fit it."""
        if not any(perturber.most_calls for perturber in self.perturbers.values()):
            return b"".join(map(encode, self.rows(row))) == lines
        records = [json.loads(line)["perturbation"] for line in lines.splitlines()]
        specs = [perturber.spec for perturber in self.perturbers.values() for _ in range(self.copies)]
        text = row.fields[self.fields.question]
        wanted = [(spec, text if self.edits == "full" else None) for spec in specs]
        return [(record["operator"], record.get("original")) for record in records] == wanted

    def made(self, rows: Sequence[InputRow | UnreadLine]) -> PerturbedRows:
        """Perturbs several rows, up to the first bad one unless those are skipped."""
        stats = {condition: ConditionStats() for condition in self.perturbers}
        lines: list[bytes] = []
        skipped = 0
        for input_row in rows:
            if isinstance(input_row, UnreadLine):
                try:
                    row = read_row(input_row, self.fields)
                except DataError as error:
                    if not self.skip_bad_lines:
                        return PerturbedRows(
                            len(rows), b"".join(lines), stats, skipped, with_place(error, input_row.place)
                        )
                    skipped += 1
                    continue
            else:
                row = input_row
            lines += map(encode, self.rows(row, stats))
        return PerturbedRows(len(rows), b"".join(lines), stats, skipped)


def _shortened(record: PerturbationRecord, form: EditForm) -> JsonObject:
    """Returns a record without what the noisy text and `[start, end, old]` of each edit give back, or without both."""
    kept: JsonObject = {key: value for key, value in record.items() if key not in ("original", "edits")}
    if form == "compact":
        kept["edits"] = [[edit["start"], edit["end"], edit["old"]] for edit in record["edits"]]
    return kept


def encode(row: JsonObject) -> bytes:
    """Writes a row as one JSON line in UTF-8; lone surrogates, which UTF-8 cannot hold, stay escaped."""
    try:
        return escape_json(_dumps(row)).encode() + b"\n"
    except UnicodeEncodeError:
        return json.dumps(row, default=str).encode() + b"\n"


_dumps = json.JSONEncoder(ensure_ascii=False, default=str).encode
_job: RowWork[Any]  # of this worker process


def _start_worker(work: RowWork[Any]) -> None:
    global _job
    _job = work
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)  # rows leave no cycles behind: the collector would look in vain, very often
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends the work
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if hasattr(os, "setpgrp"):  # a signal to the whole group would cut a result in half, whose rest the parent awaits
        os.setpgrp()
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Ends this worker when its parent dies, because a killed parent sends nothing and the worker would wait
    forever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _worker_context() -> Any:
    """Returns the context in which workers start: their process ends them when it exits.

    A pool would have it wait for them, and where a signal came between two starts, nothing ever tells them to end.
    """
    # Forked at once into a group of their own: a worker that imports first, or the server of "forkserver", would meet
    # the signals that are sent to the group of this process.
    start_method = "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
    context: Any = type(multiprocessing.get_context(start_method))()
    context.Process = partial(context.Process, daemon=True)
    return context


def _work(rows: Sequence[tuple[Any, Any]]) -> Any:
    return _job.made(
        [
            UnreadLine(*fields_and_id) if isinstance(fields_and_id[1], bytes) else InputRow(*fields_and_id)
            for fields_and_id in rows
        ]
    )


def perturb_rows(work: RowWork[D], input_rows: Iterable[InputRow | UnreadLine], workers: int = 1) -> Iterator[D]:
    """Works on rows in chunks, in input order. Raises the error of a bad row after what came before it.

    At most a few chunks for each worker are in memory at once.
    """
    faults: list[DataError] = []
    for perturbed in _chunks(work, _until_fault(input_rows, faults), workers):
        yield perturbed
        if perturbed.error:
            raise perturbed.error
    if faults:
        raise faults[0]


def _until_fault(
    input_rows: Iterable[InputRow | UnreadLine], faults: list[DataError]
) -> Iterator[InputRow | UnreadLine]:
    """Yields the rows up to one that cannot be read. Its error goes to `faults`, so that earlier rows are written
    first."""
    try:
        yield from input_rows
    except DataError as error:
        faults.append(error)


def _chunks(work: RowWork[D], input_rows: Iterable[InputRow | UnreadLine], workers: int) -> Iterator[D]:
    chunks = _chunked(input_rows, work.fields.question)
    first_chunks = list(islice(chunks, workers if workers > 1 else 0))
    chunks = chain(first_chunks, chunks)
    workers = min(workers, len(first_chunks))  # a pool starts all of its processes at once, needed or not
    if workers <= 1:
        yield from map(work.made, chunks)
        return
    worker_pool = ProcessPoolExecutor(workers, _worker_context(), _start_worker, (work,))
    waiting: deque[Future[D]] = deque()
    try:
        for chunk in chunks:
            # Plain tuples, because named tuples take ten times as long to pickle.
            waiting.append(worker_pool.submit(_work, [(input_row[0], input_row[1]) for input_row in chunk]))
            if len(waiting) >= 3 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        worker_pool.shutdown(cancel_futures=True)


def _chunked(input_rows: Iterable[InputRow | UnreadLine], question: str) -> Iterator[list[InputRow | UnreadLine]]:
    chunk, text_length = [], 0
    for row in input_rows:
        chunk.append(row)
        text_length += len(row.text if isinstance(row, UnreadLine) else row.fields[question])
        if len(chunk) == _CHUNK or text_length >= _CHUNK_TEXT:
            yield chunk
            chunk, text_length = [], 0
    if chunk:
        yield chunk


def perturb_rows_asking(work: RowWork[D], input_rows: Iterable[InputRow], runner: Runner) -> Iterator[D]:
    """Works on rows with a model: the runner keeps many rows in flight, and they come out in input order.

    Raises the error of a request that failed; what came before it is out, and cached for the next try.
    """
    out_of_order: dict[Hashable, D] = {}
    next_number = 0
    for finished in runner.run((number, work.steps(row)) for number, row in enumerate(input_rows)):
        if finished.error:
            raise finished.error
        out_of_order[finished.key] = finished.result
        while next_number in out_of_order:
            yield out_of_order.pop(next_number)
            next_number += 1
