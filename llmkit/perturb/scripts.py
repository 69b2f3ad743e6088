"""Operators for what goes wrong in other languages than English: the layout, diacritics, jamo, vowel signs."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from random import Random

from llmkit.errors import UsageError
from llmkit.perturb.base import TextEdit, WordEdit, letters_of, operator, pick
from llmkit.perturb.hangul import is_syllable, keys_of, syllable
from llmkit.perturb.keyboards import layout_named
from llmkit.perturb.languages import ENGLISH, Language
from llmkit.perturb.text import Change, Source


@operator("wrong_layout", level="word")
class WrongLayout(TextEdit):
    """Types some words in a row as if another keyboard layout were on: "ghbdtn" for "привет". The other layout is the
    American one, for English the Russian one, or the one that is named: `wrong_layout:de` (what bilingual typists do;
    layouts of xkb-data).

    >>> [tuple(change) for change in WrongLayout().changes(Source("hello"), 1, Random(1))]
    [(0, 5, 'руддщ')]
    """

    nothing = "no word that another layout writes otherwise"

    def __init__(self, argument: str | None = None) -> None:
        super().__init__(None)
        self.chosen = layout_named(argument) if argument else None

    def serves(self, language: Language) -> bool:
        return language.layout is not None

    def changes(self, source: Source, wanted: int, rng: Random) -> Sequence[Change]:
        language = self.language or ENGLISH
        if language.layout is None:
            return []
        other = self.chosen or layout_named("ru" if language.code == "en" else "us")
        keys = str.maketrans(language.layout.on(other))
        changes = []
        for start, end in letters_of(source):
            word = source.text[start:end]
            typed = keys_of(word).translate(keys)
            if typed != word and language.writes(word) and not any(map(str.isnumeric, typed)):
                changes.append(Change(start, end, typed))
        first = int(rng.random() * max(1, len(changes) - wanted + 1))
        return changes[first : first + wanted]


# Letters that are written without their stroke or as two, which Unicode does not take apart.
_PLAIN = str.maketrans({
    "ß": "ss", "ẞ": "SS", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D", "ð": "d", "Ð": "D", "þ": "th",
    "Þ": "Th", "æ": "ae", "Æ": "Ae", "œ": "oe", "Œ": "Oe", "ı": "i", "ŀ": "l", "ħ": "h", "Ħ": "H", "ё": "е", "Ё": "Е",
})  # fmt: skip
_DIGRAPHS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "å": "aa", "Å": "Aa"})
_STRIPPED = frozenset({"LATIN", "GREEK", "ARABIC", "HEBREW"})  # й and ї are letters of their own


@operator("no_diacritics", level="character", default_rate=0.3)
class NoDiacritics(WordEdit):
    """Writes a word without its diacritics: "uber" for "über", "manana" for "mañana", Arabic without hamza and vowels;
    with `no_diacritics:digraphs` "ueber" (how people type on a keyboard that lacks them).

    >>> NoDiacritics().edit("über", Random(1)), NoDiacritics("digraphs").edit("über", Random(1))
    ('uber', 'ueber')
    """

    scripts = _STRIPPED | {"CYRILLIC"}
    nothing = "no word with diacritics"

    def __init__(self, argument: str | None = None) -> None:
        super().__init__(None)
        if argument not in (None, "digraphs"):
            raise UsageError(
                f"`no_diacritics:{argument}` is unknown", "write `no_diacritics` or `no_diacritics:digraphs`"
            )
        self.digraphs = argument is not None

    def edit(self, word: str, rng: Random) -> str | None:
        if word.isascii():
            return None
        plain = (unicodedata.normalize("NFC", word).translate(_DIGRAPHS) if self.digraphs else word).translate(_PLAIN)
        script = self.language.script if self.language else "LATIN"
        if script in _STRIPPED:
            parts = unicodedata.normalize("NFD", plain)
            plain = "".join(part for part in parts if unicodedata.category(part) != "Mn")
        return plain or None

    def edit_in(self, word: str, rng: Random) -> str | None:
        return self.edit(word, rng) if self.language and self.language.writes(word) else None


_SAME_VOWEL = {"ㅐ": "ㅔ", "ㅔ": "ㅐ", "ㅒ": "ㅖ", "ㅖ": "ㅒ", "ㅚ": "ㅙㅞ", "ㅙ": "ㅚㅞ", "ㅞ": "ㅚㅙ"}
_TENSE = dict(zip("ㄱㄷㅂㅅㅈㄲㄸㅃㅆㅉ", "ㄲㄸㅃㅆㅉㄱㄷㅂㅅㅈ", strict=True))


@operator("jamo", level="character")
class Jamo(WordEdit):
    """Changes one syllable of a Korean word by its letters: a final left out, a vowel that sounds the same, a plain
    consonant for a tense one, letters that were not joined (syllables by The Unicode Standard, 3.12; confusions ours).

    >>> sorted({Jamo().edit("밖", Random(seed)) for seed in range(9)})
    ['ㅂㅏㄲ', '바', '빢']
    """

    only = frozenset({"ko"})
    nothing = "no Hangul"

    def edit(self, word: str, rng: Random) -> str | None:
        places = [place for place, character in enumerate(word) if is_syllable(character)]
        if not places:
            return None
        place = pick(places, rng)
        own = syllable(word[place])
        forms = ["".join(own)]
        forms += [str(own._replace(vowel=vowel)) for vowel in _SAME_VOWEL.get(own.vowel, "")]
        if own.final:
            forms.append(str(own._replace(final="")))
        if tense := _TENSE.get(own.initial):
            forms.append(str(own._replace(initial=tense)))
        return word[:place] + pick(forms, rng) + word[place + 1 :]

    def edit_in(self, word: str, rng: Random) -> str | None:
        return self.edit(word, rng)


# The blocks that order their signs as ISCII does, and the short and long signs that are confused, as offsets in them.
_ISCII = {
    "DEVANAGARI": 0x900, "BENGALI": 0x980, "GURMUKHI": 0xA00, "GUJARATI": 0xA80, "TAMIL": 0xB80, "TELUGU": 0xC00,
    "KANNADA": 0xC80, "MALAYALAM": 0xD00,
}  # fmt: skip
_SIGN_PAIRS = ((0x3F, 0x40), (0x41, 0x42), (0x47, 0x48), (0x4B, 0x4C))
_LONG_A = 0x3E


@operator("vowel_sign", level="character")
class VowelSign(WordEdit):
    """Leaves out a vowel sign of an Indic word, or writes the short one for the long one and e for ai, o for au:
    "किताब" as "कीताब" (The Unicode Standard, 12; confusions ours).

    >>> sorted({VowelSign().edit("किताब", Random(seed)) for seed in range(9)})
    ['कताब', 'कितब', 'कीताब']
    """

    scripts = frozenset(_ISCII)
    nothing = "no vowel sign"

    def edit(self, word: str, rng: Random) -> str | None:
        places = [place for place, character in enumerate(word) if _signs(character) is not None]
        if not places:
            return None
        place = pick(places, rng)
        return word[:place] + pick(_signs(word[place]) or [""], rng) + word[place + 1 :]

    def edit_in(self, word: str, rng: Random) -> str | None:
        return self.edit(word, rng) if self.language and self.language.writes(word) else None


def _signs(character: str) -> list[str] | None:
    """Returns what may take the place of a vowel sign: nothing, and its pair; None for other characters."""
    for base in _ISCII.values():
        offset = ord(character) - base
        if offset == _LONG_A:
            return [""]
        for pair in _SIGN_PAIRS:
            if offset in pair:
                other = chr(base + pair[1 - pair.index(offset)])
                return ["", other] if unicodedata.name(other, "") else [""]
    return None
