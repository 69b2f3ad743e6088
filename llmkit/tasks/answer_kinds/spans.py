"""Labelled pieces of the question's text, such as the names in a message. Noise moves and changes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from llmkit.errors import DataError
from llmkit.parsing import JsonObject, parse_json
from llmkit.prompts import render
from llmkit.tasks.answer_kinds.places import moved, paired
from llmkit.tasks.answers import without_reasoning
from llmkit.tasks.json_fields import canonical_json
from llmkit.tasks.json_values import find_json
from llmkit.tasks.kinds import Kind, kind
from llmkit.types import Question, Variant

MOST = 500  # spans of one reply that are compared
_EXAMPLE = 'write [{"start": 12, "end": 18, "label": "city"}], or [] where there is none'
_LISTS = ("spans", "entities", "answer")  # keys under which a reply may hold its list


@dataclass(frozen=True, slots=True)
class Span:
    """A labelled piece of a text, by its words, by its place, or by both. `clean` is the same piece before noise."""

    label: str
    text: str | None = None
    start: int | None = None
    end: int | None = None
    clean: Span | None = None

    @classmethod
    def of(cls, value: Any) -> Span | None:
        """Reads a span; None for what is none."""
        if not isinstance(value, Mapping):
            return None
        label, text, start, end = (value.get(key) for key in ("label", "text", "start", "end"))
        placed = type(start) is int and type(end) is int
        if not isinstance(label, str) or not (isinstance(text, str) or placed):
            return None
        clean = cls.of({"label": label, **value["clean"]}) if isinstance(value.get("clean"), Mapping) else None
        ends = (start, end) if placed else (None, None)
        return cls(label.strip(), text if isinstance(text, str) else None, *ends, clean)

    def as_dict(self) -> JsonObject:
        """Returns the span as JSON has it, without what is not known."""
        values = {"label": self.label, "text": self.text, "start": self.start, "end": self.end}
        written: JsonObject = {key: value for key, value in values.items() if value is not None}
        if self.clean:
            written["clean"] = {k: v for k, v in self.clean.as_dict().items() if k != "label"}
        return written

    def is_same(self, gold: Span) -> bool:
        """Returns whether a model's span is the gold one: the same label, and the words of it as they were asked or as
        they were before noise; without words, the place of either."""
        return self._as(gold, _same)

    def overlaps(self, gold: Span) -> bool:
        """Returns whether a model's span shares a word with the gold one of the same label; without words, a place."""
        return self._as(gold, _overlap)

    def _as(self, gold: Span, agree: Callable[[Span, Span], bool]) -> bool:
        faces = [gold, *([gold.clean] if gold.clean else [])]
        return self.label.casefold() == gold.label.casefold() and any(agree(self, face) for face in faces)


def _same(one: Span, other: Span) -> bool:
    if one.text is not None and other.text is not None:
        return one.text.split() == other.text.split()
    return (one.start, one.end) == (other.start, other.end)


def _overlap(one: Span, other: Span) -> bool:
    if one.text is not None and other.text is not None:
        words = {word.casefold() for word in one.text.split()}
        return not words.isdisjoint(word.casefold() for word in other.text.split())
    ends = one.start, one.end, other.start, other.end
    return None not in ends and max(one.start or 0, other.start or 0) < min(one.end or 0, other.end or 0)


@kind("spans")
class Spans(Kind):
    """Labelled pieces of the text, a list of {"text", "label"} or {"start", "end", "label"}; offsets count characters.

    Under noise a gold span is what its characters became. A model's span is right if it has the label and the words of
    the gold one, as they were asked or as they were before noise, for an arm that corrects asks about a corrected text.
    """

    structured = True
    lists_labels = True
    whole_text = True
    has_scores = True

    def labels_in(self, gold: Any) -> list[str]:
        values = parse_json(gold) if isinstance(gold, str) else gold
        return [span.label for value in values if (span := Span.of(value))] if isinstance(values, list) else []

    def canonical(self, gold: str, options: Sequence[str] = ()) -> str:
        values = _parsed(gold)
        spans = [Span.of(value) for value in values] if isinstance(values, list) else [None]
        for place, span in enumerate(spans):
            if span is None:
                raise DataError(f"the answer has no span at place {place}: {gold[:60]!r}", _EXAMPLE)
            if options and span.label not in options:
                raise DataError(f"the label {span.label!r} is none of the labels", f"they are {', '.join(options)}")
        return _written([span for span in spans if span])

    def placed(self, gold: str, text: str) -> str:
        return _written([_placed(span, text) for span in _spans(gold)])

    def moved(self, gold: str, variant: Variant) -> str:
        spans = [_moved(span, variant) for span in _spans(gold)]
        return _written([span for span in spans if span.text])

    def extract(self, text: str, question: Question) -> str | None:
        value = find_json(without_reasoning(text))
        if isinstance(value, Mapping):
            value = next((value[key] for key in _LISTS if isinstance(value.get(key), list)), [value])
        spans = [Span.of(item) for item in value[:MOST]] if isinstance(value, list) else [None]
        return None if None in spans else _written([span for span in spans if span])

    def same(self, parsed: str, gold: str) -> bool:
        ours, theirs = _spans(parsed), _spans(gold)
        return len(ours) == len(theirs) == paired(ours, theirs, Span.is_same)

    def scores(self, parsed: str | None, gold: str) -> Mapping[str, float | None]:
        """Returns F1 of the spans that are the gold ones, and of those that overlap one."""
        if parsed is None:
            return {"span_f1": 0.0, "span_overlap": 0.0}
        ours, theirs = _spans(parsed), _spans(gold)
        both = len(ours) + len(theirs)
        found = {"span_f1": Span.is_same, "span_overlap": Span.overlaps}
        return {name: 2 * paired(ours, theirs, agree) / both if both else 1.0 for name, agree in found.items()}

    def label(self, answer: str) -> str:
        """Returns the spans as a model would give them: their words, without places."""
        return canonical_json([{"text": span.text, "label": span.label} for span in _spans(answer)])

    def announced(self, answer: str) -> str:
        return answer

    def asks(self, question: Question) -> str:
        return render("format/spans-v1", labels=", ".join(question.labels))


def _parsed(gold: str) -> Any:
    try:
        return parse_json(gold)
    except ValueError as error:
        raise DataError(f"the answer {gold[:60]!r} is no JSON: {error}", _EXAMPLE) from None


def _spans(text: str) -> list[Span]:
    return [span for value in parse_json(text) if (span := Span.of(value))]


def _written(spans: Sequence[Span]) -> str:
    return canonical_json([span.as_dict() for span in spans])


def _placed(span: Span, text: str) -> Span:
    """Returns a gold span with its words and its place. DataError where it does not fit the text."""
    if span.start is None or span.end is None:
        times = text.count(span.text or "") if span.text else 0
        if times != 1:
            raise DataError(
                f"the span {span.text!r} stands {times} times in the text", "give its place as `start` and `end`"
            )
        start = text.index(span.text or "")
        return replace(span, start=start, end=start + len(span.text or ""))
    if not 0 <= span.start < span.end <= len(text):
        raise DataError(
            f"the span {span.start} to {span.end} is outside of its text, which has {len(text)} characters",
            "offsets count characters from 0, and the end is the first one behind the span",
        )
    words = text[span.start : span.end]
    if span.text is not None and span.text != words:
        raise DataError(f"the span {span.start} to {span.end} is {words!r} in the text, not {span.text!r}")
    return replace(span, text=words)


def _moved(span: Span, variant: Variant) -> Span:
    if span.start is None or span.end is None:
        return span
    start, end = moved(span.start, span.end, variant.edits)
    if (start, end, words := variant.text[start:end]) == (span.start, span.end, span.text):
        return span
    return Span(span.label, words, start, end, clean=span)
