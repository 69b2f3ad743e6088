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


def fold_lookalikes(text: str) -> str:
    """The text with plain letters where others stand in for them (Unicode TR 39, and what such letters are read as).

    Folds what is foreign in a word that is otherwise Latin, and a word of nothing but twins where its script disguises
    other words of the text. A script that the text really writes stays, and accents go only in English text.
    Digits, marks and symbols stay; of full-width ASCII the letters and the punctuation are folded.

    >>> fold("w\u0456\u013c\u013c t\u012bm\u0113s, \u0435\u0430\u0441h of the w\u043erds")
    'will times, each of the words'
    >>> fold("Es war sch\u00f6n."), fold("\u0411\u044b\u043b\u043e x\u00b2 = \u00bd")
    ('Es war schön.', 'Было x² = ½')
    """
    while not text.isascii() and (folded := _Text(text).folded()) != text:
        text = folded  # what is plain now can tell what the rest is
    return text


class _Text:
    """A text with what it says about itself: which scripts it writes, which it hides Latin letters in."""

    def __init__(self, text: str) -> None:
        self.text = text
        words = [match.group() for match in _WORD.finditer(text)]
        self.written = _written(words)
        """Scripts that some word cannot be an English word in disguise in: what stands in them stays."""
        self.hiding: set[str] = set()
        """Scripts whose letters stand in for Latin ones, as a word of four letters and more shows."""
        mixed = [word for word in words if len(word) > 3 and not word.isascii() and self._is_mixed(word)]
        self.hiding = {script for word in mixed for script in _foreign(word)}
        self.english = _is_english(word for word in words if not self._stays(word))

    def folded(self) -> str:
        text = _WORD.sub(lambda match: self._folded(match.group()), self.text)
        if not self.written and any(c.isascii() and c.isalpha() for c in text):
            text = _WIDE_MARK.sub(lambda match: chr(ord(match.group()) - 0xFEE0), text)
        return text

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
        """Returns whether a word is Latin but for letters that stand in for Latin ones."""
        foreign, latin = _foreign(word), sum(map(_is_latin, word))
        if (
            not foreign
            or foreign & self.written
            or _is_ending_of_its_own(word)
            or not all(_is_latin(c) or reading(c) for c in _letters(word))
        ):
            return False
        plain = _plain(word)
        if not latin:  # no language writes one word in two scripts such as these
            return len(foreign) > 1 and _is_known(plain)
        if not foreign & _NOTATION or foreign - _NOTATION:
            return True
        if len(plain) < 4:  # βy could be mathematics
            return _is_known(plain) and (latin > 1 or bool(self.hiding))
        return _is_known(plain) or (latin * 2 >= len(plain) and word[0] not in "\u00b5\u03bc")  # µTorrent

    def _is_hidden(self, word: str) -> bool:
        """Returns whether a word of twins alone is Latin: in scripts that hide letters elsewhere, or in mathematical
        ones."""
        foreign = _foreign(word)
        if foreign & self.written or any(map(_is_latin, word)) or not all(map(twin, _letters(word))):
            return False
        plain = _plain(word)
        if len(plain) == 1 and plain not in "aIA":
            return False
        return foreign <= self.hiding or (foreign == {"STYLE"} and len(plain) > 2)


def _written(words: Iterable[str]) -> set[str]:
    """The scripts that a text really writes: those of words in one script that can be read as no English word."""
    written = set()
    for word in words:
        scripts, letters = {script(char) for char in _letters(word)}, _letters(word)
        if len(scripts) > 1 or scripts & {"LATIN", "STYLE"} or all(map(twin, letters)):
            continue
        if not all(map(reading, letters)) or not _is_known(_plain(word)):
            written |= scripts
    return written


def _foreign(word: str) -> set[str]:
    """The scripts of a word's letters other than Latin."""
    return {script(char) for char in _letters(word) if not _is_latin(char)}


def _is_ending_of_its_own(word: str) -> bool:
    """Returns whether another language's ending stands behind an abbreviation: "PDFка"."""
    head = "".join(takewhile(_is_latin, word))
    rest = word[len(head) :]
    return len(head) > 1 and head.isupper() and len(rest) > 1 and rest.islower() and not any(map(_is_latin, rest))


def _letters(word: str) -> list[str]:
    return [char for char in word if not unicodedata.combining(char)]


def _is_latin(char: str) -> bool:
    return char.isascii() or script(char) == "LATIN"


def _plain(word: str) -> str:
    """A word in plain letters, without accents: as its letters are read, or by TR 39 alone where that is a word."""
    if word.isascii():
        return word
    read = _with(word, reading)
    if not _is_known(read) and _is_known(strict := _with(word, lambda char: twin(char) or reading(char))):
        return strict
    return read


def _keeping_accents(word: str) -> str:
    """A word with foreign letters put in Latin ones, and its accents, theirs too, as they were."""

    def latin(char: str) -> str:
        if _is_latin(char):
            return char
        read, marks = reading(char), unicodedata.normalize("NFD", char)[1:]
        return read + marks if read and all(map(unicodedata.combining, marks)) else read or char

    return unicodedata.normalize("NFC", _with(word, latin, marks=True))


def _with(word: str, read: Callable[[str], str], marks: bool = False) -> str:
    """A word letter by letter; an I amid small letters is an l, any other capital there a small one."""
    out = ""
    for char in word:
        if unicodedata.combining(char):
            out += char if marks else ""
            continue
        new = char if char.isascii() else read(char) or char
        if not char.isascii() and len(new) == 1 and new.isupper() and out and out[-1].islower():
            new = "l" if new == "I" else new.lower()
        out += new
    return out


def _is_known(word: str) -> bool:
    """Returns whether a word is English; the shorter, the more common it has to be."""
    if len(word) < 4:
        return len(word) > 1 and word.lower() in common_words(100_000_000 if len(word) == 2 else 5_000_000)
    return word.lower() in real_words()


def _is_english(words: Iterable[str]) -> bool:
    """Returns whether a text is English, as far as its letters can be read: most of its words are, accents aside, and
    some of the smallest are among those that need no accent taken off ("för" alone could be Swedish)."""
    read = [(word, _plain(word).lower()) for word in words if len(word) > 1]
    known = sum(plain in real_words() for _, plain in read)
    small = sum(plain in _SMALL_WORDS and not _has_accents(word) for word, plain in read)
    return bool(small) and known >= 0.6 * len(read)


def _has_accents(word: str) -> bool:
    return any(not char.isascii() and (_is_latin(char) or unicodedata.combining(char)) for char in word)
