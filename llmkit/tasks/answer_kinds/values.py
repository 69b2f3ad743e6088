"""Answers that are JSON: a value, or calls of tools with their arguments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Self

from llmkit.errors import DataError
from llmkit.parsing import JsonObject, parse_json
from llmkit.recipe.schema import DataSection
from llmkit.tasks.answer_kinds.schema import AnswerSchema
from llmkit.tasks.answers import without_reasoning
from llmkit.tasks.json_fields import canonical_json, equal, field_scores
from llmkit.tasks.json_values import begins_json, canonical_call, find_json, tool_calls_in
from llmkit.tasks.kinds import Kind, kind
from llmkit.types import Question

_NOTHING = object()


class _Value(Kind):
    """An answer that is a JSON value, kept as its text with sorted keys."""

    structured = True
    has_scores = True

    def __init__(self) -> None:
        self.data = DataSection()

    @classmethod
    def of(cls, data: DataSection) -> Self:
        made = cls()
        made.data = data
        return made

    def announced(self, answer: str) -> str:
        return answer

    def equal(self, one: Any, other: Any) -> bool:
        """Returns whether two values are equal within the tolerance."""
        return equal(one, other, self.data.tolerance)


def _gold(gold: str) -> Any:
    try:
        return parse_json(gold)
    except ValueError as error:
        raise DataError(f"the answer {gold[:60]!r} is no JSON: {error}") from None


def _said(text: str) -> Any:
    """Returns the JSON value that a reply is or holds, `_NOTHING` without one."""
    text = without_reasoning(text)
    if (value := find_json(text)) is not None:
        return value
    try:
        return parse_json(text.strip())
    except ValueError:
        return _NOTHING


def _written(value: Any) -> str | None:
    try:
        return canonical_json(value)
    except RecursionError:
        return None


@kind("json")
class Json(_Value):
    """A JSON value, compared by value: keys in any order, items in the same one, 1 like 1.0, "1" unlike 1. An answer is
    right only if it follows the schema, where there is one (`data.json_schema`)."""

    def __init__(self) -> None:
        super().__init__()
        self.schema: AnswerSchema | None = None

    @classmethod
    def of(cls, data: DataSection) -> Self:
        made = super().of(data)
        made.schema = AnswerSchema.read(data.json_schema) if data.json_schema else None
        return made

    def canonical(self, gold: str, options: Sequence[str] = ()) -> str:
        value = _gold(gold)
        if self.schema and (fault := self.schema.fault(value)):
            raise DataError(f"the answer does not follow the schema: {fault}", f"see {self.data.json_schema}")
        return canonical_json(value)

    def extract(self, text: str, question: Question) -> str | None:
        value = _said(text)
        return None if value is _NOTHING else _written(value)

    def same(self, parsed: str, gold: str) -> bool:
        value = parse_json(parsed)
        return self.equal(value, parse_json(gold)) and not (self.schema and self.schema.fault(value))

    def scores(self, parsed: str | None, gold: str) -> Mapping[str, float | None]:
        value = None if parsed is None else parse_json(parsed)
        valid = {"valid": float(parsed is not None and not self.schema.fault(value))} if self.schema else {}
        return valid | field_scores("fields", value, parse_json(gold), self.data.tolerance, missing=parsed is None)


@kind("tool")
class Tool(_Value):
    """Calls of tools, compared by name and by the values of their arguments, in order unless `data.any_order`. A reply
    without JSON calls nothing."""

    def canonical(self, gold: str, options: Sequence[str] = ()) -> str:
        calls = _calls(_gold(gold))
        if calls is None:
            raise DataError(
                f"the answer {gold[:60]!r} is no list of calls",
                'write [{"name": "find", "arguments": {"id": 7}}], or [] where nothing is to be called',
            )
        return canonical_json(calls)

    def extract(self, text: str, question: Question) -> str | None:
        value = _said(text)
        if value is _NOTHING:
            return None if begins_json(without_reasoning(text)) else "[]"
        calls = _calls(value)
        return None if calls is None else _written(calls)

    def same(self, parsed: str, gold: str) -> bool:
        ours, theirs = parse_json(parsed), parse_json(gold)
        if self.data.any_order:
            return len(ours) == len(theirs) == self._matched(ours, theirs)
        return self.equal(ours, theirs)

    def scores(self, parsed: str | None, gold: str) -> Mapping[str, float | None]:
        """Returns F1 of the calls and of their names, whatever their order, and the share of arguments that are right,
        of each expected call beside the first one of its name."""
        ours, theirs = parse_json(parsed or "[]"), parse_json(gold)
        if parsed is None:
            return {"calls": 0.0, "tool_names": 0.0, "arguments": 0.0 if theirs else None}
        names = Counter(str(call["name"]) for call in ours) & Counter(str(call["name"]) for call in theirs)
        both = len(ours) + len(theirs)
        return {
            "calls": 2 * self._matched(ours, theirs) / both if both else 1.0,
            "tool_names": 2 * names.total() / both if both else 1.0,
            "arguments": self._arguments(ours, theirs) if theirs else None,
        }

    def _matched(self, ours: Sequence[Any], theirs: Sequence[Any]) -> int:
        left = list(theirs)
        for call in ours:
            place = next((i for i, other in enumerate(left) if self.equal(call, other)), None)
            if place is not None:
                del left[place]
        return len(theirs) - len(left)

    def _arguments(self, ours: Sequence[Any], theirs: Sequence[Any]) -> float:
        left, total = list(ours), 0.0
        for wanted in theirs:
            place = next((i for i, call in enumerate(left) if call["name"] == wanted["name"]), None)
            given = left.pop(place)["arguments"] if place is not None else None
            shares = field_scores("all", given, wanted["arguments"], self.data.tolerance, missing=place is None)
            total += shares["all"]
        return total / len(theirs)


def _calls(value: Any) -> list[JsonObject] | None:
    """Returns the calls in a JSON value: a list of them, one alone, or what a server gives as `tool_calls`. None for
    anything else."""
    calls = tool_calls_in(value) or (value if isinstance(value, list) else [value])
    if not all(isinstance(call, Mapping) for call in calls):
        return None
    named = [canonical_call(call) for call in calls]
    return named if all(isinstance(call["name"], str) for call in named) else None
