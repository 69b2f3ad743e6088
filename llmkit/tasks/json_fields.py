"""The fields of JSON values one by one: leaves by path, and how many of them agree."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

MOST_NAMED = 50  # fields of an answer that are counted by name
_MOST_LEAVES = 10_000
_DEEPEST = 64


def canonical_json(value: Any) -> str:
    """Returns a JSON value as one text, the same for equal values but for 1 and 1.0.

    >>> canonical_json({"b": [1, 2.5], "a": None})
    '{"a": null, "b": [1, 2.5]}'
    """
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> Any:
    """Returns what Parquet and CSV readers give in the place of a JSON value."""
    return float(value) if isinstance(value, Decimal) else str(value)


def equal(one: Any, other: Any, tolerance: float = 0.0) -> bool:
    """Returns whether two JSON values are equal: keys in any order, items in the same one, 1 like 1.0, "1" unlike 1.

    Numbers may differ by a share of the greater one.
    """
    left, right = leaves(one), leaves(other)
    return left.keys() == right.keys() and all(same_leaf(left[path], right[path], tolerance) for path in left)


def same_leaf(one: Any, other: Any, tolerance: float) -> bool:
    """Returns whether two values without parts are equal."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float):
        try:
            return one == other or math.isclose(one, other, rel_tol=tolerance)
        except OverflowError:  # an integer beyond all floats
            return False
    return type(one) is type(other) and bool(one == other)


def leaves(value: Any) -> Mapping[str, Any]:
    """Returns the values without parts by their JSON Pointer (RFC 6901); an empty object or array is one itself.

    >>> leaves({"total": 5, "lines": [{"sku": "a"}, []]})
    {'/total': 5, '/lines/0/sku': 'a', '/lines/1': []}
    """
    found: dict[str, Any] = {}
    pending = [("", value, 0)]
    while pending and len(found) < _MOST_LEAVES:
        path, here, depth = pending.pop()
        if isinstance(here, Mapping) and here and depth < _DEEPEST:
            inner = [(f"{path}/{_escaped(str(key))}", part, depth + 1) for key, part in here.items()]
        elif isinstance(here, list | tuple) and here and depth < _DEEPEST:
            inner = [(f"{path}/{place}", part, depth + 1) for place, part in enumerate(here)]
        else:
            deeper = isinstance(here, Mapping | list | tuple) and here
            found[path] = object() if deeper else here  # what is not looked at is equal to nothing
            continue
        pending += reversed(inner)
    if pending:  # larger than any application reads
        found[pending[-1][0]] = object()
    return found


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def field_scores(name: str, parsed: Any, gold: Any, tolerance: float, *, missing: bool) -> dict[str, float]:
    """Returns the share of fields that agree under `name`, of all that either value has, and under `name/path` that of
    each field of the gold value. Items of arrays share a path: `fields/lines/*/sku`. `missing` says that there is no
    answer, and all is 0."""
    wanted = leaves(gold)
    given: Mapping[str, Any] = {} if missing else leaves(parsed)
    right = {path: path in given and same_leaf(given[path], value, tolerance) for path, value in wanted.items()}
    by_field: dict[str, list[bool]] = defaultdict(list)
    for path, agrees in right.items():
        by_field[_starred(path)].append(agrees)
    named = {f"{name}{path}": sum(each) / len(each) for path, each in list(by_field.items())[:MOST_NAMED] if path}
    return {name: sum(right.values()) / len(right.keys() | given.keys()), **named}


def _starred(path: str) -> str:
    return "/".join("*" if step.isdigit() else step for step in path.split("/"))
