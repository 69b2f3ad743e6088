"""Answers of rows without labels: compared two by two, and in the form in which equal ones count as one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from llmkit.runs.samples import Hidden, Sample
from llmkit.tasks import recorded_kind
from llmkit.tasks.comparing import SAME, UNCLEAR, Comparison, Response, compare
from llmkit.tasks.facts import facts
from llmkit.tasks.json_values import find_json
from llmkit.tasks.numbers import parse
from llmkit.tasks.reply_form import refuses
from llmkit.tasks.text import normalise
from llmkit.types import Question

FAILED = Comparison("facts", ("failed",))
"""The verdict on two answers of which one is a failed call."""

_LABEL_WORDS = 5  # a longer reply of free text is prose, which no equality judges
_KEPT = 50_000  # replies whose facts are kept
_PAIRS = 250_000  # pairs whose verdict is kept: numbers and page compare the same ones


def compared(one: Sample, other: Sample) -> Comparison:
    """Returns the verdict on two answers to one row; a failed call is a change."""
    if failed(one) or failed(other):
        return FAILED
    if one.hidden and other.hidden:
        return _hidden(one, other, one.hidden, other.hidden)
    said, again = one.answer, other.answer
    if not exact(one):
        if said == again:
            return SAME
        cut = one.outcome.cut, other.outcome.cut
        return _prose(said, again, one.question, one.kind or "text", cut)
    parsed = one.outcome.parsed, other.outcome.parsed
    if parsed[0] == parsed[1]:
        readable = parsed[0] is not None or normalise(said) == normalise(again)
        return SAME if readable else UNCLEAR
    numeric = not one.options and any(answer and parse(answer) is not None for answer in parsed)
    return Comparison("facts", ("number" if numeric else "label",))


@lru_cache(maxsize=_PAIRS)
def _prose(one: str, other: str, asked: str, kind: str, cut: tuple[bool, bool]) -> Comparison:
    return compare(Response(one, cut=cut[0]), Response(other, cut=cut[1]), Question("", asked, None, kind))


def _hidden(one: Sample, other: Sample, first: Hidden, second: Hidden) -> Comparison:
    """Compares answers whose texts are not kept, by what was found while they were in memory, else by digests."""
    if known := first.verdicts.get(other.key) or second.verdicts.get(one.key):
        verdict: Any = known[0]
        return Comparison(verdict, tuple(known[1:]))
    if one.outcome.parsed == other.outcome.parsed:
        return SAME
    return Comparison("facts", ("label",)) if first.decisive and second.decisive else UNCLEAR


def failed(sample: Sample) -> bool:
    """Returns whether an answer is missing because its call failed."""
    return sample.outcome.error is not None


def unequal(one: Sample, other: Sample) -> bool:
    """Returns whether two answers may be worth different points: a failed call, or canonical forms that differ at all.

    No tolerance and no judge: what is called equal here gets the same score from every scorer of the canonical answer.
    """
    return failed(one) or failed(other) or canonical(one) != canonical(other)


def canonical(sample: Sample) -> str | None:
    """Returns an answer in the form that a scorer judges: the parsed one, JSON by value; None where none was found."""
    if not (sample.hidden or exact(sample)) and (value := _json(sample.answer)) is not None:
        return json.dumps(value, sort_keys=True)
    return sample.outcome.parsed


def decisive(sample: Sample) -> bool:
    """Returns whether equality of canonical answers decides about rightness: kinds that say so, JSON, and labels; not
    answers about places of the text."""
    if sample.hidden:
        return sample.hidden.decisive
    kind = recorded_kind(sample.kind, sample.outcome.gold, sample.options)
    if kind.whole_text:  # the same answer about places may be right to one text and wrong to another
        return False
    text = sample.answer
    return kind.exact or len(text.split()) <= _LABEL_WORDS or _json(text) is not None


def signature(sample: Sample) -> str:
    """Returns an answer in the form in which it is counted: the canonical one, of prose the facts that it states."""
    if sample.hidden:
        return sample.hidden.signature or ""
    if decisive(sample):
        return normalise(canonical(sample) or "")
    return _facts(sample.answer)


def refused(sample: Sample) -> bool:
    """Returns whether the reply refuses, or a provider's filter put itself in its place."""
    if sample.hidden:
        return sample.hidden.refused
    filtered = any(
        isinstance(given := call.get("reply"), Mapping) and given.get("finish_reason") == "content_filter"
        for call in sample.calls
    )
    return filtered or refuses(sample.answer)


@lru_cache(maxsize=_KEPT)
def _facts(text: str) -> str:
    found = facts(text)
    stated = sorted(str(fact) for fact in found.said)
    if stated or found.refuses or found.label:
        return f"{found.refuses} {found.label} {stated}"
    return normalise(text)  # prose without facts is itself only


def _json(text: str) -> object:
    return find_json(text) if text.lstrip()[:1] in ("{", "[", "`") else None


def exact(sample: Sample) -> bool:
    """Returns whether equal answers of the sample's kind are equally right (`Kind.exact`)."""
    return recorded_kind(sample.kind, sample.outcome.gold, sample.options).exact
