"""Rows from files and from the hub, with the place of each row for error messages."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llmkit.errors import DataError
from llmkit.extras import need
from llmkit.parsing import parse_json
from llmkit.tasks.base import Hub

Row = tuple[str, Any]
"""Where the row stands (`file:line`), and the row, or the DataError that reading it gave."""


def decode(raw: bytes, name: str) -> str:
    """Text from UTF-8 bytes; a DataError names the first bad line."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(f"{name}:{line}: not UTF-8 (byte 0x{raw[error.start]:02x})", "save the file as UTF-8") from None


def json_rows(text: str, name: str) -> Iterator[Row]:
    """Rows of a JSON list, of the `examples` of a BIG-bench task, or of JSON lines."""
    try:
        value = parse_json(text)
    except json.JSONDecodeError as error:
        if text.lstrip()[:1] == "[":
            raise DataError(f"{name}:{error.lineno}: not JSON ({error.msg})") from None
        yield from json_lines(text, name)
        return
    rows = value.get("examples", [value]) if isinstance(value, dict) else value
    if not isinstance(rows, list):
        raise DataError(f"{name}: holds no list of rows")
    for index, row in enumerate(rows, 1):
        yield f"{name}: row {index}", row


def json_lines(text: str, name: str) -> Iterator[Row]:
    """One row a line; a line that is no JSON object comes as its DataError."""
    for index, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            yield f"{name}:{index}", parse_json(line)
        except json.JSONDecodeError as error:
            yield f"{name}:{index}", DataError(f"not JSON ({error.msg})")


def csv_rows(text: str, name: str) -> Iterator[Row]:
    """One row a record, under the names of the first line."""
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    while True:
        start = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield f"{name}:{start}", DataError(f"not CSV ({error})")
            continue
        where = f"{name}:{reader.line_num}"
        if None in row or None in row.values():
            yield where, DataError("the number of columns differs from the first line's")
        else:
            yield where, row


def parquet_rows(path: Path) -> Iterator[Row]:
    """One row a record."""
    need("pyarrow", extra="parquet", what=str(path))
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not Parquet ({str(error).splitlines()[0]})") from None
    for index, row in enumerate(table.to_pylist(), 1):
        yield f"{path}: row {index}", row


def hub_rows(hub: Hub, part: str) -> Iterator[Row]:
    """Rows of one part of a set on the hub, by `datasets.load_dataset`; whatever it raises goes through."""
    import datasets

    _knock(hub)
    for split in hub.parts[part]:
        rows = datasets.load_dataset(hub.name, hub.config, split=split, revision=hub.revision)
        for index, row in enumerate(rows, 1):
            yield f"{hub.name}/{split}: row {index}", row


def _knock(hub: Hub) -> None:
    """Fails at once where there is no hub: `load_dataset` would try again for half a minute."""
    from huggingface_hub import HfApi, constants

    downloaded = Path(constants.HF_HUB_CACHE) / f"datasets--{hub.name.replace('/', '--')}"
    if not constants.HF_HUB_OFFLINE and not downloaded.is_dir():
        HfApi().dataset_info(hub.name, revision=hub.revision, timeout=20)
