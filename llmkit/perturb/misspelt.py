"""How words of other languages than English are misspelt: the classes of edits of the profile `learner`, with the
letters of the language."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from itertools import permutations
from random import Random

from llmkit.perturb.channel import Channel
from llmkit.perturb.graphemes import is_mark
from llmkit.perturb.languages import Language
from llmkit.perturb.number_words import number_word_spans
from llmkit.perturb.profile import load
from llmkit.perturb.word_lists import WordList, word_list

PROFILE = "learner"
"""The profile whose places and numbers of edits are those of other languages, too."""

# Rates of edits each time that there is room for one, beside that of a letter left out, which is 1: those of the
# profile in the 1,500 commonest English words of three letters and more (`benchmarks/spell_languages.py classes`).
_LEFT_OUT, _EXCHANGED, _DOUBLED, _WRITTEN_ONCE = 1.0, 0.44, 0.19, 10.0
_VOWELS_CONFUSED = 1.2  # of a vowel for any other,
_LETTERS_CONFUSED = 0.2  # of a letter for any other,
_ADDED = 0.38  # of any letter between two
_MARKED = 8.0  # ours: of an accented letter written plain, which English has no pairs for,
_UNMARKED = 0.4  # and of a plain one written with an accent
_ONE_EDIT = (1.0, 0.0, 0.0, 0.0)  # ours: in words of up to four letters, of which two would leave little
_STRANGE = 0.05  # the factor on pairs of letters that no common word has
_VOWELS = frozenset("aeiouyаеёиоуыэюяіїєαεηιουωاويאוי")
_DRAWS = 16


class Misspeller:
    """The misspellings of one language. None of them is a word or a number word of it."""

    def __init__(self, words: WordList) -> None:
        self.words = words
        self.channel = channel_of(words)

    def misspell(self, word: str, rng: Random) -> str | None:
        """Draws what is typed for a word of the list, in its case; None for another word, or where each of several
        draws makes a word or a sign without a letter."""
        plain = self.words.plain(word)
        if plain not in self.words.frequencies:
            return None
        for _ in range(_DRAWS):
            typed = self.channel.sample(plain, rng)
            written = self.words.written(typed, word) if typed else None
            if written and self._is_no_word(written):
                return written
        return None

    def _is_no_word(self, typed: str) -> bool:
        return not (self.words.knows(typed) or is_mark(typed[0]) or number_word_spans(typed, self.words.language))


def channel_of(words: WordList) -> Channel:
    """Returns the channel of a language: the edits of people who write English, over its letters and pairs."""
    learner, letters = load(PROFILE).channel, words.letters
    rates: dict[str, float] = {}
    vowels = [letter for letter in letters if _plain(letter) in _VOWELS or is_mark(letter)]
    for typed, intended in permutations(vowels, 2):
        rates[f"({intended}>{typed})"] = _VOWELS_CONFUSED / (len(vowels) - 1)
    for letter in letters:
        rates[f"({letter}{letter}>{letter})"] = _WRITTEN_ONCE
        plain = _plain(letter)
        if plain != letter and plain in letters:
            rates[f"({letter}>{plain})"], rates[f"({plain}>{letter})"] = _MARKED, _UNMARKED
    strange = {
        first + second: 0.0 if is_mark(second) else _STRANGE
        for first in f"^{letters}"
        for second in f"{letters}$"
        if first + second not in words.pairs or (first == second and is_mark(second))
    }
    rare = {
        "del": _LEFT_OUT,
        "swap": _EXCHANGED,
        "dup": _DOUBLED,
        "sub": _LETTERS_CONFUSED / len(letters),
        "ins": _ADDED / len(letters),
    }
    numbers = [_ONE_EDIT, *learner.numbers[1:]]
    return Channel(rates, rare, learner.places, numbers, strange, letters)


def _plain(letter: str) -> str:
    """Returns a letter without its accents."""
    return unicodedata.normalize("NFD", letter)[0]


@lru_cache(maxsize=8)
def misspeller(language: Language) -> Misspeller:
    """Returns the misspeller of a language that has a word list, loaded at first use."""
    return Misspeller(word_list(language))
