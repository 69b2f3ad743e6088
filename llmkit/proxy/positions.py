"""Positions of values in the bytes of a JSON document, so that one string can change and no other byte does.

The document has been read by a JSON parser before: nothing here checks its syntax. Nothing here recurses by its depth.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

Path = tuple[str | int, ...]
"""The place of a value: names of members and numbers of elements, from the outside in."""

_SPACE = re.compile(rb"[ \t\n\r]*+")
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_MARK = re.compile(rb'["\[\]{}]')
_ATOM = re.compile(rb"[^,\]}\s]++")
_OPENS, _CLOSES, _QUOTE, _COMMA, _BACKSLASH = b"[{", b"]}", ord('"'), ord(","), ord("\\")


class Span(NamedTuple):
    """The first byte of a value, and the one behind it."""

    start: int
    end: int


def located(body: bytes, paths: Mapping[Path, object]) -> dict[Path, Span]:
    """Returns the span of each path's value. A path that the document lacks is left out.

    Of members with one name the last one counts, as for `json.loads`.
    """
    spans: dict[Path, Span] = {}
    _locate(body, _after_space(body, 0), [(path, path) for path in paths], spans)
    return spans


def replaced(body: bytes, values: Mapping[Span, bytes]) -> bytes:
    """Returns the document with other bytes in the place of these values."""
    parts, at = [], 0
    for span, value in sorted(values.items()):
        parts += [body[at : span.start], value]
        at = span.end
    return b"".join([*parts, body[at:]])


def written(text: str, before: bytes) -> bytes:
    """Returns a JSON string for the place of another one: ASCII only where that is, or where UTF-8 has no form for
    the text."""
    if not before.isascii():
        try:
            return json.dumps(text, ensure_ascii=False).encode()
        except UnicodeEncodeError:  # a lone surrogate
            pass
    return json.dumps(text).encode()


def last_members(body: bytes, name: str) -> list[Span]:
    """Returns the values of all members of the outermost object that have this name."""
    at = _after_space(body, 0)
    return [span for key, span in _members(body, at) if key == name] if body[at : at + 1] == b"{" else []


def _locate(body: bytes, at: int, wanted: list[tuple[Path, Path]], spans: dict[Path, Span]) -> None:
    """Notes the span of each path that is left, below the value at an offset. Recurses by the length of the paths."""
    below: dict[str | int, list[tuple[Path, Path]]] = {}
    for path, rest in wanted:
        if rest:
            below.setdefault(rest[0], []).append((path, rest[1:]))
        else:
            spans[path] = Span(at, _end(body, at))
    if not below:
        return
    starts: dict[str | int, int] = {}
    if body[at] == _OPENS[1]:
        starts = {key: span.start for key, span in _members(body, at) if key in below}
    elif body[at] == _OPENS[0]:
        starts = {number: span.start for number, span in enumerate(_elements(body, at)) if number in below}
    for key, start in starts.items():
        _locate(body, start, below[key], spans)


def _members(body: bytes, at: int) -> Iterator[tuple[str, Span]]:
    """Yields the members of the object that begins at an offset."""
    at = _after_space(body, at + 1)
    while body[at] == _QUOTE:
        end = _end(body, at)
        key = json.loads(body[at:end])
        at = _after_space(body, _after_space(body, end) + 1)  # behind the colon
        span = Span(at, _end(body, at))
        yield key, span
        at = _next(body, span.end)


def _elements(body: bytes, at: int) -> Iterator[Span]:
    """Yields the elements of the array that begins at an offset."""
    at = _after_space(body, at + 1)
    while body[at] not in _CLOSES:
        span = Span(at, _end(body, at))
        yield span
        at = _next(body, span.end)


def _next(body: bytes, at: int) -> int:
    """Returns the offset of what follows a value: the next one, or the bracket that closes."""
    at = _after_space(body, at)
    return _after_space(body, at + 1) if body[at] == _COMMA else at


def _end(body: bytes, at: int) -> int:
    """Returns the offset behind the value that begins here."""
    if body[at] == _QUOTE:
        return _string_end(body, at)
    if body[at] not in _OPENS:
        atom = _ATOM.match(body, at)
        return at if atom is None else atom.end()
    depth = 0
    while mark := _MARK.search(body, at):
        if mark[0] == b'"':
            at = _string_end(body, mark.start())
            continue
        at = mark.end()
        depth += 1 if mark[0] in _OPENS else -1
        if not depth:
            break
    return at


def _string_end(body: bytes, at: int) -> int:
    """Returns the offset behind a string. A picture is one without an escape: `find` is far faster than a pattern."""
    end = body.find(b'"', at + 1)
    if body[end - 1] == _BACKSLASH:
        match = _STRING.match(body, at)
        return len(body) if match is None else match.end()
    return end + 1


def _after_space(body: bytes, at: int) -> int:
    match = _SPACE.match(body, at)
    return match.end() if match else at
