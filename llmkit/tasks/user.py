"""A user's own questions: JSONL, CSV or Parquet, by the names of their fields."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from llmkit.errors import DataError, UsageError
from llmkit.parsing import parse_json
from llmkit.recipe.schema import DataSection
from llmkit.records import Record, csv_rows, decode, json_lines, parquet_rows
from llmkit.registry import nearest
from llmkit.tasks import conversations
from llmkit.tasks.base import Item, question
from llmkit.tasks.kinds import KINDS
from llmkit.tasks.sources import json_rows
from llmkit.tasks.splits import digest, split_all
from llmkit.tasks.text import normalise, wording
from llmkit.types import Question

_MOST_LABELS = 1_000


def read(data: DataSection, path: str, noisy: Sequence[str] = ()) -> tuple[list[Question], int]:
    """Returns the questions of the file `path` in the order of the file, and the count of bad rows left out.

    `noisy` are the fields that noise falls on, by default `data.question`.
    """
    if KINDS[data.kind].has_options and data.options is None:
        hint = "name the field that holds the list of options"
        raise UsageError(f"`data.kind: {data.kind}` needs `data.options`", hint)
    rows: Iterable[Record] = _rows(path)
    labels: tuple[str, ...] = ()
    if KINDS[data.kind].lists_labels:
        rows = list(rows)
        labels = _labels(rows, data, path)
    questions: list[Question] = []
    lines: dict[str, str] = {}  # where each id stood
    texts: dict[str, int] = {}  # how often each text stood
    skipped = 0
    form: tuple[str, str] | None = None  # of the first row, and where it stands
    for where, row in rows:
        try:
            item, name, cluster = _item(row, data, noisy)
            form = form or (_form(item), where)
            if _form(item) != form[0]:
                raise DataError(f"rows are of mixed kinds: this one is {_form(item)}, {form[1]} is {form[0]}")
            if name is None:
                count = texts[item.text] = texts.get(item.text, 0) + 1
                name = f"row-{digest(item.text)}" + (f"-{count}" if count > 1 else "")
            if name in lines:
                raise DataError(f"the id {name!r} stands already at {lines[name]}")
            split = split_all(normalise(cluster or item.text))  # a cluster is never cut: what it shares would leak
            questions.append(question(item, data.kind, id=name, split=split, cluster=cluster, labels=labels, data=data))
            lines[name] = where
        except DataError as error:
            if not data.skip_bad_lines:
                hint = error.hint or "`--skip-bad-lines` counts such rows instead"
                raise DataError(f"{where}: {error.message}", hint) from None
            skipped += 1
    if not questions:
        raise DataError(f"{path}: holds no questions" + (f" ({skipped} bad rows)" if skipped else ""))
    return questions, skipped


def _labels(rows: Iterable[Record], data: DataSection, path: str) -> tuple[str, ...]:
    """Returns the labels that all questions share: those of the recipe, else those of all rows, in order."""
    if data.labels:
        return data.labels
    kind = KINDS[data.kind].of(data)
    found: set[str] = set()
    for _, row in rows:
        gold = row.get(data.answer) if isinstance(row, Mapping) and data.answer else None
        with suppress(DataError):  # it is said where the row is read
            found.update(label for label in kind.labels_in(gold) if gold is not None and label)
    if not found or len(found) > _MOST_LABELS:
        count = f"{len(found):,} different labels" if found else "no labels"
        raise DataError(f"{path}: the rows have {count}", f"list them as `data.labels`, at most {_MOST_LABELS:,}")
    return tuple(sorted(found))


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


def _item(row: Any, data: DataSection, noisy: Sequence[str]) -> tuple[Item, str | None, str]:
    """Returns the row as an item, with the rest of its fields as `meta`, its own id if it has one, and its cluster."""
    if isinstance(row, DataError):
        raise row
    if not isinstance(row, Mapping):
        raise DataError(f"not an object with fields but {json.dumps(row)[:60]}")
    asked = tuple(noisy) or (_question_field(row, data),)
    used = {
        field: _field(row, field, empty=field in noisy)
        for field in (*asked, data.answer, data.options, data.id, data.cluster)
        if field
    }
    parts = tuple(part for field in asked for part in conversations.parts_of(field, used[field]))
    options = _options(used[data.options]) if data.options else ()
    gold = used[data.answer] if data.answer else None
    if KINDS[data.kind].whole_text and (len(parts) != 1 or parts[0].turn is not None):
        raise DataError(f"answers of the kind `{data.kind}` are about one text", "name one field as `data.question`")
    if data.answer and not (KINDS[data.kind].structured or isinstance(gold, str | int | float | Decimal)):
        raise DataError(f"the field `{data.answer}` is no answer but {json.dumps(gold, default=str)[:60]}")
    meta = {key: value for key, value in row.items() if key not in used}
    fields = {str(key): value for key, value in row.items() if key != data.answer}
    name, cluster = (str(used[field]) if field else None for field in (data.id, data.cluster))
    text = wording([part.text for part in parts])
    return Item(text, gold, options, meta=meta, fields=fields, parts=parts), name, cluster or ""


def _question_field(row: Mapping[str, Any], data: DataSection) -> str:
    """Returns the field that is asked: a conversation where a row has no `question` but `messages`."""
    unnamed = data.question == DataSection.model_fields["question"].default and data.question not in row
    return conversations.FIELD if unnamed and conversations.FIELD in row else data.question


def _form(item: Item) -> str:
    """Returns what a row asks with, in words."""
    return "a conversation" if any(part.turn is not None for part in item.parts) else "a text"


def _field(row: Mapping[str, Any], field: str, empty: bool = False) -> Any:
    if field not in row:
        close = nearest(field, map(str, row))
        hint = f"did you mean `{close[0]}`? " if close else ""
        raise DataError(f"no field `{field}`", f"{hint}its fields are {', '.join(map(str, row))}")
    if not empty and (row[field] is None or row[field] == ""):
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
