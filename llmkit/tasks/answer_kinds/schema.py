"""A JSON Schema that answers have to follow. Schemas are files of other people: no address in one is looked up, and
checking one answer ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from llmkit.errors import UsageError
from llmkit.extras import need
from llmkit.parsing import parse_json

_MOST_CHARS = 200_000
_DEEPEST = 64
_MOST_STEPS = 20_000  # references that are followed for one answer: a few that double each other would never end
_BY_NAME = "patternProperties"
_OTHERS = ("additionalProperties", "unevaluatedProperties")
_HINT = "see https://json-schema.org/understanding-json-schema"


class _Endless(Exception):
    """Raised inside a check that follows too many references."""


class AnswerSchema:
    """One schema, ready to check answers."""

    def __init__(self, schema: Any, source: str) -> None:
        need("jsonschema", "re2", extra="answers", what="data.json_schema")
        from jsonschema import SchemaError, validators
        from referencing import Registry

        self._source = source
        self._refuse(schema)
        base = validators.validator_for(schema, default=validators.validator_for({}))
        try:
            base.check_schema(schema)
        except SchemaError as error:
            raise self._bad(f"is no JSON Schema: {error.json_path}: {error.message[:200]}") from None
        self._steps = 0
        followed = base.VALIDATORS["$ref"]

        def follow(validator: Any, value: Any, instance: Any, inside: Any) -> Iterator[Any]:
            self._steps += 1
            if self._steps > _MOST_STEPS:
                raise _Endless
            yield from followed(validator, value, instance, inside) or ()

        matched = {"pattern": self._pattern, _BY_NAME: self._named, "$ref": follow}
        # A registry without a way to retrieve: an unknown address is an error, and never a request.
        self._validator = validators.extend(base, matched)(schema, registry=Registry())
        self._patterns: dict[str, Any] = {}
        for pattern in _patterns(schema):
            self._compiled(pattern)

    @classmethod
    def read(cls, path: str) -> AnswerSchema:
        """Reads a schema from a file. UsageError names the file where it is none."""
        file = Path(path).expanduser()
        try:
            if not file.is_file():
                raise UsageError(f"data.json_schema: there is no file {path}")
            text = file.read_text(encoding="utf-8")
            if len(text) > _MOST_CHARS:
                raise UsageError(f"{path}: a schema has at most {_MOST_CHARS:,} characters")
            return cls(parse_json(text), path)
        except (OSError, ValueError) as error:
            raise UsageError(f"{path}: is no JSON: {error}", _HINT) from None

    def fault(self, value: Any) -> str | None:
        """Returns why a value does not follow the schema, with its path; None where it does."""
        from jsonschema.exceptions import best_match
        from referencing.exceptions import Unresolvable

        self._steps = 0
        try:
            error = best_match(self._validator.iter_errors(value))
        except Unresolvable as unknown:
            return f"the schema refers to `{unknown.ref}`, which it does not have"
        except (_Endless, RecursionError):
            return "the schema refers to itself without an end"
        return f"{error.json_path}: {error.message[:200]}" if error else None

    def _bad(self, what: str) -> UsageError:
        return UsageError(f"{self._source}: {what}", _HINT)

    def _refuse(self, schema: Any) -> None:
        """Raises UsageError for what would ask the network, or may not end."""
        if not isinstance(schema, Mapping | bool):
            raise self._bad("a schema is an object")
        for part, depth in _parts(schema):
            if depth > _DEEPEST:
                raise self._bad(f"is nested more than {_DEEPEST} deep")
            if not isinstance(part, Mapping):
                continue
            reference = part.get("$ref")
            if isinstance(reference, str) and not reference.startswith("#"):
                raise self._bad(f"refers to `{reference}`: only references inside the file (`#/...`) are followed")
            if {"$dynamicRef", "$recursiveRef"} & part.keys():
                raise self._bad("has a dynamic reference, which is not followed")
            if _BY_NAME in part and any(name in part for name in _OTHERS):
                raise self._bad(f"has `{_BY_NAME}` beside `{next(n for n in _OTHERS if n in part)}`")

    def _compiled(self, pattern: str) -> Any:
        if pattern not in self._patterns:
            import re2

            options = re2.Options()
            options.log_errors = False
            try:
                self._patterns[pattern] = re2.compile(pattern, options)
            except re2.error:
                raise self._bad(f"{pattern!r} is no pattern that takes linear time (RE2)") from None
        return self._patterns[pattern]

    def _pattern(self, validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[Any]:
        from jsonschema import ValidationError

        if isinstance(instance, str) and not self._compiled(pattern).search(instance):
            yield ValidationError(f"{instance[:80]!r} does not match {pattern!r}")

    def _named(self, validator: Any, patterns: Mapping[str, Any], instance: Any, schema: Any) -> Iterator[Any]:
        for pattern, inner in patterns.items() if isinstance(instance, Mapping) else ():
            for name, value in instance.items():
                if self._compiled(pattern).search(name):
                    yield from validator.descend(value, inner, path=name, schema_path=pattern)


def _parts(schema: Any) -> Iterator[tuple[Any, int]]:
    """Yields every value in a schema with its depth; not those that only look like schemas."""
    pending = [(schema, 0)]
    while pending:
        part, depth = pending.pop()
        yield part, depth
        if depth > _DEEPEST:
            continue
        if isinstance(part, Mapping):
            pending += [(inner, depth + 1) for key, inner in part.items() if key not in ("enum", "const", "default")]
        elif isinstance(part, list):
            pending += [(inner, depth + 1) for inner in part]


def _patterns(schema: Any) -> Iterator[str]:
    for part, _ in _parts(schema):
        if isinstance(part, Mapping):
            if isinstance(pattern := part.get("pattern"), str):
                yield pattern
            if isinstance(named := part.get(_BY_NAME), Mapping):
                yield from named
