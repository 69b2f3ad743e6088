"""A user's own questions: JSONL, CSV or Parquet, by the names of their fields."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator, Mapping
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from llmkit.errors import DataError, UsageError
from llmkit.parsing import parse_json
from llmkit.recipe.schema import DataSection
from llmkit.records import Record, csv_rows, decode, json_lines, parquet_rows
from llmkit.registry import nearest
from llmkit.tasks.base import Item, question
from llmkit.tasks.kinds import KINDS
from llmkit.tasks.sources import json_rows
from llmkit.tasks.splits import digest, split_all
from llmkit.tasks.text import normalise
from llmkit.types import Question


def read(data: DataSection, path: str) -> tuple[list[Question], int]:
    """Returns the questions of the file `path` in the order of the file, and the count of bad rows left out."""
    if KINDS[data.kind].has_options and data.options is None:
        hint = "name the field that holds the list of options"
        raise UsageError(f"`data.kind: {data.kind}` needs `data.options`", hint)
    questions: list[Question] = []
    lines: dict[str, str] = {}  # where each id stood
    texts: dict[str, int] = {}  # how often each text stood
    skipped = 0
    for where, row in _rows(path):
        try:
            item, name, cluster = _item(row, data)
            if name is None:
                count = texts[item.text] = texts.get(item.text, 0) + 1
                name = f"row-{digest(item.text)}" + (f"-{count}" if count > 1 else "")
            if name in lines:
                raise DataError(f"the id {name!r} stands already at {lines[name]}")
            split = split_all(normalise(cluster or item.text))  # a cluster is never cut: what it shares would leak
            questions.append(question(item, data.kind, id=name, split=split, cluster=cluster))
            lines[name] = where
        except DataError as error:
            if not data.skip_bad_lines:
                hint = error.hint or "`--skip-bad-lines` counts such rows instead"
                raise DataError(f"{where}: {error.message}", hint) from None
            skipped += 1
    if not questions:
        raise DataError(f"{path}: holds no questions" + (f" ({skipped} bad rows)" if skipped else ""))
    return questions, skipped


def _rows(path: str) -> Iterator[Record]:
    if path == "-":
        return json_lines(decode(_stdin(), "standard input").split("\n"), "standard input")
    file = Path(path).expanduser()
    if not file.is_file():
        beside = [p.name for p in file.parent.iterdir() if p.is_file()] if file.parent.is_dir() else []
        close = nearest(file.name, beside)
        hint = f"did you mean {' or '.join(f'`{file.parent / name}`' for name in close)}?" if close else None
        raise DataError(f"there is no file {path}", hint)
    if file.suffix == ".parquet":
        return parquet_rows(file)
    text = decode(file.read_bytes(), path)
    if file.suffix == ".csv":
        return csv_rows(io.StringIO(text, newline=""), path)
    return json_rows(text, path) if file.suffix == ".json" else json_lines(text.split("\n"), path)


@cache
def _stdin() -> bytes:
    """Returns standard input, which can be read once and is asked for once per split."""
    return sys.stdin.buffer.read()


def _item(row: Any, data: DataSection) -> tuple[Item, str | None, str]:
    """Returns the row as an item, with the rest of its fields as `meta`, its own id if it has one, and its cluster."""
    if isinstance(row, DataError):
        raise row
    if not isinstance(row, Mapping):
        raise DataError(f"not an object with fields but {json.dumps(row)[:60]}")
    used = {
        field: _field(row, field)
        for field in (data.question, data.answer, data.options, data.id, data.cluster)
        if field
    }
    text = used[data.question]
    if not isinstance(text, str):
        raise DataError(f"the field `{data.question}` is no text but {json.dumps(text, default=str)[:60]}")
    options = _options(used[data.options]) if data.options else ()
    gold = used[data.answer] if data.answer else None
    if data.answer and not isinstance(gold, str | int | float | Decimal):
        raise DataError(f"the field `{data.answer}` is no answer but {json.dumps(gold, default=str)[:60]}")
    meta = {key: value for key, value in row.items() if key not in used}
    name, cluster = (str(used[field]) if field else None for field in (data.id, data.cluster))
    return Item(text.strip(), gold, options, meta=meta), name, cluster or ""


def _field(row: Mapping[str, Any], field: str) -> Any:
    if field not in row:
        close = nearest(field, map(str, row))
        hint = f"did you mean `{close[0]}`? " if close else ""
        raise DataError(f"no field `{field}`", f"{hint}its fields are {', '.join(map(str, row))}")
    if row[field] is None or row[field] == "":
        raise DataError(f"the field `{field}` is empty")
    return row[field]


def _options(value: Any) -> list[str]:
    if isinstance(value, str):
        value = _json_list(value) if value.lstrip().startswith("[") else value.split("|")
    if not isinstance(value, list) or not all(isinstance(option, str | int | float) for option in value):
        raise DataError("the options are no list of texts")
    options = [str(option).strip() for option in value]
    if twice := [option for option in options if options.count(option) > 1]:
        raise DataError(f"the option {twice[0]!r} stands twice")
    return options


def _json_list(text: str) -> Any:
    try:
        return parse_json(text)
    except ValueError:
        raise DataError("the options start like a JSON list and are none") from None
