"""JSON values with templates in them, and paths into JSON values: how an application is asked, and how it is read.

Templates are those of `templates`, paths are JSONPath (RFC 9535).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from llmkit.templates import BadTemplate, BoundedTemplate

if TYPE_CHECKING:
    from jsonpath import JSONPath

_WHOLE = re.compile(r"\{\{-?\s*(\w+)\s*-?\}\}")


class Form:
    """A JSON value whose texts are templates, each rendered by itself; keys, numbers and the like stay as they are.

    A text that is exactly `{{ name }}`, with one of `whole` as the name, becomes that value with its JSON type. Values
    are put in as they are: what stands in one is never a template. ValueError for a template that cannot be read.
    """

    def __init__(self, value: Any, whole: frozenset[str] = frozenset()) -> None:
        self._whole = whole
        names: set[str] = set()
        self._value = self._read(value, "", names)
        self.names = frozenset(names)
        """The names that the templates use."""

    def fill(self, values: Mapping[str, Any]) -> Any:
        """Returns the value with every template rendered. ValueError, with its place, for one that fails, as for a
        name that has no value."""
        return self._fill(self._value, values, "")

    def _read(self, value: Any, place: str, names: set[str]) -> Any:
        if isinstance(value, Mapping):
            return {key: self._read(inner, f"{place}.{key}", names) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self._read(inner, f"{place}.{number}", names) for number, inner in enumerate(value)]
        if not isinstance(value, str):
            return value
        alone = _WHOLE.fullmatch(value.strip())
        if alone and alone[1] in self._whole:
            names.add(alone[1])
            return _Whole(alone[1])
        try:
            template = BoundedTemplate(value)
        except BadTemplate as error:
            raise _at(place, error) from error
        names.update(template.names)
        return template

    def _fill(self, value: Any, values: Mapping[str, Any], place: str) -> Any:
        if isinstance(value, dict):
            return {key: self._fill(inner, values, f"{place}.{key}") for key, inner in value.items()}
        if isinstance(value, list):
            return [self._fill(inner, values, f"{place}.{number}") for number, inner in enumerate(value)]
        if isinstance(value, _Whole):
            if value.name not in values:
                raise _at(place, f"'{value.name}' is undefined")
            return values[value.name]
        if not isinstance(value, BoundedTemplate):
            return value
        try:
            return value.render(values)
        except BadTemplate as error:
            raise _at(place, error) from error


class _Whole:
    """The place of a value that is put in with its type."""

    def __init__(self, name: str) -> None:
        self.name = name


def _at(place: str, what: object) -> ValueError:
    return ValueError(f"{place.lstrip('.')}: {what}".removeprefix(": "))


def find(path: str, value: Any) -> list[Any]:
    """Returns all that a JSONPath finds in a JSON value, in order. ValueError for a text that is no JSONPath.

    >>> find("$.choices[*].text", {"choices": [{"text": "a"}, {"text": "b"}]})
    ['a', 'b']
    """
    from jsonpath import JSONPathError

    compiled = _compiled(path)
    try:
        return list(compiled.findall(value))
    except (JSONPathError, RecursionError):  # a value nested too deeply for the path
        return []


def check_path(path: str) -> str:
    """Returns a JSONPath as it is. ValueError for a text that is none."""
    _compiled(path)
    return path


@cache
def _compiled(path: str) -> JSONPath:
    from jsonpath import JSONPath, JSONPathEnvironment, JSONPathError

    try:
        compiled = JSONPathEnvironment(strict=True).compile(path)
    except (JSONPathError, RecursionError) as error:
        raise ValueError(f"is no JSONPath (RFC 9535): {str(error).partition(chr(10))[0]}") from error
    assert isinstance(compiled, JSONPath)  # a query of several joined ones is no part of the RFC
    return compiled
