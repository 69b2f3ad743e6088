"""Spelling of English words, without a model: which words of a text are doubtful, and what is likeliest meant."""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import NamedTuple

from llmkit.perturb.text import Change, apply
from llmkit.repair.guesses import FEWEST, LONGEST, guesser

LEAST = 0.5
"""The posterior above which a word is replaced."""

_WORD = re.compile(r"(?<![\w'\u2019])[^\W\d_]+(?:['\u2019][^\W\d_]+)*(?![\w])")
_ENDINGS = frozenset({"s", "d", "ll", "re", "ve"})
_START_NAME = 9.0  # nats more for a capitalised word that opens a sentence
_AGAIN = 3.0  # nats more for a word that the text has twice


class DoubtedWord(NamedTuple):
    """An unknown word of a text, the likeliest word that is meant, in its capitals, and the posterior of that."""

    start: int
    end: int
    best: str
    posterior: float


def doubted_words(text: str) -> list[DoubtedWord]:
    """Finds the unknown words of an English text that have a guess, left to right. Names, regular forms of known words
    and words that the text repeats have a low posterior.

    >>> [(word.best, word.posterior > 0.8) for word in doubted_words("How mnay alppes does Tom hvae?")]
    [('many', True), ('apples', True), ('have', True)]
    """
    speller = guesser()
    unknown = [match for match in _WORD.finditer(text) if not speller.knows(match.group())]
    if not unknown:
        return []
    times = Counter(match.group() for match in unknown)
    doubted = []
    for match in unknown:
        word = match.group()
        starts = word[0].isupper() and _starts(text, match.start())
        if (word[0].isupper() and not starts) or word[1:] != word[1:].lower():
            continue
        stem, ending = _parted(word)
        if not FEWEST <= len(stem) <= LONGEST or not (stem.isascii() and stem.isalpha()):
            continue
        guesses = speller.guesses(stem.lower())
        if not guesses.meant:
            continue
        right = guesses.right + _START_NAME * starts + _AGAIN * (times[word] > 1)
        best, log = guesses.meant[0]
        whole = sum(math.exp(other - log) for _, other in guesses.meant) + math.exp(min(50.0, right - log))
        best = (best.capitalize() if word[0].isupper() else best) + ending
        doubted.append(DoubtedWord(match.start(), match.end(), best, 1 / whole))
    return doubted


def spell(text: str) -> str:
    """Replaces each unknown word by the likeliest one, where that is likelier than not; words that a dictionary knows,
    names and numbers stay.

    >>> spell("How mnay alppes does Tom hvae?")
    'How many apples does Tom have?'
    """
    changes = [Change(word.start, word.end, word.best) for word in doubted_words(text) if word.posterior > LEAST]
    return apply(text, changes)[0] if changes else text


def _parted(word: str) -> tuple[str, str]:
    """Parts a word at its first apostrophe: "brother's" is "brother" and "'s"."""
    for place, letter in enumerate(word):
        if letter in "'\u2019":
            return (word[:place], word[place:]) if word[place + 1 :].lower() in _ENDINGS else (word, "")
    return word, ""


def _starts(text: str, at: int) -> bool:
    """Returns whether a word at this offset opens a sentence, where a capital says nothing about names."""
    text_before = text[:at].rstrip("\"'\u201c( \n")
    return not text_before or text_before[-1] in ".!?:"
