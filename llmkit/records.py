"""Reads rows from JSON lines, CSV and Parquet, each with its place for error messages.

A row that cannot be read comes as the DataError that says why, so that the caller decides whether it stops or skips.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar

from llmkit.errors import DataError
from llmkit.extras import need
from llmkit.parsing import parse_json

Record = tuple[str, Any]
"""Where the row stands ("file:line"), and the row, or the DataError that reading it gave."""

Line = TypeVar("Line", str, bytes)

_LONGEST_FIELD = 1 << 27  # bytes of one CSV field; Python's own limit is 128 KiB, which a long document exceeds
_UNDECODED = re.compile("[\udc80-\udcff]")  # what "surrogateescape" makes of a byte that is not UTF-8


def decode(raw: bytes, name: str) -> str:
    """Returns the text of UTF-8 bytes; a DataError names the first bad line."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(f"{name}:{line}: not UTF-8 (byte 0x{raw[error.start]:02x})", "save the file as UTF-8") from None


def numbered_lines(lines: Iterable[Line], name: str) -> Iterator[tuple[str, Line]]:
    """Yields the lines that hold more than white space, each with its place."""
    for number, line in enumerate(lines, 1):
        if line and not line.isspace():
            yield f"{name}:{number}", line


def json_lines(lines: Iterable[str], name: str) -> Iterator[Record]:
    """Yields one row for each line of JSON."""
    for place, line in numbered_lines(lines, name):
        try:
            yield place, parse_line(line)
        except DataError as error:
            yield place, error


def parse_line(line: str | bytes) -> Any:
    """Returns the value of one line of JSON; a DataError where it holds none."""
    try:
        return parse_json(line)
    except UnicodeDecodeError as error:
        raise DataError(f"not UTF-8 (byte 0x{error.object[error.start]:02x} at {error.start + 1})") from None
    except ValueError as error:
        raise DataError(f"not JSON ({getattr(error, 'msg', error)})") from None


def csv_rows(lines: Iterable[str], name: str, delimiter: str = ",") -> Iterator[Record]:
    """Yields one row for each record, under the names in the first line. A place is that of a record's last line.

    Lines may be decoded with "surrogateescape": a row with bytes that are not UTF-8 is then its DataError.
    """
    csv.field_size_limit(_LONGEST_FIELD)
    reader = csv.DictReader(lines, delimiter=delimiter, strict=True)
    while True:
        first_line = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield f"{name}:{first_line}", DataError(f"not CSV ({error})")
            continue
        place = f"{name}:{reader.line_num}"
        if None in row or None in row.values():
            yield place, DataError("the number of columns differs from the first line's")
        elif any(map(_UNDECODED.search, row.values())):
            yield place, DataError("not UTF-8")
        else:
            yield place, row


def parquet_rows(path: Path) -> Iterator[Record]:
    """Yields one row for each record, in batches so that memory does not grow with the file."""
    number = 0
    with opened_parquet(path, str(path)) as file:
        for batch in file.iter_batches(batch_size=1024):
            for row in batch.to_pylist():
                number += 1
                yield f"{path}: row {number}", row


def count_parquet_rows(path: Path) -> int:
    """Returns the number of rows that a Parquet file states, without reading them."""
    with opened_parquet(path, str(path)) as file:
        count: int = file.metadata.num_rows
    return count


@contextmanager
def opened_parquet(source: Path | IO[bytes], name: str) -> Iterator[Any]:
    """Opens a Parquet file as a `pyarrow.parquet.ParquetFile`. DataError where it, or what is read of it, is none."""
    need("pyarrow", extra="parquet", what=name)
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(source) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{name}: not Parquet ({str(error).splitlines()[0]})") from None
