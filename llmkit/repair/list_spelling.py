"""Spelling of other languages than English: the unknown words of a text that are likelier misspelt than right."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from functools import cache

from llmkit.perturb.candidates import shares
from llmkit.perturb.graphemes import marks
from llmkit.perturb.languages import Language
from llmkit.perturb.number_words import number_word_spans
from llmkit.perturb.text import Change, apply
from llmkit.repair.guesses import Guesses
from llmkit.repair.list_guesses import LONGEST, ListGuesser, list_guesser
from llmkit.repair.spelling import is_code, starts_sentence

LEAST = 0.9
"""The probability of being misspelt above which a word is replaced."""

_FEWEST = 3  # letters and signs
_MOST_UNKNOWN = 0.5  # of a text's words; where the list lacks more the text is in another language
_START_NAME = 4.0  # nats more for a capitalised word that opens a sentence
_AGAIN = 3.0  # nats more for a word that the text has twice
_UNKNOWN = 0.03  # the share of misspelt words,
_CLUSTERED = 1.0  # the power of a text's rate: names and jargon are unknown, too, but errors come in clusters
_FREE_WORDS = 20.0  # and the words that this counts for


def spell_in(text: str, language: Language) -> str:
    """Replaces each unknown word by the likeliest one, where it is likelier misspelt than right. Words that the list
    has, words with capitals within a sentence, compounds, numbers and words in other scripts stay.

    >>> from llmkit.perturb.languages import language_named
    >>> spell_in("Wir haben gesetrn eine Wohnung besichitgt.", language_named("de"))
    'Wir haben gestern eine Wohnung besichtigt.'
    """
    changes = misspelt_in(text, language)
    return apply(text, changes)[0] if changes else text


def misspelt_in(text: str, language: Language) -> list[Change]:
    """Finds the words of a text that are likelier misspelt than right, each with what is likeliest meant."""
    guesser = list_guesser(language)
    number, unknown = _unknown(text, guesser)
    if not unknown or len(unknown) > _MOST_UNKNOWN * number:
        return []
    times = Counter(match.group() for match, _ in unknown)
    changes = []
    for match, guesses in unknown:
        word = match.group()
        # The other words of the text say how much is misspelt in it: mostly hardly anything, or a lot.
        rate = (len(unknown) - 1 + _FREE_WORDS * _UNKNOWN) / (number - 1 + _FREE_WORDS)
        more = _CLUSTERED * math.log(rate / _UNKNOWN)
        right = guesses.right + _AGAIN * (times[word] > 1) + _START_NAME * (word != language.lower(word))
        posteriors = shares({**{guess.word: guess.edited + more for guess in guesses.meant}, "": right})
        if 1 - posteriors.pop("") > LEAST:
            best = guesser.words.written(max(posteriors, key=lambda meant: posteriors[meant]), word)
            if best and not number_word_spans(best, language):
                changes.append(Change(match.start(), match.end(), best))
    return changes


def _unknown(text: str, guesser: ListGuesser) -> tuple[int, list[tuple[re.Match[str], Guesses]]]:
    """Returns the number of words, and those that the list lacks and that may be misspelt, with their guesses."""
    words, language, number = guesser.words, guesser.words.language, 0
    unknown = []
    for whole in _whole().finditer(text):
        number += 1
        if words.knows(whole.group()) or not language.writes(whole.group()) or is_code(text, *whole.span()):
            continue
        for match in _part().finditer(text, *whole.span()):
            word, plain = match.group(), words.plain(match.group())
            if language.alphabetic and _has_marks(word):  # stress, or vowels of Arabic: no list has them
                continue
            if plain in words.frequencies or not _FEWEST <= len(plain) <= LONGEST:
                continue
            small = word == language.lower(word)
            opens = word[1:] == language.lower(word[1:]) and starts_sentence(text, match.start())
            if small or opens:
                guesses = guesser.guesses(plain)
                if guesses.meant:
                    unknown.append((match, guesses))
    return number, unknown


def _has_marks(word: str) -> bool:
    return any(unicodedata.category(character)[0] == "M" for character in unicodedata.normalize("NFC", word))


@cache
def _part() -> re.Pattern[str]:
    return re.compile(rf"[^\W\d_](?:[^\W\d_]|[{marks()}])*")


@cache
def _whole() -> re.Pattern[str]:
    part = _part().pattern
    return re.compile(rf"(?<![\w'\u2019]){part}(?:['\u2019]{part})*(?![\w{marks()}])")
