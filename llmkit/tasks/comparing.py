"""Same or changed: two replies of an application, to two wordings of the same row.

The parsed answer decides where the kind of answer has one; else tool calls, else JSON by value, else the facts
signature of the texts. No likeness of embeddings is ever a verdict: "27 seats are free" and "28 seats are free" are
as near as two paraphrases.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from llmkit.tasks import fact_words as lists
from llmkit.tasks import json_values, numbers
from llmkit.tasks.facts import Fact, Facts, facts, stem, without_emphasis
from llmkit.tasks.kinds import Text, kind_of
from llmkit.tasks.substance import MORE, answers_of, asked_for, gives, has, misspelt, own, rambles, repeats, respelt
from llmkit.types import Question

Verdict = Literal["same", "facts", "wording", "unclear"]

CHANGES: Mapping[str, str] = {
    "empty": "one reply is empty, only polite, or repeats the question",
    "refusal": "one reply refuses",
    "tool_call": "another tool call",
    "json": "another value in the JSON",
    "label": "another label or choice",
    "number": "another number",
    "amount": "another amount of money",
    "date": "another date",
    "time": "another time of day",
    "id": "another order number, code or phone number",
    "url": "another web address",
    "email": "another e-mail address",
    "name": "another name",
    "negation": "what one reply affirms, the other denies",
    "request": "asks its reader to do something else",
    "language": "another language",
    "content": "next to no words in common",
}
"""The kinds of change with their plain words, in the order in which reports show them."""


@dataclass(frozen=True, slots=True)
class Response:
    """The response of an application: text, tool calls (name and arguments), and whether a limit of tokens cut it."""

    text: str
    tool_calls: Sequence[Mapping[str, Any]] = ()
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Comparison:
    """The verdict on two replies. `kinds` are those of `CHANGES`, in its order; `paths` name JSON values that differ.

    same: equal, or equal in canonical form. facts: someone who acts on the replies would act differently. wording:
    only the words differ. unclear: rules cannot tell. Only `facts` counts as changed.
    """

    verdict: Verdict
    kinds: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        return self.verdict == "facts"


SAME, WORDING, UNCLEAR = Comparison("same"), Comparison("wording"), Comparison("unclear")


def compare(first: Response, second: Response, question: Question) -> Comparison:
    """Returns whether two replies to wordings of `question` say the same. Symmetric, linear in the texts.

    The question's own facts help: a reply that leaves out what the question already said has not changed.
    """
    json_values_of = [json_values.find_json(reply.text) for reply in (first, second)]
    calls = [
        [*reply.tool_calls, *json_values.tool_calls_in(value)]
        for reply, value in zip((first, second), json_values_of, strict=True)
    ]
    if any(calls):
        return _calls(calls[0], calls[1])
    if isinstance(kind_of(question), Text):
        if _canonical(first.text) == _canonical(second.text):
            return SAME
        if any(value is not None for value in json_values_of):
            return _json(json_values_of[0], json_values_of[1], first, second, question.text)
        return _texts(first, second, question.text)
    return _answers(first, second, question)


def _changed(kinds: Iterable[str], paths: Iterable[str] = ()) -> Comparison:
    found = set(kinds)
    return Comparison("facts", tuple(kind for kind in CHANGES if kind in found), tuple(paths))


def _answers(first: Response, second: Response, question: Question) -> Comparison:
    kind = kind_of(question)
    answers = [kind.extract(reply.text, question) for reply in (first, second)]
    if answers[0] == answers[1]:
        if answers[0] is not None or _canonical(first.text) == _canonical(second.text):
            return SAME
        return UNCLEAR  # two replies that cannot be read
    is_number = not kind.has_options and any(answer and numbers.parse(answer) is not None for answer in answers)
    return _changed(["number" if is_number else "label"])


def _calls(first: Sequence[Any], second: Sequence[Any]) -> Comparison:
    """Compares tool calls whatever their order, since parallel calls have none."""
    one, other = (
        sorted(
            (json_values.canonical_call(call) for call in calls if isinstance(call, Mapping)),
            key=_written,
        )
        for calls in (first, second)
    )
    paths = list(json_values.differing_paths(one, other, _strings_differ, "$.tool_calls"))
    return _changed(["tool_call"], paths) if paths else SAME


def _written(call: Mapping[str, Any]) -> str:
    """Returns a call as text to order calls by; its name where it is nested too deeply to be written."""
    try:
        return json.dumps(call, sort_keys=True, default=str)
    except (RecursionError, TypeError, ValueError):
        return str(call.get("name"))


def _json(one: Any, other: Any, first: Response, second: Response, asked: str) -> Comparison:
    if one is None or other is None:
        if any(reply.cut and json_values.begins_json(reply.text) for reply in (first, second)):
            return _texts(first, second, asked)
        return _changed(["empty" if not first.text.strip() or not second.text.strip() else "json"])
    paths = list(json_values.differing_paths(one, other, _strings_differ))
    return _changed(["json"], paths) if paths else SAME


_SHORT = 5  # words: a shorter string of a JSON value is an answer, a longer one is prose


def _strings_differ(one: str, other: str) -> bool:
    if _canonical(one) == _canonical(other):
        return False
    verdict = _texts(Response(one), Response(other), "").verdict
    if verdict != "unclear":
        return verdict == "facts"
    return min(len(one.split()), len(other.split())) <= _SHORT or _shared(facts(one), facts(other)) < _ALIKE


def _canonical(text: str) -> str:
    """Returns a text without emphasis, case and layout."""
    return " ".join(without_emphasis(unicodedata.normalize("NFKC", text)).casefold().split())


_CONTAINED = 0.9  # of the shorter reply's content words: the longer one only says more
_BESIDE_FACTS = 0.5  # of them where the replies give the same facts: those were what was asked for
_ALIKE = 0.5  # below it a negation is part of another sentence, not what changed
_FOREIGN = 0.25  # of the words that the question lacks: two answers share more, however they are worded
_APART = 0.3  # of all words: replies that share more speak of one thing, be it in the question's words
_LONG = 16  # content words of both: shorter replies may be each other in other words
_SAYS_SOMETHING = 2  # content words that make more than a greeting
_ENOUGH = 5  # content words that the question lacks: they show that two replies share next to none


def _texts(first: Response, second: Response, asked: str) -> Comparison:
    """Compares two texts by their facts signatures."""
    if _canonical(first.text) == _canonical(second.text):
        return SAME
    if not first.text.strip() or not second.text.strip():
        return _changed(["empty"])
    one, other, known = (facts(text) for text in (*(respelt(_whole(reply), asked) for reply in (first, second)), asked))
    if one.refuses != other.refuses:
        return _changed(["refusal"])
    said = _said(one, other, known, first.cut, second.cut) | _requests(one, other)
    if one.refuses:
        more = bool(one.requests) != bool(other.requests) and len(one.requests | other.requests) >= MORE
        return _changed({*said, *(["request"] if more else [])}) if said or more else WORDING
    if (verdict := _marked(one, other, known, second.cut if one.answer else first.cut)) is not None:
        return verdict
    if (verdict := _asked_for(one, other, known, asked, first.cut, second.cut)) is not None:
        return verdict
    kinds = {*said, *_labels(one, other), *_names(one, other, known), *_polarity(one, other)}
    if one.language and other.language and one.language != other.language:
        kinds.add("language")
    polite = [_only_polite(reply) for reply in (one, other)]
    rambling = [rambles(text.text, reply, known) for text, reply in ((first, one), (second, other))]
    rambler, beside = (one, other) if rambling[0] else (other, one)
    if any(rambling) and not frozenset() < beside.words <= rambler.words:
        return UNCLEAR if all(rambling) or not gives(beside, known) else _changed({*kinds, "empty"})
    if polite[0] != polite[1] and max(len(one.words), len(other.words)) >= _SAYS_SOMETHING:
        kinds.add("empty")
    if repeats(one, other, known) or repeats(other, one, known):
        kinds.add("empty")
    if kinds:
        return _changed(kinds)
    return _by_words(one, other, known)


def _whole(reply: Response) -> str:
    """Returns the text of a reply; without its last word where a limit cut it, since that may be half a number."""
    return " ".join(reply.text.rstrip().rsplit(maxsplit=1)[:-1]) if reply.cut else reply.text


def _by_words(one: Facts, other: Facts, known: Facts) -> Comparison:
    """Returns the verdict on two replies without a conflict of facts, by the content words that they share.

    Where each has words that neither the other nor the question has, those may be other words or another matter.
    """
    if {one.label, other.label} == {"no", None} and not (other if one.label else one).denies:
        return UNCLEAR  # a bare "No" beside a sentence that may mean it
    agreed = _both(one, other)
    if len(agreed) > 1 and not _only(one, other) and not _only(other, one):
        return WORDING
    shared = _shared(one, other)
    replaced = one.words - other.words - known.words and other.words - one.words - known.words
    if shared >= (_BESIDE_FACTS if agreed else _CONTAINED) and not replaced:
        return WORDING
    new = [fact for fact in agreed if not has(known, fact)] or (one.label and one.label == other.label)
    return _changed(["content"]) if not new and _apart(one, other, known) else UNCLEAR


def _apart(one: Facts, other: Facts, known: Facts) -> bool:
    """Returns whether two replies say enough, and share so few words that they are about different things."""
    first, second = own(one, known), own(other, known)
    fewer, enough = min(len(first), len(second)), len(one.words) + len(other.words) >= _LONG
    return enough and fewer >= _ENOUGH and len(first & second) < _FOREIGN * fewer and _shared(one, other) < _APART


def _only_polite(reply: Facts) -> bool:
    return not (reply.words or reply.said or reply.label)


def _shared(one: Facts, other: Facts) -> float:
    """Returns the share of the content words of the shorter reply that the other has; 1 where it has none."""
    fewer = min(len(one.words), len(other.words))
    return len(one.words & other.words) / fewer if fewer else 1.0


def _said(one: Facts, other: Facts, known: Facts, one_cut: bool, other_cut: bool) -> set[str]:
    """Returns the kinds of facts in which two replies conflict: each has one of that kind that the other lacks.

    A fact that only one reply has is a conflict if the question did not give it already, unless the other reply
    is part of this one and they agree on a label or on a fact that is new too: then this one only says more. A reply
    that was cut might have given it.
    """
    if one.answer or other.answer:
        return set()
    first_only, second_only = _only(one, other), _only(other, one)
    kinds = {fact.kind for fact in first_only} & {fact.kind for fact in second_only}
    if one.words == other.words:  # "27 and 28" became "28 and 28"
        lost = {fact.kind for fact in (*first_only, *second_only)}
        kinds |= {kind for kind in lost if _mentions(one, kind) == _mentions(other, kind)}
    if kinds:
        return kinds
    both_cut = one_cut and other_cut  # and had the same room
    alone = [*(first_only if both_cut or not other_cut else []), *(second_only if both_cut or not one_cut else [])]
    new = {fact.kind for fact in alone if fact.value not in lists.DAYS and not has(known, fact)}
    agreed = (one.label and one.label == other.label) or any(not has(known, fact) for fact in _both(one, other))
    more = agreed and not (first_only and second_only) and _shared(one, other) >= _CONTAINED
    return set() if more else new


def _marked(one: Facts, other: Facts, known: Facts, unmarked_cut: bool) -> Comparison | None:
    """Returns the verdict of the answer that a reply marks, beside which its other facts are working.

    None where neither marks one, or where the other reply may have it or not.
    """
    if one.answer and other.answer:
        return WORDING if one.answer == other.answer else _changed([_answer_kind(one.answer, other.answer)])
    if not one.answer and not other.answer:
        return None
    marked, unmarked = (one, other) if one.answer else (other, one)
    if not unmarked.label and all(has(known, fact) for fact in unmarked.said):
        repeated = unmarked.said and len(unmarked.words & known.words) >= _CONTAINED * len(unmarked.words)
        if unmarked.asks or (repeated and len(unmarked.words) >= _SAYS_SOMETHING):
            return _changed(["empty"])
    if _answer_kind(marked.answer or "") != "number":
        answer = {stem(word) for word in (marked.answer or "").split()} & marked.words
        if answer and not answer & unmarked.words and not unmarked.label and not unmarked_cut:
            return _changed(["label"])
        if not unmarked.label or " " in f"{unmarked.label}{marked.answer}":
            return None
        return WORDING if unmarked.label == marked.answer else _changed(["label"])
    results = {fact.value for fact in unmarked.said if not has(known, fact)}
    results = results or {fact.value for fact in unmarked.said}
    if results == {marked.answer}:
        return WORDING
    return _changed(["number"]) if results and marked.answer not in results else None


def _asked_for(one: Facts, other: Facts, known: Facts, asked: str, one_cut: bool, other_cut: bool) -> Comparison | None:
    """Returns the verdict of the facts of the kind that a passage is asked for, beside which its others are detail.

    None where neither reply gives one, where they give some in common and others not, where what else they say differs
    from the passage, or where the reply that gives none was cut.
    """
    kinds = asked_for(asked)
    first, second = answers_of(one, kinds), answers_of(other, kinds)
    if not first and not second:
        return None
    if first == second:
        differ = [
            fact for fact in (*_only(one, other), *_only(other, one)) if fact.kind in kinds or not has(known, fact)
        ]
        return None if differ or _polarity(one, other) else WORDING
    missing_is_cut = (not first and one_cut) or (not second and other_cut)
    return None if first & second or missing_is_cut else _changed([kinds[0]])


def _answer_kind(*answers: str) -> str:
    return "number" if any(numbers.parse(answer) is not None for answer in answers) else "label"


def _mentions(reply: Facts, kind: str) -> int:
    return sum(count for fact, count in reply.said.items() if fact.kind == kind)


def _only(one: Facts, other: Facts) -> list[Fact]:
    values: dict[str, list[Fact]] = {}
    for fact in other.said:
        values.setdefault(fact.value, []).append(fact)
    return [fact for fact in one.said if not any(fact.agrees(twin) for twin in values.get(fact.value, ()))]


def _both(one: Facts, other: Facts) -> list[Fact]:
    missing = {*_only(one, other)}
    return [fact for fact in one.said if fact not in missing]


def _labels(one: Facts, other: Facts) -> set[str]:
    if one.label and other.label:
        return {"label"} if one.label != other.label else set()
    if (_bare(one) or _bare(other)) and one.words.isdisjoint(other.words):
        return {"label"}
    says_yes = "yes" in (one.label, other.label)
    return {"negation"} if says_yes and (one.denies if other.label else other.denies) else set()


def _bare(reply: Facts) -> bool:
    """Returns whether a reply is its label, and this is more than yes or no."""
    return bool(reply.words) and reply.words <= {stem(word) for word in (reply.label or "").split()}


def _names(one: Facts, other: Facts, known: Facts) -> set[str]:
    first, second = one.names - other.words - other.names, other.names - one.words - one.names
    first, second = first - misspelt(first, known), second - misspelt(second, known)
    return {"name"} if first and second else set()


def _requests(one: Facts, other: Facts) -> set[str]:
    both, enough = one.requests and other.requests, len(one.requests) + len(other.requests) >= _ENOUGH
    return {"request"} if both and enough and one.requests.isdisjoint(other.requests) else set()


_OPPOSITES = tuple((stem(a), stem(b)) for a, b in lists.OPPOSITES)


def _polarity(one: Facts, other: Facts) -> set[str]:
    """Returns "negation" where one reply only denies what the other affirms, or affirms its opposite."""
    if _shared(one, other) < _ALIKE and min(len(one.words), len(other.words)) > _SAYS_SOMETHING:
        return set()
    turned = [(one.denied & other.affirmed) - other.denied, (other.denied & one.affirmed) - one.denied]
    moved = all(turned)  # "not the price that I saw", "the price is not the one I saw"
    opposite = any(
        (a in one.words and b in other.words and a not in other.words and b not in one.words)
        or (b in one.words and a in other.words and b not in other.words and a not in one.words)
        for a, b in _OPPOSITES
    )
    return {"negation"} if (any(turned) and not moved) or opposite else set()
