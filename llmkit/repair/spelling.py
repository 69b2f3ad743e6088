"""Spelling of English words, without a model: which words of a text are doubtful, and what is likeliest meant."""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import NamedTuple

from llmkit.perturb.candidates import shares
from llmkit.perturb.text import Change, apply
from llmkit.repair.guesses import FEWEST, LONGEST, Guesser, Guesses, guesser
from llmkit.repair.word_pairs import association

LEAST = 0.5
"""The probability of being misspelt above which a word is replaced."""

_WORD = re.compile(r"(?<![\w'\u2019])[^\W\d_]+(?:['\u2019][^\W\d_]+)*(?![\w])")
_BEFORE_CODE, _AFTER_CODE = frozenset("@#$%&^*=\\~|<_"), frozenset("%=*\\~|>_(")
_JOINED = re.compile(r"[\w-]{0,40}")
_JOINED_BEFORE = re.compile(r"[\w-]*\Z")
_REACH = 40  # characters on each side that a code may have
_ENDINGS = frozenset({"s", "d", "ll", "re", "ve"})
_START_NAME = 4.0  # nats more for a capitalised word that opens a sentence,
_KNOWN_NAME = 5.0  # and more still where CMUdict has it
_AGAIN = 3.0  # nats more for a word that the text has twice
_SHUFFLED = 0.1  # of misspelt words, the share whose letters are in another order,
_FREE = 3.0  # and the misspelt words that this counts for
_OPEN = 0.01  # of the likeliest word's posterior, the share from which another may well be meant
_EVIDENT = -1.0  # nats by which a word of the same letters has to be likelier to count as shuffled
_UNKNOWN = 0.03  # the share of misspelt words,
_CLUSTERED = 2.0  # the power of a text's rate: names and jargon are unknown, too, but errors come in clusters
_FREE_WORDS = 20.0  # and the words that this counts for


class Meant(NamedTuple):
    """A word that may be meant, in the capitals of the typed one, its posterior, and the logarithm of the probability
    that it is typed so."""

    word: str
    posterior: float
    typed: float


class DoubtedWord(NamedTuple):
    """An unknown word of a text, the likeliest word that is meant, in its capitals, and the posterior of that.

    `misspelt` is the posterior of all words that may be meant: 1 less that of the word as it is written. `meant` are
    those that may well be meant, the likeliest first.
    """

    start: int
    end: int
    best: str
    posterior: float
    misspelt: float
    meant: tuple[Meant, ...]

    @property
    def candidates(self) -> tuple[str, ...]:
        """The words that may be meant, the likeliest first."""
        return tuple(one.word for one in self.meant)


class _Unknown(NamedTuple):
    match: re.Match[str]
    before: str
    after: str
    guesses: Guesses
    right: float
    ending: str


def doubted_words(text: str, in_context: bool = True, speller: Guesser | None = None) -> list[DoubtedWord]:
    """Finds the unknown words of an English text that have a guess, left to right. Names, regular forms of known words
    and words that the text repeats have a low posterior. `in_context` weighs the neighbouring words, too;
    `speller` takes the place of the guesser whose channel comes with llmkit.

    >>> [(word.best, word.posterior > 0.9) for word in doubted_words("How mnay alppes does Tom hvae?")]
    [('many', True), ('apples', True), ('have', True)]
    """
    words, unknown = _unknown(text, speller or guesser())
    shuffled = [_is_shuffled(one.guesses) for one in unknown]
    doubted = []
    for (match, before, after, guesses, right, ending), is_shuffled in zip(unknown, shuffled, strict=True):
        # The other words of the text say how much is misspelt and shuffled in it: mostly hardly anything, or a lot.
        others = len(unknown) - 1
        anagrams = (sum(shuffled) - is_shuffled + _FREE * _SHUFFLED) / (others + _FREE)
        rate = (others + _FREE_WORDS * _UNKNOWN) / (words - 1 + _FREE_WORDS)
        more = (rate / _UNKNOWN) ** _CLUSTERED
        by_edits, by_order = math.log(more * (1 - anagrams)), math.log(more * anagrams)
        logs = {guess.word: _log_sum(guess.edited + by_edits, guess.shuffled + by_order) for guess in guesses.meant}
        typed = {guess.word: logs[guess.word] - guess.frequency for guess in guesses.meant}
        if in_context:
            for word in logs:
                logs[word] += association(before, word) + association(word, after)
        posteriors = shares({**logs, "": right})
        misspelt = 1 - posteriors.pop("")
        ranked = sorted(posteriors, key=lambda word: -posteriors[word])
        written = {word: (word.capitalize() if match.group()[0].isupper() else word) + ending for word in ranked}
        meant = tuple(
            Meant(written[word], posteriors[word], typed[word])
            for word in ranked
            if posteriors[word] >= _OPEN * posteriors[ranked[0]]
        )
        doubted.append(DoubtedWord(match.start(), match.end(), *meant[0][:2], misspelt, meant))
    return doubted


def _is_shuffled(guesses: Guesses) -> bool:
    """Returns whether the likeliest word of the same letters is likelier than any other."""
    return max(guess.shuffled for guess in guesses.meant) > max(guess.edited for guess in guesses.meant) + _EVIDENT


def _unknown(text: str, speller: Guesser) -> tuple[int, list[_Unknown]]:
    """Returns the number of words, and those that the dictionary lacks and that may be misspelt: no name inside a
    sentence."""
    matches = list(_WORD.finditer(text))
    words = [match.group() for match in matches]
    places = [place for place, word in enumerate(words) if not speller.knows(word)]
    times = Counter(words[place] for place in places)
    unknown = []
    for place in places:
        word, match = words[place], matches[place]
        if is_code(text, *match.span()):
            continue
        starts = word[0].isupper() and starts_sentence(text, match.start())
        if (word[0].isupper() and not starts) or word[1:] != word[1:].lower():
            continue
        stem, ending = _parted(word)
        if not FEWEST <= len(stem) <= LONGEST or not (stem.isascii() and stem.isalpha()):
            continue
        lower = stem.lower()
        guesses = speller.guesses(lower)
        if guesses.meant:
            right = guesses.right + _AGAIN * (times[word] > 1)
            right += starts * (_START_NAME + _KNOWN_NAME * (lower in speller.names))
            before = words[place - 1].lower() if place and text[match.start() - 1 : match.start()] == " " else ""
            is_last = place + 1 == len(words) or text[match.end() : match.end() + 1] != " "
            after = "" if is_last else words[place + 1].lower()
            unknown.append(_Unknown(match, before, after, guesses, right, ending))
    return len(words), unknown


def is_code(text: str, start: int, end: int) -> bool:
    """Returns whether a word is a part of a name or a code, where no spelling rules: a handle, a hashtag, a flag, a
    variable, or what hyphens join to a number."""
    before, after = text[start - 1 : start], text[end : end + 1]
    if (before and before in _BEFORE_CODE) or (after and after in _AFTER_CODE):
        return True
    if (before == ":" and text[start - 2 : start - 1].isalnum()) or (
        after == ":" and text[end + 1 : end + 2].isalnum()
    ):
        return True
    if "-" not in (before, after):
        return False
    joined_before, joined_after = _JOINED_BEFORE.search(text[max(0, start - _REACH) : start]), _JOINED.match(text, end)
    parts = [match[0] if match else "" for match in (joined_before, joined_after)]
    return parts[0].startswith("-") or any(map(str.isdigit, "".join(parts)))


def _log_sum(one: float, other: float) -> float:
    """Returns the logarithm of the sum of two numbers that are given as logarithms."""
    high, low = (one, other) if one > other else (other, one)
    return high if low == -math.inf else high + math.log1p(math.exp(low - high))


def misspelt_words(text: str) -> list[DoubtedWord]:
    """Returns the unknown words of an English text that are likelier misspelt than right."""
    return [word for word in doubted_words(text) if word.misspelt > LEAST]


def spell(text: str) -> str:
    """Replaces each unknown word by the likeliest one, where it is likelier misspelt than right; words that a
    dictionary knows, names and numbers stay.

    >>> spell("How mnay alppes does Tom hvae?")
    'How many apples does Tom have?'
    """
    changes = [Change(word.start, word.end, word.best) for word in misspelt_words(text)]
    return apply(text, changes)[0] if changes else text


def _parted(word: str) -> tuple[str, str]:
    """Parts a word at its first apostrophe: "brother's" is "brother" and "'s"."""
    for place, letter in enumerate(word):
        if letter in "'\u2019":
            return (word[:place], word[place:]) if word[place + 1 :].lower() in _ENDINGS else (word, "")
    return word, ""


def starts_sentence(text: str, at: int) -> bool:
    """Returns whether a word at this offset opens a sentence, where a capital says nothing about names."""
    text_before = text[:at].rstrip("\"'\u201c( \n")
    return not text_before or text_before[-1] in ".!?:"
