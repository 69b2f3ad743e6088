"""Hangul syllables and the jamo that they are typed from."""

from __future__ import annotations

from typing import NamedTuple

INITIALS = "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ"
VOWELS = "ㅏㅐㅑㅒㅓㅔㅕㅖㅗㅘㅙㅚㅛㅜㅝㅞㅟㅠㅡㅢㅣ"
FINALS = "\0ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ"
_FIRST, _COUNT = 0xAC00, len(INITIALS) * len(VOWELS) * len(FINALS)


class Syllable(NamedTuple):
    """The jamo of a syllable as letters of their own; `final` is "" where it ends in its vowel."""

    initial: str
    vowel: str
    final: str

    def __str__(self) -> str:
        initial, vowel = INITIALS.index(self.initial), VOWELS.index(self.vowel)
        final = FINALS.index(self.final or "\0")
        return chr(_FIRST + (initial * len(VOWELS) + vowel) * len(FINALS) + final)


def is_syllable(character: str) -> bool:
    return 0 <= ord(character) - _FIRST < _COUNT


def syllable(character: str) -> Syllable:
    """Takes a syllable apart (The Unicode Standard, 3.12).

    >>> tuple(syllable("한")), str(Syllable("ㄱ", "ㅡ", "ㄹ"))
    (('ㅎ', 'ㅏ', 'ㄴ'), '글')
    """
    vowels, final = divmod(ord(character) - _FIRST, len(FINALS))
    initial, vowel = divmod(vowels, len(VOWELS))
    return Syllable(INITIALS[initial], VOWELS[vowel], FINALS[final].strip("\0"))


# Jamo that a keyboard has no key for, by the keys that they are typed with.
_KEYS = str.maketrans({
    "ㅘ": "ㅗㅏ", "ㅙ": "ㅗㅐ", "ㅚ": "ㅗㅣ", "ㅝ": "ㅜㅓ", "ㅞ": "ㅜㅔ", "ㅟ": "ㅜㅣ", "ㅢ": "ㅡㅣ", "ㄳ": "ㄱㅅ",
    "ㄵ": "ㄴㅈ", "ㄶ": "ㄴㅎ", "ㄺ": "ㄹㄱ", "ㄻ": "ㄹㅁ", "ㄼ": "ㄹㅂ", "ㄽ": "ㄹㅅ", "ㄾ": "ㄹㅌ", "ㄿ": "ㄹㅍ",
    "ㅀ": "ㄹㅎ", "ㅄ": "ㅂㅅ",
})  # fmt: skip


def keys_of(word: str) -> str:
    """Returns a word as the jamo of the keys that it is typed with.

    >>> keys_of("원한")
    'ㅇㅜㅓㄴㅎㅏㄴ'
    """
    return "".join("".join(syllable(c)) if is_syllable(c) else c for c in word).translate(_KEYS)


def changed(character: str, neighbours: dict[str, str]) -> list[str]:
    """Returns the syllables that differ in one jamo, which became one of its neighbours, of the same kind.

    >>> changed("한", {"ㅎ": "ㅗㄹ", "ㅏ": "ㅓㅣ"})
    ['란', '헌', '힌']
    """
    own = syllable(character)
    kinds = zip(Syllable._fields, (INITIALS, VOWELS, FINALS), strict=True)
    return [
        str(own._replace(**{kind: other}))
        for kind, possible in kinds
        for other in neighbours.get(getattr(own, kind), "")
        if other in possible
    ]
