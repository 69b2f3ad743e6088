"""An output folder in parts: one file a shard, a marker for each that is done, and the proof that none is missing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, ValidationError

import llmkit
from llmkit.errors import DataError, Incomplete, UsageError
from llmkit.extras import need
from llmkit.parsing import JsonObject
from llmkit.perturb.places import below, names_in, opened, published, size_of
from llmkit.perturb.shards import Inputs, Shard
from llmkit.perturb.stream import RowPerturber

Format = Literal["jsonl", "parquet"]
Compression = Literal["none", "gzip", "zstd"]

_MARKERS = "_done"
_SUFFIX = {"none": "", "gzip": ".gz", "zstd": ".zst"}
_BLOCK = 1 << 20


class Part(BaseModel):
    """The marker of a part that is done."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    shard: int
    of: int
    start: int
    """Where the part begins on the axis of the inputs' bytes, and where it ends."""
    end: int
    rows: int
    """Input rows, and those of them that were left out (`--skip-bad-lines`)."""
    skipped: int
    written: int
    """Output rows."""
    file: str
    bytes: int
    sha256: str
    version: str
    job: str
    """A digest of all that decides what is written but the cut: equal jobs write equal rows."""
    inputs: tuple[tuple[str, int], ...]
    """Name and size of each input."""
    conditions: tuple[str, ...]


@dataclass(frozen=True)
class Layout:
    """The form of an output folder: where it is, and the format and compression of its files."""

    folder: str
    format: Format = "jsonl"
    compression: Compression = "none"

    def part(self, shard: Shard) -> str:
        """Returns the name of a shard's file."""
        ending = ".parquet" if self.format == "parquet" else f".jsonl{_SUFFIX[self.compression]}"
        return f"part-{_numbered(shard)}{ending}"

    def marker(self, shard: Shard) -> str:
        return below(self.folder, _MARKERS, f"{_numbered(shard)}.json")


def _numbered(shard: Shard) -> str:
    return f"{shard[0]:05}-of-{shard[1]:05}"


def job_digest(inputs: Inputs, work: RowPerturber, layout: Layout) -> str:
    """Returns a digest of what decides the bytes of the output, wherever it is cut."""
    perturbers = {name: perturber.__reduce__()[1] for name, perturber in work.perturbers.items()}
    settings = [llmkit.__version__, inputs.described(), perturbers, work.fields.__dict__, work.copies]
    settings += [work.skip_bad_lines, work.edits, layout.format, layout.compression]
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:16]


class Sink(Protocol):
    """Takes encoded rows, line by line."""

    def write(self, lines: bytes, /) -> Any: ...


@dataclass
class Written:
    """A part while it is written. Only what reaches its file counts."""

    file: IO[bytes]
    digest: Any = field(default_factory=hashlib.sha256)
    size: int = 0

    def write(self, block: bytes) -> int:
        self.digest.update(block)
        self.size += len(block)
        return self.file.write(block)


@contextmanager
def sink_of(layout: Layout, file: Any) -> Iterator[Sink]:
    """Encodes and compresses what a part holds into an open file."""
    if layout.format == "jsonl" and layout.compression == "none":
        yield file
        return
    need("pyarrow", extra="parquet", what=f"--format {layout.format} --compression {layout.compression}")
    import pyarrow as pa

    target = pa.PythonFile(_Forward(file), mode="w")
    if layout.format == "parquet":
        rows = _ParquetRows(target, layout.compression)
        try:
            yield rows
        finally:
            rows.close()
        return
    with pa.CompressedOutputStream(target, layout.compression) as stream:
        yield stream


class _Forward:
    """A file as pyarrow writes to it, which never closes it: its owner publishes it."""

    closed = False

    def __init__(self, file: Any) -> None:
        self.file, self.position = file, 0

    def write(self, block: Any) -> int:
        content = bytes(block)
        self.file.write(content)
        self.position += len(content)
        return len(content)

    def tell(self) -> int:
        return self.position

    def flush(self) -> None: ...

    def close(self) -> None: ...


class _ParquetRows:
    """Writes encoded rows as Parquet, with `perturbation` as JSON text: its keys differ from row to row."""

    def __init__(self, target: Any, compression: Compression) -> None:
        self.target, self.compression = target, compression
        self.writer: Any = None

    def write(self, lines: bytes) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        rows = [json.loads(line) for line in lines.splitlines()]
        if not rows:
            return
        for row in rows:
            row["perturbation"] = json.dumps(row["perturbation"], ensure_ascii=False)
        schema = self.writer.schema if self.writer else None
        try:
            table = pa.Table.from_pylist(rows, schema=schema)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
            raise DataError(
                f"these rows have no one Parquet schema: {str(error).splitlines()[0]}",
                "a field must have one type in all rows: write JSON lines (--format jsonl)",
            ) from None
        if self.writer is None:
            self.writer = pq.ParquetWriter(self.target, table.schema, compression=self.compression)
        elif unknown := sorted({name for row in rows for name in row} - set(table.schema.names)):
            raise DataError(
                f"field `{unknown[0]}` is not in the rows before", "rows of one schema are needed, or --format jsonl"
            )
        self.writer.write_table(table)

    def close(self) -> None:
        if self.writer is None:  # a part without a row is a Parquet file all the same
            import pyarrow as pa
            import pyarrow.parquet as pq

            self.writer = pq.ParquetWriter(self.target, pa.schema([]), compression=self.compression)
        self.writer.close()


def write_part(
    layout: Layout, shard: Shard, inputs: Inputs, work: RowPerturber, made: Callable[[Sink], tuple[int, int]]
) -> Part:
    """Writes one shard: its file, then its marker. `made` writes the rows and counts those read and those skipped."""
    span = inputs.span(shard)
    name = layout.part(shard)
    with published(below(layout.folder, name)) as file:
        written = Written(file)
        with sink_of(layout, written) as sink:
            rows, skipped = made(sink)
    part = Part(
        shard=shard[0],
        of=shard[1],
        start=span.start,
        end=span.end,
        rows=rows,
        skipped=skipped,
        written=(rows - skipped) * work.per_row,
        file=name,
        bytes=written.size,
        sha256=written.digest.hexdigest(),
        version=llmkit.__version__,
        job=job_digest(inputs, work, layout),
        inputs=tuple(inputs.described()),
        conditions=tuple(work.perturbers),
    )
    with published(layout.marker(shard)) as file:
        file.write(part.model_dump_json(indent=1).encode() + b"\n")
    return part


def parts_of(folder: str) -> list[Part]:
    """Returns the markers of a folder in the order of their shards. DataError for one that cannot be read."""
    return sorted((_read(below(folder, _MARKERS, name)) for name in names_in(below(folder, _MARKERS))), key=_order)


def _order(part: Part) -> tuple[int, int]:
    return part.of, part.shard


def _read(name: str) -> Part:
    with opened(name) as file:
        try:
            return Part.model_validate_json(file.read())
        except ValidationError as error:
            raise DataError(
                f"{name}: not a marker of a part ({error.errors()[0]['msg']})", "delete it, and write the shard again"
            ) from None


def refuse_others(layout: Layout, shard: Shard, job: str) -> Part | None:
    """Returns the marker of a shard that is done already. UsageError where the folder holds parts of another job."""
    for part in parts_of(layout.folder):
        if part.of != shard[1]:
            raise UsageError(
                f"{layout.folder} holds part {part.shard} of {part.of}, not of {shard[1]}", "give another folder"
            )
        if part.job != job:
            raise UsageError(_differs(layout.folder, part, job), "give another folder, or the flags of the other parts")
        if part.shard == shard[0]:
            return part
    return None


def _differs(folder: str, part: Part, job: str) -> str:
    made_by = f" by llmkit {part.version}" if part.version != llmkit.__version__ else ""
    return (
        f"{folder}: part {part.shard} of {part.of} was written{made_by} from other inputs or with other flags "
        f"({', '.join(part.conditions)}; job {part.job}, this one is {job})"
    )


def check(folder: str, job: str | None = None, progress: Callable[[int], None] = lambda done: None) -> list[Part]:
    """Proves that a folder holds every row once: all parts are there, their spans lie end to end, and each file has the
    content that its marker states. Returns the markers.

    Incomplete for a part that is missing, DataError for one that is damaged, doubled or of another job.
    """
    parts = parts_of(folder)
    if not parts:
        raise Incomplete(f"{folder}: no part is done", "write one with --shard 1/N")
    first = parts[0]
    for part in parts:
        if (part.of, part.job, part.inputs) != (first.of, first.job, first.inputs):
            raise DataError(_differs(folder, part, job or first.job), "delete that part and its marker in _done")
    if job and first.job != job:
        raise DataError(_differs(folder, first, job), "check with the flags that the parts were written with")
    missing = sorted(set(range(1, first.of + 1)) - {part.shard for part in parts})
    if missing:
        raise Incomplete(
            f"{folder}: {len(missing)} of {first.of} parts are missing: {_listed(missing)}",
            f"write them, e.g. --shard {missing[0]}/{first.of}",
        )
    position = 0
    for part in parts:
        if part.start != position:
            raise DataError(f"{folder}: part {part.shard} begins at byte {part.start} of the inputs, not at {position}")
        position = part.end
    total = sum(size for _, size in first.inputs)
    if position != total:
        raise DataError(f"{folder}: the parts end at byte {position} of {total}")
    known = {part.file for part in parts}
    stray = [name for name in names_in(folder) if name.startswith("part-") and name not in known]
    if stray:
        raise DataError(f"{folder}: {stray[0]} belongs to no part that is done", "delete it")
    for part in parts:
        _refuse_damaged(below(folder, part.file), part)
        progress(part.rows)
    return parts


def _refuse_damaged(name: str, part: Part) -> None:
    again = f"delete {part.file} and its marker, then write it again: --shard {part.shard}/{part.of}"
    if (size := size_of(name)) != part.bytes:
        raise DataError(f"{name}: {size} bytes, its marker says {part.bytes}", again)
    digest = hashlib.sha256()
    with opened(name) as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    if digest.hexdigest() != part.sha256:
        raise DataError(f"{name}: its content is not what its marker says", again)


def _listed(numbers: Sequence[int], most: int = 10) -> str:
    shown = ", ".join(map(str, numbers[:most]))
    return f"{shown} and {len(numbers) - most} more" if len(numbers) > most else shown


def totals(parts: Sequence[Part]) -> JsonObject:
    """Returns what the parts of a folder come to, for JSON."""
    sums: Mapping[str, int] = {
        key: sum(getattr(part, key) for part in parts) for key in ("rows", "skipped", "written", "bytes")
    }
    return {"parts": len(parts), **sums, "job": parts[0].job}
