"""Letters in disguise in texts of other languages than English: what may be folded, and what must not be."""

from __future__ import annotations

import re
import unicodedata
from functools import cache

from llmkit.perturb.languages import LATIN, Language
from llmkit.perturb.lookalikes import script, twin
from llmkit.repair.lookalikes import fold_lookalikes, is_ending_of_its_own

_WORD = re.compile(r"[^\W\d_](?:[^\W\d_]|[\u0300-\u036f])*")
_PHONETIC = re.compile(r"[\u0250-\u02af\u1d00-\u1dbf]")  # letters that no language served is written with
_DISGUISING = frozenset({"CYRILLIC", "GREEK"})  # scripts whose letters have twins among the Latin ones
_PRESENTED = re.compile(r"[\ufb50-\ufdcf\ufdf0-\ufdf9\ufe70-\ufefc]+")  # shapes of Arabic letters, for old printers
_KEYS = {"fa": str.maketrans("يك", "یک"), "ur": str.maketrans("يك", "یک"), "ar": str.maketrans("ک", "ك")}
"""Letters of an Arabic keyboard in Persian and Urdu, and the other way about: alike in most places of a word."""


def fold_in(text: str, language: Language) -> str:
    """Replaces letters in disguise in a text of a language: in a Latin word by Latin letters, in a Cyrillic or Greek
    one by its own, and in Arabic script the shapes of letters by letters.

    Accents, ß, the Turkish i with and without its dot, tatweel and vowel marks stay; so does all of Chinese, Japanese,
    Korean and Indic text, full width included.

    >>> from llmkit.perturb.languages import language_named
    >>> fold_in("d\u0456\u0435 Stra\u00dfe \u0131\u015f\u0131k", language_named("tr"))
    'die Straße ışık'
    >>> fold_in("\u0441axap \u0438 PDF\u043a\u0430", language_named("ru")) == "сахар и PDFка"
    True
    """
    if language.script in LATIN:
        return _WORD.sub(lambda match: _as_latin(match.group(), language), fold_lookalikes(text, english=False))
    if language.script in _DISGUISING:
        return _WORD.sub(lambda match: _as_own(match.group(), language), text)
    if language.script == "ARABIC":
        plain = _PRESENTED.sub(lambda match: unicodedata.normalize("NFKC", match.group()), text)
        return plain.translate(_KEYS.get(language.code, {}))
    return text


def _as_latin(word: str, language: Language) -> str:
    """Returns a word with plain letters for phonetic ones ("ɡ"), if then all its letters are of the language."""
    if not _PHONETIC.search(word):
        return word
    own = _letters(language)
    folded = _PHONETIC.sub(lambda match: twin(match.group()) or match.group(), word)
    return folded if all(_base(letter) in own or unicodedata.combining(letter) for letter in folded) else word


def _as_own(word: str, language: Language) -> str:
    """Returns a word of Cyrillic or Greek letters with its own ones for Latin twins, if all others are such."""
    if not any(script(letter) == language.script for letter in word) or is_ending_of_its_own(word):
        return word
    own = _twins(language)
    folded = "".join(letter if script(letter) == language.script else own.get(letter, letter) for letter in word)
    return folded if language.writes(folded) else word


def _base(letter: str) -> str:
    return unicodedata.normalize("NFD", letter)[0]


@cache
def _letters(language: Language) -> frozenset[str]:
    return frozenset(_base(letter) for small in language.alphabet for letter in (small, language.upper(small)))


@cache
def _twins(language: Language) -> dict[str, str]:
    """Returns the letters of a language by the Latin ones that look the same."""
    letters = [letter for small in language.alphabet for letter in (small, language.upper(small))]
    return {latin: letter for letter in reversed(letters) if len(letter) == 1 and len(latin := twin(letter)) == 1}
