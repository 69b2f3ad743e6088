"""Guesses of the words that are meant by an unknown word of a language that has a word list.

As for English (`llmkit.repair.guesses`): the posterior of a word is its frequency times the probability that it is
typed so, and one more hypothesis is that the unknown word is right. How likely that is its letters say, three by three.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache

from llmkit.perturb.candidates import Lexicon
from llmkit.perturb.languages import Language
from llmkit.perturb.misspelt import PROFILE, channel_of
from llmkit.perturb.profile import load
from llmkit.perturb.word_lists import WITHOUT_VOWELS, WordList, word_list
from llmkit.repair.guesses import Guess, Guesses

LONGEST = 24
"""Letters; longer words are compounds, and stay."""

_NEAR = math.log(1e-7)  # the frequency of words that are looked for one edit away,
_FAR = math.log(1e-6)  # and two
_SURE = -19.0  # nats of a word one edit away above which no word two edits away is as likely
_EDIT = 6.0  # nats that an edit usually costs
_WEIGHED = 8  # candidates whose edits are weighed, at most,
_BEHIND = 6.0  # and nats that they may seem to be behind the likeliest
_KEPT = 6  # guesses for each word
_RIGHT = 10.0  # of a word that is right and that the list lacks,
_LACKING = 2.8  # and for each nat of the share of words that lists lack
_PER_LETTER = 1.6  # more for each letter above eight, and less for each below: short words are mostly in the list
_USUAL = 8
_DENSE = 2.0  # more in scripts without vowels and of syllables, where most strings of a few signs are words
_REGULAR = 7.0  # more where it is made of two known words,
_PART = math.log(1e-6)  # each as frequent as this,
_SHORTEST = 4  # and of so many letters, or of a known one behind particles that are written together with it
_LINKS = ("", "s", "n", "en", "e", "er", "es")
_JOINED = frozenset({"da", "de", "fi", "hu", "is", "nl", "no", "sv"})
"""Languages that write compounds as one word."""
_PARTICLES = {"ar": ("و", "ف", "ب", "ل", "ك", "ال", "وال", "بال", "لل"), "he": tuple("ובלכמשה")}
_INFLECTED = 3.0  # nats less for a word with another ending: what is right and unknown is mostly another form
_ENDING = 2  # letters of an ending
_LEARNT = 30_000  # words that the model of letters is learnt from


class ListGuesser:
    """The word list of a language with a channel. What was guessed once is remembered."""

    def __init__(self, words: WordList) -> None:
        self.words = words
        self._rates = [math.log(rate) for rate in load(PROFILE).by_length]
        self._channel = channel_of(words)
        near = [word for word in words.above(_NEAR) if len(word) > 2 and "'" not in word]
        self._near = Lexicon(dict.fromkeys(near, 1))
        self._far = Lexicon({word: 1 for word in near if words.frequencies[word] >= _FAR})
        self._letters = Letters(near[:_LEARNT])
        self._totals = self._usual_totals()
        self.guesses = lru_cache(maxsize=1 << 15)(self._guesses)

    def _guesses(self, typed: str) -> Guesses:
        """Returns the words meant by an unknown word as the list has it, the likeliest first."""
        logs = self._weighed(typed, self._near.near(typed, 1))
        if len(typed) > 4 and max(logs.values(), default=-math.inf) < _SURE:
            further = self._far.near(typed, 2)
            logs |= self._weighed(typed, {word: edits for word, edits in further.items() if word not in logs})
        guesses = [Guess(word, self._frequency(word), log, -math.inf) for word, log in logs.items()]
        guesses.sort(key=lambda guess: (-guess.edited, guess.word))
        return Guesses(tuple(guesses[:_KEPT]), self._right(typed))

    def _weighed(self, typed: str, edits: dict[str, int]) -> dict[str, float]:
        """Returns the logarithms of the likeliest among some words, given their numbers of edits."""
        frequencies, totals, channel = self.words.frequencies, self._totals, self._channel
        ranked = sorted((_EDIT * number - frequencies[word], word) for word, number in edits.items())[:_WEIGHED]
        return {
            word: self._frequency(word)
            + channel.log_probability(typed, word, totals[min(len(word), len(totals) - 1)])
            - _INFLECTED * _is_inflected(typed, word)
            for behind, word in ranked
            if behind < ranked[0][0] + _BEHIND
        }

    def _frequency(self, word: str) -> float:
        """Returns the logarithm of the probability that a word is meant and misspelt."""
        return self.words.frequencies[word] + self._rates[min(len(word), len(self._rates)) - 1]

    def _right(self, typed: str) -> float:
        right = (
            _RIGHT
            + _LACKING * math.log(self.words.lacking)
            + self._letters.log_probability(typed)
            + _PER_LETTER * (len(typed) - _USUAL)
        )
        language = self.words.language
        right += _DENSE * (language.script in WITHOUT_VOWELS or not language.alphabetic)
        return right + _REGULAR * self._is_regular(typed)

    def _is_regular(self, typed: str) -> bool:
        """Returns whether a word is a compound of known words, or a known one with particles before it."""
        code, frequencies = self.words.language.code, self.words.frequencies
        for particle in _PARTICLES.get(code, ()):
            if typed.startswith(particle) and len(typed) > len(particle) + 2 and typed[len(particle) :] in frequencies:
                return True

        def known(part: str) -> bool:
            return len(part) >= _SHORTEST and frequencies.get(part, -math.inf) >= _PART

        return code in _JOINED and any(
            known(typed[cut:])
            and any(typed[:cut].endswith(link) and known(typed[: cut - len(link)]) for link in _LINKS)
            for cut in range(_SHORTEST, len(typed) - _SHORTEST + 1)
        )

    def _usual_totals(self) -> list[float]:
        """Returns the usual sum of the weights of a word's edits, by length of the word: of the most frequent ones."""
        by_length: dict[int, list[str]] = {}
        for word in self.words.common:
            of_length = by_length.setdefault(len(word), [])
            if len(of_length) < 8:
                of_length.append(word)
        longest = min(15, max(by_length))
        return [self._channel.usual_total(by_length.get(length) or by_length[4]) for length in range(longest + 1)]


def _is_inflected(typed: str, word: str) -> bool:
    """Returns whether two words differ in their endings only."""
    same = next(
        (i for i, (one, other) in enumerate(zip(typed, word, strict=False)) if one != other), min(len(typed), len(word))
    )
    return same >= max(len(typed), len(word)) - _ENDING and sorted(typed[same:]) != sorted(word[same:])


class Letters:
    """The letters of a language: how likely each is behind two others, less likely ones by one or none of them."""

    def __init__(self, words: Iterable[str]) -> None:
        self._counts: Counter[str] = Counter()
        for word in words:
            framed = f"^^{word}$"
            for end in range(3, len(framed) + 1):
                for length in (1, 2, 3):
                    self._counts[framed[end - length : end]] += 1
        self._behind: Counter[str] = Counter()
        for letters, count in self._counts.items():
            self._behind[letters[:-1]] += count

    def log_probability(self, word: str) -> float:
        """Returns the logarithm of the probability of a word, its end included."""
        framed = f"^^{word}$"
        return sum(math.log(self._share(framed[end - 3 : end])) for end in range(3, len(framed) + 1))

    def _share(self, letters: str) -> float:
        """Returns the share of the last letter behind those before it, smoothed by the shorter shares (Witten and Bell
        1991, with a constant weight)."""
        shorter = self._share(letters[1:]) if len(letters) > 1 else _EVEN
        behind = self._behind[letters[:-1]]
        return (self._counts[letters] + _SMOOTHED * shorter) / (behind + _SMOOTHED)


_SMOOTHED = 5.0
_EVEN = 0.001  # of a letter that no word has


@lru_cache(maxsize=8)
def list_guesser(language: Language) -> ListGuesser:
    """Returns the guesser of a language, loaded at first use."""
    return ListGuesser(word_list(language))
