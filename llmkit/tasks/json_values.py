"""JSON in a reply: found, also inside a fence or among prose, and compared by value, path by path."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from llmkit.parsing import parse_json

_FENCE = re.compile(r"```[a-zA-Z]{0,12}[ \t]{0,9}\n(.*?)(?:```|\Z)", re.DOTALL)
MOST_LEAVES = 100_000


def find_json(text: str) -> Any:
    """Returns the object or array that a reply consists of, holds in its first fence or has among prose; else None."""
    fence = _FENCE.search(text)
    start, end = text.find("{"), text.rfind("}")
    candidates = [text, fence[1] if fence else "", text[start : end + 1] if -1 < start < end else ""]
    for candidate in candidates:
        stripped = candidate.strip()
        if stripped[:1] in ("{", "[") and stripped[-1] in "}]":
            try:
                value = parse_json(stripped)
            except ValueError:
                continue
            if isinstance(value, dict | list):
                return value
    return None


def begins_json(text: str) -> bool:
    """Returns whether a reply opens an object or array, also in a fence, as one does that was cut."""
    return text.lstrip().removeprefix("```json").removeprefix("```").lstrip()[:1] in ("{", "[")


def tool_calls_in(value: Any) -> list[Any]:
    """Returns the tool calls that a reply's JSON carries under `tool_calls`; none where it carries none."""
    calls = value.get("tool_calls") if isinstance(value, dict) else None
    return calls if isinstance(calls, list) else []


def canonical_call(call: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a tool call as name and arguments, whichever provider's form it has; ids and types are left out."""
    function = call.get("function")
    source = function if isinstance(function, Mapping) else call
    arguments: Any = next((source[key] for key in ("arguments", "args", "input", "parameters") if key in source), {})
    if isinstance(arguments, str):
        with suppress(ValueError):  # a call whose arguments are no JSON is compared by their text
            arguments = parse_json(arguments) if arguments.strip() else {}
    return {"name": source.get("name"), "arguments": arguments}


Differ = Callable[[str, str], bool]


def differing_paths(first: Any, second: Any, differ: Differ, path: str = "$") -> Iterator[str]:
    """Yields the path of each value that two JSON values do not share; `differ` decides about two strings.

    Keys may stand in any order, items may not; 1 and 1.0 are equal, "1" and 1 are not.

    >>> list(differing_paths({"a": [1, {"b": 2}]}, {"a": [1.0, {"b": 3}], "c": None}, str.__ne__))
    ['$.a[1].b', '$.c']
    """
    pending = [(path, first, second)]
    for _ in range(MOST_LEAVES):
        if not pending:
            return
        place, one, other = pending.pop()
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            keys = sorted({*map(str, one), *map(str, other)}, reverse=True)
            pending += [(f"{place}.{key}", one.get(key, _ABSENT), other.get(key, _ABSENT)) for key in keys]
        elif _is_array(one) and _is_array(other):
            for index in reversed(range(max(len(one), len(other)))):
                pending.append((f"{place}[{index}]", _at(one, index), _at(other, index)))
        elif isinstance(one, str) and isinstance(other, str):
            if differ(one, other):
                yield place
        elif isinstance(one, bool) or isinstance(other, bool):
            if one is not other:
                yield place
        elif one is not other and one != other:
            yield place
    if pending:
        yield path  # larger than anything an application reads: what was not compared counts as different


_ABSENT = object()


def _is_array(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _at(items: Sequence[Any], index: int) -> Any:
    return items[index] if index < len(items) else _ABSENT
