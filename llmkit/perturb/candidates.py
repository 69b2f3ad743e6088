"""Words that may be meant by a misspelt one: near it by edits, of the same letters, or of the same sounds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt
from rapidfuzz import process
from rapidfuzz.distance import OSA

_LETTERS = 26
_AS_SOUND = str.maketrans("qxzjv", "kksgf")
_SILENT = frozenset("aeiouyhw")
_VOWELS = frozenset("aeiou")


class Lexicon:
    """Words with their counts, to be found by what was typed for them. Built in a tenth of a second; the lists of
    anagrams and sounds are made at first use.

    Each word has a mask of its letters, in which one edit changes two bits at most. So the words within some edits are
    among the few whose mask is that near, and only those are compared (exactly, by optimal string alignment).
    """

    def __init__(self, counts: Mapping[str, int]) -> None:
        self.counts = counts
        words = sorted(counts, key=len)
        self._words = np.array(words, dtype=object)
        self._masks = _masks(words)
        lengths = [len(word) for word in words]
        self._first = np.searchsorted(lengths, np.arange((lengths[-1] if lengths else 0) + 2)).tolist()

    def near(self, typed: str, most_edits: int) -> dict[str, int]:
        """Returns the words within a number of edits, each with its number. A swap of two neighbours is one edit."""
        last = len(self._first) - 1
        start = self._first[min(max(0, len(typed) - most_edits), last)]
        end = self._first[min(len(typed) + most_edits + 1, last)]
        apart = np.bitwise_count(self._masks[start:end] ^ _masks([typed]))
        words = self._words[start:end][apart <= 2 * most_edits].tolist()
        nearest = process.extract(typed, words, scorer=OSA.distance, score_cutoff=most_edits, limit=None)
        return {word: int(edits) for word, edits, _ in nearest}

    def anagrams(self, typed: str) -> tuple[str, ...]:
        """Returns the words of the same letters."""
        return self._by_letters.get("".join(sorted(typed)), ())

    def alike(self, typed: str) -> tuple[str, ...]:
        """Returns the words whose consonants sound the same (see `sound`), however many edits they are away."""
        return self._by_sound.get(sound(typed), ())

    @cached_property
    def _by_letters(self) -> dict[str, tuple[str, ...]]:
        return _grouped(("".join(sorted(word)), word) for word in self._words)

    @cached_property
    def _by_sound(self) -> dict[str, tuple[str, ...]]:
        return _grouped((sound(word), word) for word in self._words)


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    groups: dict[str, list[str]] = {}
    for name, word in pairs:
        groups.setdefault(name, []).append(word)
    return {name: tuple(words) for name, words in groups.items()}


def _masks(words: Sequence[str]) -> npt.NDArray[np.uint64]:
    """Returns the bits of the letters of each word, those that come twice in the upper half."""
    once = np.zeros(len(words), np.uint64)
    twice = np.zeros(len(words), np.uint64)
    if words:
        padded = np.array(words).view(np.uint32).reshape(len(words), -1)  # code points, (words, longest)
        for codes in padded.T.astype(np.uint64):
            bits = np.where(codes > 0, np.uint64(1) << codes % np.uint64(32), np.uint64(0))
            twice |= once & bits
            once |= bits
    return once | twice << np.uint64(32)


def sound(word: str) -> str:
    """Returns the sound of a word's consonants, vowels aside except a first one: our own rules, coarser than those of
    Metaphone (Philips 1990), because several misspellings meet in one word.

    >>> sound("successful"), sound("suceesfull"), sound("enough")
    ('sksfl', 'sfl', 'an')
    """
    written = word.replace("ph", "f").replace("ck", "k").replace("tion", "sn").replace("sion", "sn").replace("gh", "")
    sounds: list[str] = []
    for place, letter in enumerate(written):
        if letter in _SILENT:
            if place == 0:
                sounds.append("a" if letter in _VOWELS else letter)
            continue
        if letter == "c":
            letter = "s" if written[place + 1 : place + 2] in ("e", "i", "y") else "k"
        letter = letter.translate(_AS_SOUND)
        if not sounds or sounds[-1] != letter:
            sounds.append(letter)
    return "".join(sounds)


def shares(logs: Mapping[str, float]) -> dict[str, float]:
    """Returns the posterior of each word from the logarithms of prior times likelihood; empty where all are 0."""
    highest = max(logs.values(), default=-math.inf)
    if highest == -math.inf:
        return {}
    weights = {word: math.exp(log - highest) for word, log in logs.items()}
    total = sum(weights.values())
    return {word: weight / total for word, weight in weights.items()}
