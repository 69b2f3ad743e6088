"""The only reader of JSON text."""

from __future__ import annotations

import json
from typing import Any

JsonObject = dict[str, Any]
"""A JSON object as it is read or written, at an edge of the program where values have no type of their own."""


def parse_json(text: str | bytes) -> Any:
    """Returns the value of JSON text. JSONDecodeError (a ValueError) for any other text.

    Python's reader raises RecursionError for text that is nested too deeply, which callers would have to think of.

    >>> parse_json('{"a": [1, null]}')
    {'a': [1, None]}
    >>> parse_json("[" * 200_000)
    Traceback (most recent call last):
    json.decoder.JSONDecodeError: nested too deeply: line 1 column 1 (char 0)
    >>> parse_json(b"[" * 200_000)
    Traceback (most recent call last):
    json.decoder.JSONDecodeError: nested too deeply: line 1 column 1 (char 0)
    """
    try:
        return json.loads(text)
    except RecursionError:
        shown = text if isinstance(text, str) else text.decode("utf-8", "replace")
        raise json.JSONDecodeError("nested too deeply", shown, 0) from None


def parse_line(line: bytes) -> Any:
    """Returns the value of one of very many lines of JSON, faster than `parse_json` does. Lone surrogates may be in it,
    as bytes or escaped. Raises as `parse_json`.

    >>> parse_line(b'{"a": [1, "\\\\ud800"]}\\n')
    {'a': [1, '\\ud800']}
    """
    from pydantic_core import from_json

    try:
        return from_json(line, cache_strings="keys")
    except ValueError:  # there are no surrogates in Rust's texts, and no such messages as Python's
        return parse_json(line.decode("utf-8", "surrogatepass"))
