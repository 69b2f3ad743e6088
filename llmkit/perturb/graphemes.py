"""Grapheme clusters: what a reader takes for one letter, so that no edit parts a letter from its marks."""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Callable
from functools import cache

_JOINERS = "\u200c\u200d"
_SKIN_TONES = "\U0001f3fb-\U0001f3ff"
_HANGUL = (
    r"[\u1100-\u115f\ua960-\ua97c]*(?:[\uac00-\ud7a3]|[\u1160-\u11a7\ud7b0-\ud7c6]+)"
    r"[\u1160-\u11ff\ud7b0-\ud7c6\ud7cb-\ud7fb]*|[\u1100-\u115f\ua960-\ua97c]+|[\u11a8-\u11ff\ud7cb-\ud7fb]+"
)
# Scripts in which a virama joins the next consonant to a cluster (Indic_Conjunct_Break), by their consonants.
_CONSONANTS = (
    "\u0915-\u0939\u0958-\u095f\u0978-\u097f\u0995-\u09a8\u09aa-\u09b0\u09b2\u09b6-\u09b9\u09dc\u09dd\u09df\u09f0\u09f1"
    "\u0a95-\u0aa8\u0aaa-\u0ab0\u0ab2\u0ab3\u0ab5-\u0ab9\u0af9\u0b15-\u0b28\u0b2a-\u0b30\u0b32\u0b33\u0b35-\u0b39"
    "\u0b5c\u0b5d\u0b5f\u0b71\u0c15-\u0c28\u0c2a-\u0c39\u0c58-\u0c5a\u0d15-\u0d3a"
)
_VIRAMAS = "\u094d\u09cd\u0acd\u0b4d\u0c4d\u0d4d"
# Spacing marks that begin a cluster of their own by UAX 29, and letters that end one (Thai and Lao AM).
_NOT_SPACING = "\u102b\u102c\u1038\u1062-\u1064\u1067-\u106d\u1083\u1087-\u108c\u108f\u109a-\u109c\u1a61\u1a63\u1a64"
_SPACING_LETTERS = "\u0e33\u0eb3"


def clusters(text: str) -> list[str]:
    """Splits a text into grapheme clusters (UAX 29, extended, without its rules for prepended marks).

    >>> clusters("né") == ["n", "é"], len(clusters("क्षेत्र")), clusters("한글")
    (True, 2, ['한', '글'])
    """
    return list(text) if text.isascii() else _pattern().findall(text)


def is_mark(character: str) -> bool:
    """Returns whether a character is written on another: an accent, a vowel sign, a joiner."""
    return unicodedata.category(character)[0] == "M" or character in _JOINERS


@cache
def marks() -> str:
    """Returns all combining marks as ranges for a class of characters, with the joiners."""
    return _ranges(lambda character: unicodedata.category(character)[0] == "M") + _JOINERS


@cache
def _pattern() -> re.Pattern[str]:
    own = re.compile(f"[{_NOT_SPACING}]")
    extending = _ranges(lambda c: unicodedata.category(c)[0] == "M" and not own.match(c))
    extend = f"[{extending}{_JOINERS}{_SKIN_TONES}{_SPACING_LETTERS}]*"
    linked = f"[{_CONSONANTS}](?:[{extending}\u200d]*[{_VIRAMAS}][{extending}\u200d]*[{_CONSONANTS}])+"
    pictograph = "[\u00a9\u00ae\u203c-\u3299\U0001f000-\U0001f3fa\U0001f400-\U0001faff]"
    emoji = f"{pictograph}(?:[{extending}{_SKIN_TONES}]*\u200d{pictograph})+"
    flag = "[\U0001f1e6-\U0001f1ff]{2}"
    return re.compile(f"\r\n|(?:{linked}|{emoji}|{flag}|{_HANGUL}|[^\r\n]){extend}|[\r\n]")


def _ranges(holds: Callable[[str], bool]) -> str:
    """Returns the characters for which `holds`, as ranges for a class of characters."""
    found, start = "", -1
    for code in range(0x300, sys.maxunicode + 2):
        if code == 0x20000:  # no marks in between
            found, start = found + (f"{chr(start)}-{chr(code - 1)}" if start >= 0 else ""), -1
        if 0x20000 <= code < 0xE0100:
            continue
        is_one = code <= sys.maxunicode and holds(chr(code))
        if is_one and start < 0:
            start = code
        elif not is_one and start >= 0:
            found, start = found + f"{chr(start)}-{chr(code - 1)}", -1
    return found
