"""Plain letters for letters in disguise, without a model and without touching what is written as it should be."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from itertools import takewhile

from llmkit.perturb.lookalikes import reading, script, twin
from llmkit.perturb.wordbook import common_words, real_words

_WORD = re.compile(r"[^\W\d_](?:[^\W\d_]|[\u0300-\u036f])*")
_WIDE_MARK = re.compile(r"[\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff5e]")
_NOTATION = frozenset({"COPTIC", "GREEK", "MATHEMATICAL", "ROMAN", "STYLE"})  # beside Latin letters by right: αx, Ⅱa
_SMALL = (
    "the and to how many much what which that with for from are were did does you they she his her if each there have "
    "has would where it by at be not when who why this will more than after of is"
)
_SMALL_WORDS = frozenset(_SMALL.split())


def fold_lookalikes(text: str, english: bool | None = None) -> str:
    """Replaces letters in disguise by plain ones (Unicode TR 39, and what such letters are read as).

    Folds what is foreign in a word that is otherwise Latin, and a word of nothing but twins where its script disguises
    other words of the text. A script that the text really writes stays, and accents go only in English text.
    Digits, marks and symbols stay; of full-width ASCII the letters and the punctuation are folded. `english` says
    whether the text is English; None lets its words say.

    >>> fold_lookalikes("w\u0456\u013c\u013c t\u012bm\u0113s, \u0435\u0430\u0441h of the w\u043erds")
    'will times, each of the words'
    >>> fold_lookalikes("Es war sch\u00f6n."), fold_lookalikes("\u0411\u044b\u043b\u043e x\u00b2 = \u00bd")
    ('Es war schön.', 'Было x² = ½')
    """
    while not text.isascii() and (folded_text := _Text(text, english).folded()) != text:
        text = folded_text  # plain letters found so far help to read the rest
    return text


class _Text:
    """A text with what it says about itself: which scripts it writes, which it hides Latin letters in."""

    def __init__(self, text: str, english: bool | None = None) -> None:
        self.text = text
        words = [match.group() for match in _WORD.finditer(text)]
        self.written = _written(words)
        """Scripts with a word that cannot be an English word in disguise. Text in them stays."""
        self.hiding: set[str] = set()
        """Scripts whose letters replace Latin ones, as a word of four letters and more shows."""
        mixed_words = [word for word in words if len(word) > 3 and not word.isascii() and self._is_mixed(word)]
        self.hiding = {script for word in mixed_words for script in _foreign(word)}
        own = (word for word in words if not self._stays(word))
        self.english = _is_english(own) if english is None else english

    def folded(self) -> str:
        folded_text = _WORD.sub(lambda match: self._folded(match.group()), self.text)
        if not self.written and any(character.isascii() and character.isalpha() for character in folded_text):
            folded_text = _WIDE_MARK.sub(lambda match: chr(ord(match.group()) - 0xFEE0), folded_text)
        return folded_text

    def _folded(self, word: str) -> str:
        if word.isascii():
            return word
        if not _foreign(word):
            return _plain(word) if self.english else word
        if self._stays(word):
            return word
        return _plain(word) if self.english else _keeping_accents(word)

    def _stays(self, word: str) -> bool:
        """Returns whether a word has foreign letters that are no disguise."""
        return bool(_foreign(word)) and not self._is_mixed(word) and not self._is_hidden(word)

    def _is_mixed(self, word: str) -> bool:
        """Returns whether a word is Latin except for letters that replace Latin ones."""
        foreign_scripts, latin_count = _foreign(word), sum(map(_is_latin, word))
        if (
            not foreign_scripts
            or foreign_scripts & self.written
            or is_ending_of_its_own(word)
            or not all(_is_latin(letter) or reading(letter) for letter in _letters(word))
        ):
            return False
        plain_word = _plain(word)
        if not latin_count:  # no language writes one word in two scripts such as these
            return len(foreign_scripts) > 1 and _is_known(plain_word)
        if not foreign_scripts & _NOTATION or foreign_scripts - _NOTATION:
            return True
        if len(plain_word) < 4:  # βy could be mathematics
            return _is_known(plain_word) and (latin_count > 1 or bool(self.hiding))
        # As "µTorrent" does, a word may begin with a sign of its own.
        return _is_known(plain_word) or (latin_count * 2 >= len(plain_word) and word[0] not in "\u00b5\u03bc")

    def _is_hidden(self, word: str) -> bool:
        """Returns whether a word of twins alone is Latin: in scripts that hide letters elsewhere, or in mathematical
        ones."""
        foreign_scripts = _foreign(word)
        if foreign_scripts & self.written or any(map(_is_latin, word)) or not all(map(twin, _letters(word))):
            return False
        plain_word = _plain(word)
        if len(plain_word) == 1 and plain_word not in "aIA":
            return False
        return foreign_scripts <= self.hiding or (foreign_scripts == {"STYLE"} and len(plain_word) > 2)


def _written(words: Iterable[str]) -> set[str]:
    """Finds the scripts that a text really writes: those of words in one script that can be read as no English word."""
    written_scripts = set()
    for word in words:
        scripts, letters = {script(char) for char in _letters(word)}, _letters(word)
        if len(scripts) > 1 or scripts & {"LATIN", "STYLE"} or all(map(twin, letters)):
            continue
        if not all(map(reading, letters)) or not _is_known(_plain(word)):
            written_scripts |= scripts
    return written_scripts


def _foreign(word: str) -> set[str]:
    """Returns the scripts of a word's letters other than Latin."""
    return {script(character) for character in _letters(word) if not _is_latin(character)}


def is_ending_of_its_own(word: str) -> bool:
    """Returns whether another language's ending follows an abbreviation: "PDFка"."""
    abbreviation = "".join(takewhile(_is_latin, word))
    ending = word[len(abbreviation) :]
    return (
        len(abbreviation) > 1
        and abbreviation.isupper()
        and len(ending) > 1
        and ending.islower()
        and not any(map(_is_latin, ending))
    )


def _letters(word: str) -> list[str]:
    return [character for character in word if not unicodedata.combining(character)]


def _is_latin(char: str) -> bool:
    return char.isascii() or script(char) == "LATIN"


def _plain(word: str) -> str:
    """Writes a word in plain letters, without accents: as its letters are read, or by TR 39 alone where that is a
    word."""
    if word.isascii():
        return word
    plain_word = _with(word, reading)
    if not _is_known(plain_word) and _is_known(strict_reading := _with(word, lambda char: twin(char) or reading(char))):
        return strict_reading
    return plain_word


def _keeping_accents(word: str) -> str:
    """Writes a word's foreign letters as Latin ones and keeps all accents."""

    def latin(char: str) -> str:
        if _is_latin(char):
            return char
        latin_letters, marks = reading(char), unicodedata.normalize("NFD", char)[1:]
        return (
            latin_letters + marks if latin_letters and all(map(unicodedata.combining, marks)) else latin_letters or char
        )

    return unicodedata.normalize("NFC", _with(word, latin, marks=True))


def _with(word: str, read: Callable[[str], str], marks: bool = False) -> str:
    """Rewrites a word letter by letter; an I amid small letters becomes an l, any other capital there a small
    letter."""
    rewritten = ""
    for character in word:
        if unicodedata.combining(character):
            rewritten += character if marks else ""
            continue
        replacement = character if character.isascii() else read(character) or character
        if (
            not character.isascii()
            and len(replacement) == 1
            and replacement.isupper()
            and rewritten
            and rewritten[-1].islower()
        ):
            replacement = "l" if replacement == "I" else replacement.lower()
        rewritten += replacement
    return rewritten


def _is_known(word: str) -> bool:
    """Returns whether a word is English; the shorter, the more common it has to be."""
    if len(word) < 4:
        return len(word) > 1 and word.lower() in common_words(100_000_000 if len(word) == 2 else 5_000_000)
    return word.lower() in real_words()


def _is_english(words: Iterable[str]) -> bool:
    """Returns whether a text is English, judged by the letters that can be read: most of its words are, accents
    aside, and some of the smallest are among those that need no accent taken off ("för" alone could be Swedish)."""
    plain_words = [(word, _plain(word).lower()) for word in words if len(word) > 1]
    known_count = sum(plain_word in real_words() for _, plain_word in plain_words)
    small_count = sum(plain_word in _SMALL_WORDS and not _has_accents(word) for word, plain_word in plain_words)
    return bool(small_count) and known_count >= 0.6 * len(plain_words)


def _has_accents(word: str) -> bool:
    return any(
        not character.isascii() and (_is_latin(character) or unicodedata.combining(character)) for character in word
    )
