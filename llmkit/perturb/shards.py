"""Shards of an input: which rows belong to part I of N. Every cut reads each row once, and in the same order.

All inputs are laid one behind the other on an axis of bytes, which N shards divide evenly. What can be read by itself
(a line of JSON, a row group of Parquet, a whole file of any other type) belongs to the shard in which it begins.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import PurePosixPath
from typing import Any

from llmkit.errors import DataError, UsageError
from llmkit.parsing import JsonObject
from llmkit.perturb.english import MOST_TEXTS
from llmkit.perturb.input_rows import InputRow, InputRows, RowFields, decompressed, reader_of
from llmkit.perturb.places import opened, size_of
from llmkit.recipe.schema import DataSection
from llmkit.records import opened_parquet
from llmkit.seeds import text_id, text_key

Shard = tuple[int, int]
"""Part i of n, from 1."""

Items = Iterator[tuple[str, Any]]


def parse_shard(text: str) -> Shard:
    """Returns the shard that `--shard` names. UsageError for any other text.

    >>> parse_shard("2/8")
    (2, 8)
    """
    parts = re.fullmatch(r"(\d+)/(\d+)", text)
    if not parts or not 1 <= int(parts[1]) <= int(parts[2]):
        raise UsageError(f"--shard {text}: not a part of a whole", "write it like 2/8: the second of eight")
    return int(parts[1]), int(parts[2])


@dataclass(frozen=True)
class Span:
    """The stretch of a shard on the axis of bytes; the end is not part of it."""

    start: int
    end: int

    def holds(self, position: int) -> bool:
        return self.start <= position < self.end


class Inputs:
    """Several files as one input. Their sizes and row groups are looked up once, no row is read.

    UsageError for a type of file that cannot be read, DataError for a file that is not there or is empty of rows.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = list(names)
        doubled = {name for name in names if self.names.count(name) > 1}
        if doubled:
            raise UsageError(f"{min(doubled)} is given twice", "its rows would be written twice: give each file once")
        self._files = [_file_of(name) for name in names]

    @cached_property
    def _starts(self) -> list[int]:
        starts = [0]
        for file in self._files:
            starts.append(starts[-1] + file.size)
        return starts

    @property
    def size(self) -> int:
        """The length of the axis in bytes; Parquet counts by its uncompressed row groups."""
        return self._starts[-1]

    def described(self) -> list[tuple[str, int]]:
        """Returns the name of each file, without its folder, and its size: the same on every machine."""
        return [(PurePosixPath(file.name).name, file.size) for file in self._files]

    def span(self, shard: Shard) -> Span:
        """Returns where a shard lies on the axis."""
        number, count = shard
        return Span(self.size * (number - 1) // count, self.size * number // count)

    def items(self, span: Span) -> Items:
        """Yields the rows that begin in a span, unparsed, each with its place."""
        for file, start in zip(self._files, self._starts, strict=False):
            local = Span(max(span.start - start, 0), min(span.end - start, file.size))
            if local.start < local.end:
                yield from file.items(local)


class ShardRows(InputRows):
    """The rows of one shard. A row without an id is known by its text alone, because how often that text came before is
    known to no shard: equal texts then get equal noise."""

    def __init__(self, inputs: Inputs, shard: Shard, fields: RowFields, data: DataSection, seed: int = 7) -> None:
        if data.limit:
            raise UsageError("--limit counts rows from the beginning, which a shard does not know", "leave one out")
        self.inputs, self.span = inputs, inputs.span(shard)
        super().__init__(", ".join(inputs.names), fields, data, seed)

    def _reader(self) -> Any:
        return lambda: self.inputs.items(self.span)

    def texts(self) -> Iterator[str]:
        """Yields the texts of the first rows of the whole input: every shard must see the same ones."""
        yield from self._texts_of(islice(self.inputs.items(Span(0, self.inputs.size)), MOST_TEXTS))

    def _identified(self, content: JsonObject) -> InputRow:
        given_id = content.get(self.fields.id)
        if given_id is not None and given_id != "":
            return InputRow(content, str(given_id))
        return InputRow(content, text_id(text_key(content[self.fields.question])))


@dataclass(frozen=True)
class _Lines:
    """A file of JSON lines, which is cut between any two of them."""

    name: str
    size: int

    def items(self, span: Span) -> Items:
        with opened(self.name) as file:
            position = max(span.start - 1, 0)
            file.seek(position)
            if span.start:
                position += len(file.readline())  # the rest of a line that begins in the shard before
            for line in file:
                if position >= span.end:
                    return
                place = f"{self.name}: byte {position}"
                if position == 0 and line.lstrip()[:1] == b"[":
                    raise DataError(f"{place}: a JSON list", "one JSON object per line is needed")
                position += len(line)
                if not line.isspace():
                    yield place, line


@dataclass(frozen=True)
class _Whole:
    """A compressed file or a table of text, which only its beginning makes readable."""

    name: str
    size: int

    def items(self, span: Span) -> Items:
        if span.holds(0):
            with opened(self.name) as file:
                yield from reader_of(self.name)(decompressed(file, self.name), self.name)


@dataclass(frozen=True)
class _Groups:
    """A Parquet file, which is cut between row groups. `starts` are their places among the file's bytes."""

    name: str
    size: int
    starts: tuple[int, ...]
    rows: tuple[int, ...]

    def items(self, span: Span) -> Items:
        groups = [number for number, start in enumerate(self.starts) if span.holds(start)]
        if not groups:
            return
        with opened(self.name) as file, opened_parquet(file, self.name) as parquet:
            number = sum(self.rows[: groups[0]])
            for batch in parquet.iter_batches(batch_size=1024, row_groups=groups):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{self.name}: row {number}", row


def _file_of(name: str) -> _Lines | _Whole | _Groups:
    suffixes = [suffix.lower() for suffix in PurePosixPath(name).suffixes]
    if suffixes[-1:] == [".parquet"]:
        return _groups_of(name)
    reader_of(name)  # UsageError for an unknown type
    plain = suffixes[-1] in (".jsonl", ".json", ".ndjson")
    return (_Lines if plain else _Whole)(name, size_of(name))


def _groups_of(name: str) -> _Groups:
    with opened(name) as file, opened_parquet(file, name) as parquet:
        metadata = parquet.metadata
        groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
        starts, end = [], 0
        for group in groups:
            starts.append(end)
            end += max(group.total_byte_size, 1)
        return _Groups(name, end, tuple(starts), tuple(group.num_rows for group in groups))
