"""Operators that add sentences."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import NamedTuple

from llmkit.perturb.base import TextEdit, operator, pick
from llmkit.perturb.chars import ALPHABET
from llmkit.perturb.numerals import NUMBER, NUMBER_WORDS
from llmkit.perturb.protection import begin_options
from llmkit.perturb.text import Change, Source

_SENTENCE_END = re.compile(r"(?<=[.!?])[\"')\]]*(?=\s)")
_ABBREVIATION = re.compile(r"\b(?:[A-Z]|Mr|Mrs|Ms|Dr|St|Jr|Sr|vs|etc|approx|No|a\.m|p\.m|e\.g|i\.e)\.$")
_SPACES = re.compile(r"\s+")
_CAPITALISED = re.compile(r"(?<![\w'])[A-Z][a-z]+(?!\w)")
_OPENERS = (
    "A After All Although An And Another Answer April As Assuming At August Before Both But By Calculate Choices "
    "Compute Consider December Determine During Each Every February Find First For Four Friday From Given Half He Her "
    "Here His How However If In It Its January July June Last Let March May Monday Next November Now October On Once "
    "One Only Options Or Our Saturday September She Since Six So Some Sunday Ten The Their Then There These They This "
    "Three Thursday Today Tomorrow To Tuesday Two We Wednesday What When Where Which While Who Why With Yesterday Yet "
    "You Your"
)


_NOT_A_NAME = frozenset(_OPENERS.split())
_BOTH_CASES = ALPHABET + ALPHABET.upper()
_ACTS = re.compile(r"(?:['’]s)? (?:and [A-Z]|is|was|has|had|can|wants|[a-z]+(?:s|ed)\b)")
_NAMES = ("Imani", "Tomasz", "Leilani", "Rafiq", "Sunniva", "Matteo", "Yewande", "Kenji")


class Distractor(NamedTuple):
    """An irrelevant sentence, or a clause, which begins in small letters; the range of the number {n}, 0 for none; and
    words that make it unfit for a question. {name} becomes somebody in the question."""

    text: str
    low: int
    high: int
    topics: tuple[str, ...]


@cache
def _bank() -> tuple[Distractor, ...]:
    lines = (Path(__file__).parent / "data" / "distractors.tsv").read_text(encoding="utf-8").splitlines()
    rows = (line.split("\t") for line in lines[1:])
    return tuple(Distractor(text, int(low), int(high), tuple(topics.split())) for text, low, high, topics in rows)


def distractors() -> list[Distractor]:
    """The sentences that `uic` draws from. Nothing in them can be shared with what a question asks about."""
    return [d for d in _bank() if not d.text[0].islower()]


def asides() -> list[Distractor]:
    """Clauses as irrelevant as the sentences, to go into a sentence behind a comma."""
    return [d for d in _bank() if d.text[0].islower()]


@operator("uic", level="sentence", paper_rate=0.1)
class Uic(TextEdit):
    """Unaffected interference conditions: a true but irrelevant sentence before the final question (RoP,
    arXiv 2506.03627). Its name comes from the question; it has a number only where the question asks for one, and none
    that the question leads to.

    One sentence, of 23 words on average as in the paper's data, and one more for every 23 words that the rate asks
    for beyond. At `--rate paper` sentences and clauses may stand anywhere in the text.

    >>> Uic().changes(Source("Maria eats 3 apples. How many are left?"), 1, Random(1))[0].start
    21
    """

    adds_numbers = True
    english = True
    nothing = "no sentence to add"

    def wanted(self, source: Source, rate: float) -> int:
        return max(1, round(rate * source.words / 23))

    def changes(self, source: Source, wanted: int, rng: Random) -> list[Change]:
        at = question_start(source)
        said = interference(source.text, distractors(), wanted, rng)
        return [Change(at, at, f"{sentence} " if at < len(source.text) else f" {sentence}") for sentence in said]


def interference(text: str, bank: Sequence[Distractor], wanted: int, rng: Random) -> list[str]:
    """Sentences of the bank, made to fit a text: none about its topics, with numbers where it asks for one."""
    name, avoid, lowered = main_name(text) or pick(_NAMES, rng), reachable(text), text.lower()
    arithmetic = asks_for_a_number(text)
    fitting = [d for d in bank if (d.high > 0) == arithmetic]
    left = [d for d in fitting if not any(topic in lowered for topic in d.topics)] or fitting
    said: list[str] = []
    while left and len(said) < wanted:
        chosen = left.pop(int(rng.random() * len(left)))
        number = _unrelated(chosen.low, chosen.high, avoid, rng) if chosen.high else ""
        said.append(chosen.text.format(name=name, n=number))
    return said


_HOW_MANY = re.compile(r"\bhow (?:many|much|far|long|old|fast|tall|big|high|often)\b", re.IGNORECASE)
_ASKING = re.compile(r"\b(?:what|find|calculate|determine|compute)\b", re.IGNORECASE)
_QUANTITY = re.compile(
    r"\b(?:total|sum|cost|price|average|number|percent\w*|ratio|difference|profit|value|amount|speed|length|area|age|"
    r"probability|rate|weight|distance|volume|time)\b",
    re.IGNORECASE,
)
_NO_COUNTS = frozenset({"one", "first", "second", "third", "once", "half", "quarter", "none", "nil", "zero"})
_COUNTS = NUMBER_WORDS - _NO_COUNTS  # "What could one do in half a second?" is no arithmetic
_DATE = re.compile(r"(?<!\d)\d+/\d+/\d+|\b[A-Z]{2}/[A-Z]{2}/[A-Z]{4}\b")


def asks_for_a_number(text: str) -> bool:
    """Returns whether a question is one of arithmetic: it gives numbers, dates aside, and asks for one.

    >>> asks_for_a_number("Tom has 3 pens and buys 4. How many has he?"), asks_for_a_number("How many legs has an ant?")
    (True, False)
    """
    if _DATE.search(text) or not (_HOW_MANY.search(text) or any(map(_asks_for_quantity, re.split("[.?]", text)))):
        return False
    return bool(NUMBER.search(text)) or not _COUNTS.isdisjoint(re.findall(r"[a-z]+", text.lower()))


def _asks_for_quantity(sentence: str) -> bool:
    asking = _ASKING.search(sentence)
    return bool(asking and _QUANTITY.search(sentence, asking.end()))


def sentence_starts(source: Source) -> list[int]:
    """Finds where sentences and lines begin outside protected spans and before options at the end; never between a
    shortened word and the next."""
    text, bounds, stem = source.text, [0], stem_end(source)
    for match in _SENTENCE_END.finditer(text):
        after = _SPACES.match(text, match.end())
        before = text[max(0, match.end() - 8) : match.end()]
        if after and source.free(match.end(), match.end()) and not _ABBREVIATION.search(before):
            bounds.append(after.end())
    bounds += [i + 1 for i, char in enumerate(text) if char == "\n"]
    return sorted({b for b in bounds if b < stem and source.free(b, b)})


def question_start(source: Source) -> int:
    """Finds where the last question sentence begins (the last sentence, where none asks), never among options at the
    end."""
    text, bounds = source.text, sentence_starts(source)
    ends = [*bounds[1:], len(text)]
    asking = [start for start, end in zip(bounds, ends, strict=False) if "?" in text[start:end]]
    return (asking or bounds or [0])[-1]


def main_name(text: str) -> str | None:
    """The capitalised word that looks most like the name of someone in the text, or None."""
    seen: dict[str, int] = {}
    for match in _CAPITALISED.finditer(text):
        word = match.group()
        if word not in _NOT_A_NAME:
            opens = text[max(0, match.start() - 8) : match.start()].rstrip()[-1:] in ("", ".", "!", "?", ":")
            acts = _ACTS.match(text, match.end())
            seen[word] = seen.get(word, 0) + 2 * bool(acts) + (not opens)
    best = max(seen, key=lambda w: seen[w], default=None)
    return best if best and seen[best] else None


def reachable(text: str) -> set[int]:
    """The numbers of a text and the sums, differences, products and quotients of any two of them."""
    given = {float(n.replace(",", "")) for n in NUMBER.findall(text) if re.fullmatch(r"[\d,]+(?:\.\d+)?", n)}
    given |= {x / 100 for x in given}
    given = set(sorted(given)[:64])
    found = set(given)
    for a in given:
        for b in given:
            found |= {a + b, a - b, a * b, a / b if b else a}
    return {int(x) for x in found if abs(x) < 1e12 and x == int(x)}


def _unrelated(low: int, high: int, avoid: set[int], rng: Random) -> int:
    free = [n for n in range(low, high + 1) if n not in avoid]
    return pick(free, rng) if free else high + 1 + max(avoid)


@operator("checklist", level="sentence")
class Checklist(TextEdit):
    """Appends random strings of ten letters, as many as the rate asks words for (CheckList, Ribeiro et al. 2020,
    arXiv 2005.04118, as used by PromptRobust, arXiv 2306.04528).

    >>> [tuple(c) for c in Checklist().changes(Source("How many?"), 1, Random(1))]
    [(9, 9, ' gSNnzxHPeb')]
    """

    nothing = "no place to append to"

    def changes(self, source: Source, wanted: int, rng: Random) -> list[Change]:
        return appended(source, ["".join(pick(_BOTH_CASES, rng) for _ in range(10)) for _ in range(wanted)])


_TAUTOLOGIES = ("and true is true", "and false is not true")


@operator("stress", level="sentence")
class Stress(TextEdit):
    """Appends tautologies, one for every four words that the rate asks for, five at most (StressTest, Naik et al. 2018,
    arXiv 1806.00692).

    >>> [tuple(c) for c in Stress().changes(Source("How many?"), 1, Random(1))]
    [(9, 9, ' and true is true')]
    """

    english = True
    nothing = "no place to append to"

    def wanted(self, source: Source, rate: float) -> int:
        return min(5, max(1, round(rate * source.words / 4)))

    def changes(self, source: Source, wanted: int, rng: Random) -> list[Change]:
        return appended(source, [pick(_TAUTOLOGIES, rng)] * wanted)


def stem_end(source: Source) -> int:
    """Finds where the question ends: before options and protected lines at the end, else after its last character."""
    text, end = source.text, len(source.text)
    for start, stop in reversed(source.spans):
        if text[stop:end].strip() or not (begin_options(text, start) or _begins_line(text, start)):
            break
        end = start
    while end and text[end - 1].isspace():
        end -= 1
    return end or len(text)


def _begins_line(text: str, at: int) -> bool:
    while at and text[at - 1] in " \t":
        at -= 1
    return at == 0 or text[at - 1] == "\n"


def appended(source: Source, sentences: Sequence[str]) -> list[Change]:
    """Insertions behind the question, each with a space before it, and one after the last where none follows."""
    at = stem_end(source)
    after = source.text[at : at + 1]
    parts = [f" {sentence}" for sentence in sentences]
    if parts and after and not after.isspace():
        parts[-1] += " "
    return [Change(at, at, part) for part in parts]
