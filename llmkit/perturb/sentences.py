"""Operators that add sentences."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import NamedTuple

from llmkit.perturb.base import ALPHABET, TextEdit, operator, pick
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
    words that make it unfit for a question. {name} becomes a person of the question."""

    text: str
    low: int
    high: int
    topics: tuple[str, ...]


@cache
def _bank() -> tuple[Distractor, ...]:
    table_lines = (Path(__file__).parent / "data" / "distractors.tsv").read_text(encoding="utf-8").splitlines()
    rows = (line.split("\t") for line in table_lines[1:])
    return tuple(
        Distractor(sentence, int(lowest), int(highest), tuple(topics.split()))
        for sentence, lowest, highest, topics in rows
    )


def distractors() -> list[Distractor]:
    """Returns the sentences that `uic` draws from. Nothing in them can be shared with what a question asks about."""
    return [distractor for distractor in _bank() if not distractor.text[0].islower()]


def asides() -> list[Distractor]:
    """Returns clauses as irrelevant as the sentences, to be put into a sentence after a comma."""
    return [distractor for distractor in _bank() if distractor.text[0].islower()]


@operator("uic", level="sentence", paper_rate=0.1)
class Uic(TextEdit):
    """Unaffected interference conditions: a true but irrelevant sentence before the final question (RoP,
    arXiv 2506.03627). Its name comes from the question; it has a number only where the question asks for one, and none
    that the question leads to.

    One sentence, of 23 words on average as in the paper's data, and one more for every 23 words that the rate asks
    for beyond. At `--rate paper` sentences and clauses may come anywhere in the text.

    >>> Uic().changes(Source("Maria eats 3 apples. How many are left?"), 1, Random(1))[0].start
    21
    """

    adds_numbers = True
    english = True
    nothing = "no sentence to add"

    def wanted(self, source: Source, rate: float) -> int:
        return max(1, round(rate * source.words / 23))

    def changes(self, source: Source, wanted: int, rng: Random) -> list[Change]:
        offset = question_start(source)
        sentences = interference(source.text, distractors(), wanted, rng)
        return [
            Change(offset, offset, f"{sentence} " if offset < len(source.text) else f" {sentence}")
            for sentence in sentences
        ]


def interference(text: str, entries: Sequence[Distractor], wanted: int, rng: Random) -> list[str]:
    """Chooses sentences of the bank that fit a text: none about its topics, with numbers if it asks for one."""
    person, avoided_numbers, lower_text = main_name(text) or pick(_NAMES, rng), reachable(text), text.lower()
    arithmetic = asks_for_a_number(text)
    fitting_entries = [distractor for distractor in entries if (distractor.high > 0) == arithmetic]
    candidates = [
        distractor for distractor in fitting_entries if not any(topic in lower_text for topic in distractor.topics)
    ] or fitting_entries
    sentences: list[str] = []
    while candidates and len(sentences) < wanted:
        chosen_distractor = candidates.pop(int(rng.random() * len(candidates)))
        number = (
            _unrelated(chosen_distractor.low, chosen_distractor.high, avoided_numbers, rng)
            if chosen_distractor.high
            else ""
        )
        sentences.append(chosen_distractor.text.format(name=person, n=number))
    return sentences


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
    asking_word = _ASKING.search(sentence)
    return bool(asking_word and _QUANTITY.search(sentence, asking_word.end()))


def sentence_starts(source: Source) -> list[int]:
    """Finds the starts of sentences and lines outside protected spans and before options at the end; never between a
    shortened word and the next."""
    text, boundaries, stem_limit = source.text, [0], stem_end(source)
    for match in _SENTENCE_END.finditer(text):
        following_space = _SPACES.match(text, match.end())
        text_before = text[max(0, match.end() - 8) : match.end()]
        if following_space and source.free(match.end(), match.end()) and not _ABBREVIATION.search(text_before):
            boundaries.append(following_space.end())
    boundaries += [i + 1 for i, character in enumerate(text) if character == "\n"]
    return sorted({boundary for boundary in boundaries if boundary < stem_limit and source.free(boundary, boundary)})


def question_start(source: Source) -> int:
    """Finds the start of the last question sentence (the last sentence, if none asks), never among options at the
    end."""
    text, boundaries = source.text, sentence_starts(source)
    sentence_ends = [*boundaries[1:], len(text)]
    asking_starts = [start for start, end in zip(boundaries, sentence_ends, strict=False) if "?" in text[start:end]]
    return (asking_starts or boundaries or [0])[-1]


def main_name(text: str) -> str | None:
    """Finds the capitalised word that looks most like the name of someone in the text, or None."""
    name_scores: dict[str, int] = {}
    for match in _CAPITALISED.finditer(text):
        word = match.group()
        if word not in _NOT_A_NAME:
            opens_sentence = text[max(0, match.start() - 8) : match.start()].rstrip()[-1:] in ("", ".", "!", "?", ":")
            acts_in_text = _ACTS.match(text, match.end())
            name_scores[word] = name_scores.get(word, 0) + 2 * bool(acts_in_text) + (not opens_sentence)
    best_name = max(name_scores, key=lambda w: name_scores[w], default=None)
    return best_name if best_name and name_scores[best_name] else None


def reachable(text: str) -> set[int]:
    """Returns the numbers of a text and the sums, differences, products and quotients of any two of them."""
    given_numbers = {
        float(number.replace(",", "")) for number in NUMBER.findall(text) if re.fullmatch(r"[\d,]+(?:\.\d+)?", number)
    }
    given_numbers |= {value / 100 for value in given_numbers}
    given_numbers = set(sorted(given_numbers)[:64])
    all_numbers = set(given_numbers)
    for first in given_numbers:
        for second in given_numbers:
            all_numbers |= {first + second, first - second, first * second, first / second if second else first}
    return {int(value) for value in all_numbers if abs(value) < 1e12 and value == int(value)}


def _unrelated(lowest: int, highest: int, avoided_numbers: set[int], rng: Random) -> int:
    free_numbers = [candidate for candidate in range(lowest, highest + 1) if candidate not in avoided_numbers]
    return pick(free_numbers, rng) if free_numbers else highest + 1 + max(avoided_numbers)


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
    """Finds the end of the question: before options and protected lines at the end, else after its last character."""
    text, end_offset = source.text, len(source.text)
    for start, stop in reversed(source.spans):
        if text[stop:end_offset].strip() or not (begin_options(text, start) or _begins_line(text, start)):
            break
        end_offset = start
    while end_offset and text[end_offset - 1].isspace():
        end_offset -= 1
    return end_offset or len(text)


def _begins_line(text: str, offset: int) -> bool:
    while offset and text[offset - 1] in " \t":
        offset -= 1
    return offset == 0 or text[offset - 1] == "\n"


def appended(source: Source, sentences: Sequence[str]) -> list[Change]:
    """Returns insertions after the question, each with a space before it, and one after the last if none follows."""
    offset = stem_end(source)
    next_character = source.text[offset : offset + 1]
    insertions = [f" {sentence}" for sentence in sentences]
    if insertions and next_character and not next_character.isspace():
        insertions[-1] += " "
    return [Change(offset, offset, part) for part in insertions]
