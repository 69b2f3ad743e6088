"""The faster reader of JSON lines reads what Python's reads, and refuses what that refuses."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from llmkit.parsing import parse_json, parse_line

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.text("\ud800\udfff")
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)
PIECES = [
    *'[]{}:," \t\n-+.eE\\0123', "NaN", "Infinity", "-Infinity", "nan", "inf", "null", "true", "1e999", "-0", "01", "1.",
    '"a"', '"\\ud800"', '"\\u0000"', '"\x00"', '"\x7f"', "\ufeff", "9" * 30, "9" * 5000, "[" * 300 + "]" * 300,
]  # fmt: skip


def read(reader: Any, line: bytes) -> str:
    """Returns what a reader makes of a line; equal where it refuses it."""
    try:
        return repr(reader(line))
    except ValueError:
        return "refused"


def as_before(line: bytes) -> Any:
    return parse_json(line.decode("utf-8", "surrogatepass"))


@given(value=VALUES, ascii_only=st.booleans())
def test_what_python_writes_is_read_as_by_python(value, ascii_only):
    line = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    assert repr(parse_line(line)) == repr(as_before(line))


@given(st.lists(st.sampled_from(PIECES), max_size=8).map("".join))
@example('{"a": 1, "a": 2}')
@example("[" * 100_000)
@example("1.7976931348623159e308")
@example("2.2250738585072011e-308")
def test_any_text_is_read_or_refused_as_by_python(text):
    line = text.encode("utf-8", "surrogatepass")
    assert read(parse_line, line) == read(as_before, line)


@given(st.binary(max_size=30))
def test_any_bytes_are_read_or_refused_as_by_python(line):
    assert read(parse_line, line) == read(as_before, line)
