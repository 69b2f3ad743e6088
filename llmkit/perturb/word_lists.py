"""Word lists of other languages than English, from the data of the package `wordfreq` (extra `lang`)."""

from __future__ import annotations

import gzip
import itertools
import math
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache, cached_property, lru_cache

from llmkit.extras import installed, need
from llmkit.perturb.graphemes import is_mark
from llmkit.perturb.languages import Language
from llmkit.perturb.wordbook import package_file

# The lists by language: large ones have what comes once in 1e8 words of text, small ones once in 1e6. Languages without
# spaces have none that texts could be compared with, and neither have Korean (morphemes) and Vietnamese (syllables).
_LARGES = "ar bn ca cs de es fi fr he it mk nl no pl pt ru sv uk"
_SMALLS = "bg bs da el fa hi hr hu id is lt lv ms ro sk sl sr ta tl tr ur"
_LARGE, _SMALL = frozenset(_LARGES.split()), frozenset(_SMALLS.split())
_FILES = {"no": "nb", "bs": "sh", "hr": "sh", "sr": "sh", "tl": "fil"}  # the names of lists other than their language's
_LATIN_ONLY = frozenset({"sr"})  # written in two scripts, with a list in one

_PACKAGES = ("wordfreq", "msgpack")
_FORMAT = {"format": "cB", "version": 1}
_PER_STEP = math.log(10) / 100  # nats: place i of a file holds the words of a frequency of 10^(-i/100)
WITHOUT_VOWELS = frozenset({"ARABIC", "HEBREW"})  # scripts whose vowel marks are hardly ever written, and in no list
_CEDILLAS = str.maketrans("şţ", "șț")  # Romanian letters as older keyboards write them
_TATWEEL = "\u0640"
_KEPT = 8  # lists in memory, of some 20 to 100 MB each
_COMMON = 20_000  # words that letters and their pairs are counted in
_RARE_PAIR = 3  # words below which a pair of letters is a mistake, or foreign
_RARE_LETTER = 0.0005  # the share of all letters below which one belongs to words of other languages


class WordList:
    """The words of one language in lower case, with the logarithm of their frequency, the most frequent first."""

    def __init__(self, language: Language, frequencies: Mapping[str, float], lacking: float) -> None:
        self.language = language
        self.frequencies = frequencies
        self.lacking = lacking
        """The share of the words of texts that the list lacks."""

    def knows(self, word: str) -> bool:
        """Returns whether the list has a word, in whatever case."""
        return self.plain(word) in self.frequencies

    def plain(self, word: str) -> str:
        """Returns a word as the list has it: in small letters and composed, ss for ß, one sigma for both, Romanian
        letters with a comma, Arabic and Hebrew ones without vowel marks."""
        plain = unicodedata.normalize("NFC", self.language.lower(word).casefold()).replace("\u2019", "'")
        if self.language.code == "ro":
            plain = plain.translate(_CEDILLAS)
        if self.language.script in WITHOUT_VOWELS:
            plain = "".join(letter for letter in plain if letter != _TATWEEL and not is_mark(letter))
        return plain

    def written(self, plain: str, example: str) -> str | None:
        """Returns a word of the list as the language writes it, in the case of `example`, the word in whose place it is
        written. None for other capitals than those of a name or a whole word, and for an ss in German that may be a ß:
        only an example with either tells."""
        language, small = self.language, self.language.lower(example)
        if language.code == "el" and plain.endswith("σ"):
            plain = plain[:-1] + "ς"
        if language.code == "de" and "ss" in plain and "ss" not in small:
            if "ß" not in small or plain.count("ss") > 1:
                return None
            plain = plain.replace("ss", "ß")
        if example == small:
            return plain
        capital = language.upper(plain[:1]) + plain[1:]
        if example[1:] == language.lower(example[1:]):
            return capital
        return language.upper(plain) if example == language.upper(example) else None

    def above(self, least: float) -> Iterator[str]:
        """Yields the words of at least this frequency, given as its logarithm."""
        return itertools.takewhile(lambda word: self.frequencies[word] >= least, self.frequencies)

    @property
    def common(self) -> Iterator[str]:
        """The most frequent words."""
        return itertools.islice(self.frequencies, _COMMON)

    @cached_property
    def letters(self) -> str:
        """The letters and signs that words of the language are written with, the most frequent first."""
        counts = Counter(letter for word in self.common for letter in word if letter != "'")
        least = _RARE_LETTER * sum(counts.values())
        return "".join(letter for letter, count in counts.most_common() if count >= least)

    @cached_property
    def pairs(self) -> frozenset[str]:
        """The pairs of neighbouring letters that words have, "^" and "$" being their ends."""
        counts = Counter(first + second for word in self.common for first, second in itertools.pairwise(f"^{word}$"))
        return frozenset(pair for pair, count in counts.items() if count >= _RARE_PAIR)


def has_word_list(language: Language) -> bool:
    """Returns whether there is a word list of a language, installed or not."""
    return language.code in _LARGE | _SMALL and not (language.code in _LATIN_ONLY and language.script != "LATIN")


def lists_installed() -> bool:
    """Returns whether the packages that bring the lists are installed."""
    return all(map(installed, _PACKAGES))


def need_lists(what: str) -> None:
    """Raises UsageError, with the extra that brings them, unless the lists are installed. `what` asks for them."""
    need(*_PACKAGES, extra="lang", what=what)


@lru_cache(maxsize=_KEPT)
def word_list(language: Language) -> WordList:
    """Reads the word list of a language that has one."""
    code = language.code
    frequencies: dict[str, float] = {}
    steps = _steps(f"{'large' if code in _LARGE else 'small'}_{_FILES.get(code, code)}.msgpack.gz")
    written = set("".join(itertools.chain.from_iterable(steps)))
    letters = {"'", *(letter for letter in written if _is_of(letter, language))}
    for place, words in enumerate(steps):
        frequencies.update(dict.fromkeys(filter(letters.issuperset, words), -place * _PER_STEP))
    listed = sum(len(words) * math.exp(-place * _PER_STEP) for place, words in enumerate(steps))
    return WordList(language, frequencies, 1 - listed)


@cache
def small_list(code: str) -> Mapping[str, float]:
    """Reads the small list of a language, or of English, to tell languages apart."""
    steps = _steps(f"small_{_FILES.get(code, code)}.msgpack.gz")
    return {word: -place * _PER_STEP for place, words in enumerate(steps) for word in words}


def _is_of(letter: str, language: Language) -> bool:
    return is_mark(letter) or (letter.isalpha() and language.writes(letter))


def _steps(name: str) -> list[list[str]]:
    """Reads a file of wordfreq: lists of words, each a hundredth of a power of ten rarer than the one before."""
    import msgpack

    header, *steps = msgpack.unpackb(gzip.decompress(package_file("wordfreq", "data", name).read_bytes()))
    if header != _FORMAT:
        raise ValueError(f"{name}: of the form {header}, not {_FORMAT}")
    return list(steps)
