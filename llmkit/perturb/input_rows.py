"""Rows to perturb: from files, standard input, the hub and tasks; one at a time, each with its place and its id."""

from __future__ import annotations

import gzip
import io
import json
import re
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path, PurePath
from typing import IO, Any, NamedTuple

from llmkit.errors import DataError, UsageError
from llmkit.extras import need
from llmkit.parsing import JsonObject
from llmkit.perturb.english import MOST_TEXTS
from llmkit.recipe.schema import DataSection
from llmkit.records import count_parquet_rows, csv_rows, numbered_lines, parquet_rows, parse_line
from llmkit.seeds import text_id, text_key

ReadLines = Callable[[Iterable[bytes], str], Iterator[tuple[str, Any]]]
"""Reads the rows of a file's lines, each with its place; the second argument is the file's name."""

_COMPRESSED = (".gz", ".zst")
_SOURCES = ".jsonl, .csv, .tsv (also with .gz or .zst), .parquet, `-`, `task:NAME`, `hub:OWNER/NAME[:SPLIT]`"


class InputRow(NamedTuple):
    """One input: its fields, and the id that its noise is seeded by."""

    fields: JsonObject
    id: str


class UnreadLine(NamedTuple):
    """A JSON line that holds its own id, not read yet: reading is work that a worker can do."""

    place: str
    text: bytes


@dataclass(frozen=True)
class RowFields:
    """The names of a row's fields. Without an id, the text and how often it was seen before replace it."""

    question: str = "question"
    id: str = "id"
    options: str = "options"
    answer: str = "answer"


class InputRows:
    """The rows of one source, in order. `skipped` counts bad ones where those are to be skipped.

    `total` is the number of rows where it is known without reading them all.
    """

    def __init__(self, source: str, fields: RowFields, data: DataSection, seed: int = 7) -> None:
        self.source, self.fields, self.data, self.seed = source, fields, data, seed
        self.skipped = 0
        self.total: int | None = None
        self._seen: Counter[int] = Counter()
        self._read = self._reader()
        self._begun: Iterator[tuple[str, Any]] | None = None
        if self.total and data.limit:
            self.total = min(self.total, data.limit)

    def __iter__(self) -> Iterator[InputRow]:
        rows = (self._row(place, content) for place, content in self._items())
        return islice(filter(None, rows), self.data.limit)

    def unread(self) -> Iterator[InputRow | UnreadLine]:
        """Yields what `iter` yields, but leaves lines unparsed that certainly hold an id, unless a limit has to be
        counted."""
        if self.data.limit:
            yield from self
            return
        encoded_name = json.dumps(self.fields.id).encode()
        holds_id = re.compile(rb"[{,]\s*" + re.escape(encoded_name) + rb'\s*:\s*(?:"[^"\\]|-?\d)').search
        for place, content in self._items():
            # One brace: no object lies inside, so the id is the row's own.
            if (
                isinstance(content, bytes)
                and content.count(b"{") == content.count(encoded_name) == 1
                and holds_id(content)
            ):
                yield UnreadLine(place, content)
            elif row := self._row(place, content):
                yield row

    def texts(self) -> Iterator[str]:
        """Yields the texts of the first rows, read ahead: `iter` and `unread` begin with the same rows."""
        items = self._items()
        read_ahead: list[tuple[str, Any]] = []
        try:
            read_ahead += islice(items, MOST_TEXTS)
        except DataError as error:
            items = _raising(error)
        self._begun = chain(read_ahead, items)
        yield from self._texts_of(read_ahead)

    def _texts_of(self, items: Iterable[tuple[str, Any]]) -> Iterator[str]:
        for _, content in items:
            with suppress(DataError):
                row = parse_line(content) if isinstance(content, bytes) else content
                yield checked_fields(row, self.fields)[self.fields.question]

    def _items(self) -> Iterator[tuple[str, Any]]:
        begun_items, self._begun = self._begun, None
        return begun_items or self._read()

    def _row(self, place: str, content: Any) -> InputRow | None:
        """Returns the row, or None if it is a bad one to be skipped."""
        try:
            return self._identified(
                checked_fields(parse_line(content) if isinstance(content, bytes) else content, self.fields)
            )
        except DataError as error:
            if not self.data.skip_bad_lines:
                raise with_place(error, place) from None
            self.skipped += 1
            return None

    def _identified(self, content: JsonObject) -> InputRow:
        """Gives a row its id: its own, else its text and how often that text came before."""
        given_id = content.get(self.fields.id)
        if given_id is not None and given_id != "":
            return InputRow(content, str(given_id))
        digest = text_key(content[self.fields.question])
        key = int.from_bytes(digest, "big")
        self._seen[key] += 1
        return InputRow(content, text_id(digest, self._seen[key]))

    def _reader(self) -> Any:
        source_kind, colon, source_name = self.source.partition(":")
        if self.source == "-":
            return self._stdin
        if colon and source_kind in ("task", "hub"):
            if not source_name.partition(":")[0].strip():
                raise UsageError(f"`{self.source}` names no set", f"valid sources: {_SOURCES}")
            return lambda: (self._task if source_kind == "task" else self._hub)(source_name)
        path = Path(self.source)
        if not path.exists():
            raise DataError(f"{path}: no such file", f"valid sources: {_SOURCES}")
        if path.suffix.lower() == ".parquet":
            self.total = count_parquet_rows(path)
            return lambda: parquet_rows(path)
        read_lines = reader_of(self.source)
        if read_lines is _jsonl and path.suffix.lower() not in _COMPRESSED and path.is_file():
            self.total = _lines(path)
        return lambda: self._file(path, read_lines)

    def _stdin(self) -> Iterator[tuple[str, Any]]:
        if sys.stdin.isatty():
            raise UsageError("standard input is a terminal, not data", "pipe JSON lines into it, or name a file")
        yield from _jsonl(sys.stdin.buffer, "<stdin>")

    @staticmethod
    def _file(path: Path, read_lines: ReadLines) -> Iterator[tuple[str, Any]]:
        try:
            with path.open("rb") as file:
                yield from read_lines(decompressed(file, str(path)), str(path))
        except OSError as error:
            raise DataError(f"{path}: {error.strerror or error}") from None

    def _task(self, task_name: str) -> Iterator[tuple[str, Any]]:
        from llmkit.tasks import load

        questions = load(self.data.model_copy(update={"task": task_name}), seed=self.seed)
        self.total = len(questions)
        for question in questions:
            fields: JsonObject = {self.fields.id: question.id, self.fields.question: question.text}
            fields["answer"] = question.gold
            if question.options:
                fields["options"] = list(question.options)
            yield question.id, fields

    def _hub(self, hub_name: str) -> Iterator[tuple[str, Any]]:
        need("datasets", extra="hf", what=f"`hub:{hub_name}`")
        import datasets

        hub_name, _, split = hub_name.partition(":")
        try:
            hub_rows = datasets.load_dataset(hub_name, split=split or self.data.split, streaming=True)
            for number, row in enumerate(hub_rows, 1):
                yield f"{hub_name}: row {number}", row
        except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise DataError(
                f"hub set `{hub_name}` is not available: {reason}", "download it and give its file"
            ) from None


def _raising(error: DataError) -> Iterator[tuple[str, Any]]:
    raise error
    yield


def reader_of(name: str) -> ReadLines:
    """Returns what reads the lines of a file, compressed or not, by the type in its name. UsageError for an unknown
    one."""
    path = PurePath(name)
    suffix = PurePath(path.stem if path.suffix.lower() in _COMPRESSED else path.name).suffix.lower()
    readers: dict[str, ReadLines] = {".jsonl": _jsonl, ".json": _jsonl, ".ndjson": _jsonl, ".csv": _csv, ".tsv": _csv}
    if suffix not in readers:
        raise UsageError(f"{name}: unknown type of file", f"valid sources: {_SOURCES}")
    return readers[suffix]


def decompressed(file: IO[bytes], name: str) -> Iterator[bytes]:
    """Yields the lines of an open file, decompressed where its name says that it is compressed."""
    suffix = PurePath(name).suffix.lower()
    lines: Iterable[bytes] = file
    if suffix == ".gz":
        lines = gzip.GzipFile(fileobj=file)
    elif suffix == ".zst":
        need("pyarrow", extra="parquet", what=name)
        import pyarrow as pa

        lines = io.BufferedReader(pa.CompressedInputStream(file, "zstd"))
    try:
        yield from lines
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{name}: not gzip ({error})") from None
    except OSError as error:
        if suffix != ".zst":
            raise
        raise DataError(f"{name}: not zstd ({error})") from None


def _jsonl(file: Iterable[bytes], file_name: str) -> Iterator[tuple[str, bytes]]:
    for number, (place, line) in enumerate(numbered_lines(file, file_name)):
        if number == 0 and line.lstrip()[:1] == b"[":
            raise DataError(
                f"{place}: a JSON list", "one JSON object per line is needed: convert it with `jq -c '.[]'`"
            )
        yield place, line


def checked_fields(content: Any, fields: RowFields) -> JsonObject:
    """Returns the fields of a row. DataError if it holds no text."""
    if isinstance(content, DataError):
        raise content
    if not isinstance(content, dict):
        raise DataError(f"a row must be an object with fields, not {type(content).__name__}")
    if fields.question not in content:
        known_fields = ", ".join(f"`{field_name}`" for field_name in list(content)[:8])
        raise DataError(f"no field `{fields.question}`", f"the row has {known_fields}; name one with `--field`")
    if not isinstance(content[fields.question], str):
        raise DataError(f"field `{fields.question}` holds {_kind(content[fields.question])}, not text")
    return content


def with_place(error: DataError, place: str) -> DataError:
    """Adds a row's place to an error about it."""
    return DataError(f"{place}: {error.message}", error.hint or "`--skip-bad-lines` skips it")


def _csv(file: Iterable[bytes], file_name: str) -> Iterator[tuple[str, Any]]:
    decoded = (line.decode("utf-8" if number else "utf-8-sig", "surrogateescape") for number, line in enumerate(file))
    return csv_rows(decoded, file_name, "\t" if ".tsv" in file_name else ",")


def _lines(path: Path) -> int | None:
    """Counts the lines of a file. None if it cannot be read, because the reader then explains why."""
    try:
        with path.open("rb") as file:
            return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b"")) or None
    except OSError:
        return None


def _kind(value: Any) -> str:
    """Names the type of a JSON value."""
    names_by_type = {bool: "a boolean", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return "null" if value is None else names_by_type.get(type(value), type(value).__name__)


def gold_of(row: JsonObject, fields: RowFields) -> str | None:
    """Returns the answer that noise must not reveal: the text after "####", else a short answer as it is."""
    answer = row.get(fields.answer)
    if isinstance(answer, bool) or not isinstance(answer, str | int | float):
        return None
    answer_text = str(answer).rpartition("####")[2].strip().replace(",", "")
    return answer_text if len(answer_text) <= 60 else None


def options_of(row: JsonObject, fields: RowFields) -> tuple[str, ...]:
    """Returns the texts of a row's answer options, if it has a list of them."""
    options = row.get(fields.options)
    return tuple(option for option in options if isinstance(option, str)) if isinstance(options, list) else ()
