"""The base classes of operators: a name, a level, a default strength, and the changes to one text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from functools import cache, lru_cache
from random import Random
from typing import TYPE_CHECKING, ClassVar, Literal, Self, TypeVar

from llmkit.errors import UsageError
from llmkit.perturb.numerals import JOINTS, NUMBER_WORDS, is_number_word, is_numeral
from llmkit.perturb.protection import Span
from llmkit.perturb.text import PlainChange, Source
from llmkit.registry import Registry

if TYPE_CHECKING:
    from llmkit.perturb.languages import Language

Level = Literal["character", "word", "sentence", "model", "file"]
T = TypeVar("T")
OperatorClass = TypeVar("OperatorClass", bound="Operator")

MOST_DIGITS = 6  # of a number in a spec; Python refuses to read some thousands of them

ALPHABET = "abcdefghijklmnopqrstuvwxyz"

_OWN = (
    "chars", "keys", "lookalikes", "spacing", "words", "scripts", "chinese", "sentences", "pairs", "like", "recognised",
    "peers", "model_operators", "paper",
)  # fmt: skip

OPERATORS: Registry[type[Operator]] = Registry("operator", "llmkit.operators", [f"llmkit.perturb.{m}" for m in _OWN])
"""Every operator by name. A package adds its own through the entry-point group `llmkit.operators`."""


def operator(
    name: str, *, level: Level, default_rate: float = 0.1, paper_rate: float | None = None
) -> Callable[[type[OperatorClass]], type[OperatorClass]]:
    """Registers an operator class. `paper_rate` is the rate that reaches the strength of the RoP paper's own data (in a
    text of 30 words, where an imitation of those data makes it depend on the length).

    The first paragraph of its docstring says what it does and, in its last brackets, where that comes from.
    """

    def register(cls: type[OperatorClass]) -> type[OperatorClass]:
        cls.name, cls.level, cls.default_rate = name, level, default_rate
        cls.paper_rate = default_rate if paper_rate is None else paper_rate
        OPERATORS.add(name)(cls)
        return cls

    return register


class Operator:
    """Makes changes to one text. Seeds, protection, records, checks and retries are the engine's."""

    name: str
    level: Level
    default_rate: float
    paper_rate: ClassVar[float]
    argument: ClassVar[str | None] = None  # an example of the argument after the name in a spec
    imitation: ClassVar[type[Operator] | None] = None  # the operator used instead at `--rate paper`
    resource: ClassVar[str] = ""  # a published table that its edits come from; a repair may read the same
    adds_numbers: bool = False
    changes_numbers: bool = False
    english: bool = False  # whether it works from English words, and so must leave other languages alone
    adds_letters: ClassVar[bool] = False  # drawn from the alphabet of the language
    scripts: ClassVar[frozenset[str] | None] = None  # the scripts that it serves; None for all
    only: ClassVar[frozenset[str] | None] = None  # the languages that it serves; None for all
    language: Language | None = None  # that it is bound to; None for English
    fitted: ClassVar[bool] = False  # whether it has a rate of its own, which no other operator's default replaces
    most_calls: int = 0  # of a model, in one attempt
    protects: ClassVar[bool] = True  # False for what edits protected spans, too
    shows_example: ClassVar[bool] = True  # False for those that need a file or a model of the user's
    nothing: str = "no eligible word"  # why a text could not be changed

    def __init__(self, argument: str | None = None) -> None:
        if argument is not None and self.argument is None:
            raise UsageError(f"operator `{self.name}` takes no argument, but was given `{argument}`")
        if argument is None and self.argument is not None:
            raise UsageError(f"operator `{self.name}` needs an argument", f"write `{self.name}:{self.argument}`")

    def as_paper(self) -> Operator:
        """Returns the operator for `--rate paper`: the one that imitates the RoP authors' own data."""
        return self.imitation() if self.imitation else self

    def serves(self, language: Language) -> bool:
        """Returns whether it can work on text in this language, which is not English."""
        return (
            not self.english
            and (self.scripts is None or language.script in self.scripts)
            and (self.only is None or language.code in self.only)
            and (not self.adds_letters or len(language.alphabet) > 1)
        )

    def require(self, language: Language) -> None:
        """Raises UsageError, with the extra to install, where an optional package keeps it from a language that the
        user names."""

    @property
    def serves_english(self) -> bool:
        """Whether it can work on English text."""
        return (self.scripts is None or "LATIN" in self.scripts) and self.only is None

    def in_language(self, language: Language) -> Operator | None:
        """Returns the operator as it works in another language than English; None where it cannot serve it."""
        return self._bound(language) if self.serves(language) else None

    def _bound(self, language: Language) -> Self:
        bound = copy(self)
        bound.language = language
        return bound

    @classmethod
    def summary(cls) -> tuple[str, str]:
        """Returns its description and its source, from the first paragraph of its docstring."""
        first_paragraph = " ".join((cls.__doc__ or "").split("\n\n")[0].split())
        description, _, source = first_paragraph.rpartition(" (")
        return description, source.partition(")")[0]

    def wanted(self, source: Source, rate: float) -> int:
        """Returns the number of changes asked for: max(1, round(rate x words outside protected spans)) for a rate above
        0."""
        return max(1, round(rate * source.words))

    def wanted_as_paper(self, source: Source) -> int:
        """Returns the number of changes that reaches the strength of the RoP paper's own data."""
        return self.wanted(source, self.paper_rate)

    def wanted_as_fitted(self, source: Source, factor: float, rng: Random) -> int:
        """Draws the number of changes at `factor` times the rate of the people it imitates; else of its default."""
        return self.wanted(source, min(1.0, self.default_rate * factor))

    def changes(self, source: Source, wanted: int, rng: Random) -> Sequence[PlainChange]:
        """Returns at most `wanted` changes, sorted, not overlapping, none inside a protected span."""
        raise TypeError(f"{type(self).__name__} does not say what it changes")


class WordEdit(Operator):
    """Edits words one at a time. A word is handed over as its longest run of letters, without punctuation.

    Words with digits, underscores or combining marks, number words, addresses and protected spans are never offered.
    """

    min_letters: ClassVar[int] = 1

    @property
    def alphabet(self) -> str:
        """The letters that an edit may add."""
        return self.language.alphabet if self.language else ALPHABET

    def edit(self, word: str, rng: Random) -> str | None:
        """Returns the edited word, or None if this word cannot be edited."""
        raise TypeError(f"{type(self).__name__} does not say how it edits a word")

    def edit_in(self, word: str, rng: Random) -> str | None:
        """Edits a word of the language that it is bound to: what `edit` sees as letters are its grapheme clusters.

        Where a sign is a syllable or a word, edits may fall on the first and the last one, too: such words are short. A
        word with letters of another script is left alone.
        """
        language = self.language
        if language is None or not language.writes(word) or len(word) > _LONGEST:
            return None
        letters = Letters(language.letters(word), padded=not language.alphabetic and self.min_letters > 1)
        if len(letters.coded) < self.min_letters:
            return None
        edited = self.edit(letters.coded, rng)
        return None if edited is None else letters.decoded(edited) or None

    def edit_any(self, word: str, rng: Random) -> str | None:
        """Edits a word in English or in the language that it is bound to."""
        return self.edit(word, rng) if self.language is None else self.edit_in(word, rng)

    def changes(self, source: Source, wanted: int, rng: Random) -> Sequence[PlainChange]:
        tokens, protected_spans, letters_of_token = source.tokens, source.spans, letters_in(source)
        edit_word = self.edit if source.language is None else self.edit_in
        min_letters = self.min_letters if source.language is None else 1  # `edit_in` counts clusters
        next_random = rng.random
        offsets, gap_per_word = source.offsets, source.gap
        number_words = source.numbers and source.number_words
        order = list(range(len(tokens)))
        changes: list[PlainChange] = []
        for last_index in range(len(tokens) - 1, -1, -1):
            drawn = int(next_random() * (last_index + 1))  # a shuffle that stops as soon as enough words were found
            token_index = order[drawn]
            order[drawn] = order[last_index]
            word, offset_in_token = letters_of_token(tokens[token_index])
            word_length = len(word)
            if word_length < min_letters:
                continue
            word_start = offsets[token_index] + token_index * gap_per_word + offset_in_token
            word_end = word_start + word_length
            if (protected_spans or word in JOINTS) and not source.free_letters(word, word_start, word_end):
                continue
            new_word = edit_word(word, rng)
            if number_words and new_word and new_word.lower() in NUMBER_WORDS:  # "to" must not become "two"
                new_word = self._again(word, rng)
            if new_word is None or new_word == word:
                continue
            changes.append((word_start, word_end, new_word))
            if len(changes) >= wanted:
                break
        changes.sort()
        return changes

    def _again(self, word: str, rng: Random) -> str | None:
        """Edits again a word whose first edit made a number word. None if several more attempts do so too."""
        candidates = (self.edit_any(word, rng) for _ in range(8))
        return next((candidate for candidate in candidates if candidate and not is_number_word(candidate)), None)


_PAD_START, _PAD_END = "\ue000", "\ue001"
_FIRST_CODE = 0xF0000  # of the private use planes
_LONGEST = 100_000  # characters of a word, for each of which these planes have a code


class Letters:
    """The grapheme clusters of a word as a string of as many characters: a cluster of several is coded as one.

    >>> letters = Letters(["n", "e\u0301", "e"])
    >>> len(letters.coded), letters.decoded(letters.coded[::-1]) == "ee\u0301n"
    (3, True)
    """

    def __init__(self, clusters: Sequence[str], padded: bool = False) -> None:
        self._cluster_of: dict[str, str] = {}
        coded = "".join(cluster if len(cluster) == 1 else self._code(cluster) for cluster in clusters)
        self.coded = f"{_PAD_START}{coded}{_PAD_END}" if padded else coded

    def _code(self, cluster: str) -> str:
        code = chr(_FIRST_CODE + len(self._cluster_of))
        self._cluster_of[code] = cluster
        return code

    def decoded(self, coded: str) -> str:
        """Returns the word that a string of coded letters means."""
        cluster_of = {**self._cluster_of, _PAD_START: "", _PAD_END: ""}
        return "".join(cluster_of.get(character, character) for character in coded)


class TextEdit(Operator):
    """Changes a text as a whole: adds sentences, moves words, alters spaces. Sees the protected spans."""


_RUN = re.compile(r"[^\W\d_]+")
_RUN_WITH_DIGITS = re.compile(r"[^\W_]+")
_ADDRESS = re.compile(r"[_@/\\]")
_DIGIT = re.compile(r"\d")
Run = tuple[str, int]


@lru_cache(maxsize=1 << 16)
def _letters(token: str) -> Run:
    """Returns the longest run of letters in a token that is no number, and its offset; an empty one where noise should
    leave the token alone.

    >>> _letters('"twenty-one-year."'), _letters("7.5"), _letters("it's"), _letters("三个苹果")
    (('year', 12), ('', 0), ('it', 0), ('个苹果', 1))
    """
    return ("", 0) if _DIGIT.search(token) else _longest(_without_numerals(token), token, is_number_word)


@lru_cache(maxsize=1 << 16)
def _letters_and_number_words(token: str) -> Run:
    """Does what `_letters` does where number words are words like others."""
    return ("", 0) if _DIGIT.search(token) else _longest(_without_numerals(token), token)


@lru_cache(maxsize=1 << 16)
def _letters_with_digits(token: str) -> Run:
    """Does what `_letters` does where digits count as letters because numbers are not protected."""
    return _longest([(match.group(), match.start()) for match in _RUN_WITH_DIGITS.finditer(token)], token)


@lru_cache(maxsize=1 << 16)
def _letters_with_marks(token: str) -> Run:
    """Does what `_letters` does in another language: marks belong to the letters before them.

    >>> _letters_with_marks("सेब,"), _letters_with_marks("5000")
    (('सेब', 0), ('', 0))
    """
    if _DIGIT.search(token) or _ADDRESS.search(token):
        return "", 0
    without_numerals = "".join(" " if is_numeral(character) else character for character in token)
    runs = [(match.group(), match.start()) for match in _marked_run().finditer(without_numerals)]
    return max((run for run in runs if not is_number_word(run[0])), key=lambda run: len(run[0]), default=("", 0))


@cache
def _marked_run() -> re.Pattern[str]:
    from llmkit.perturb.graphemes import marks

    return re.compile(rf"[^\W\d_](?:[^\W\d_]|[{marks()}])*")


def letters_in(source: Source) -> Callable[[str], Run]:
    """Returns the function that finds the editable letters of a token under the protection of this text."""
    if not source.numbers:
        return _letters_with_digits
    if source.language is not None:
        return _letters_with_marks
    return _letters if source.number_words else _letters_and_number_words


def _without_numerals(token: str) -> list[Run]:
    """Returns the runs of letters, parted where a numeral stands among them, as Chinese ones do."""
    if token.isascii():
        return [(match.group(), match.start()) for match in _RUN.finditer(token)]
    without_numerals = "".join(" " if is_numeral(character) else character for character in token)
    return [(match.group(), match.start()) for match in _RUN.finditer(without_numerals)]


def _longest(letter_runs: Sequence[Run], token: str, left_out: Callable[[str], bool] | None = None) -> Run:
    if _ADDRESS.search(token):
        return "", 0
    if not token.isascii() and any(unicodedata.category(character)[0] == "M" for character in token):
        return "", 0
    return max(
        (run for run in letter_runs if not (left_out and left_out(run[0]))), key=lambda r: len(r[0]), default=("", 0)
    )


def word_test(source: Source) -> Callable[[str], bool]:
    """Returns the function that says whether a token is a word of letters, with their marks, and nothing else."""
    return str.isalpha if source.language is None else _is_marked_word


def _is_marked_word(token: str) -> bool:
    return _marked_run().fullmatch(token) is not None and not any(map(is_numeral, token))


def letters_of(source: Source) -> list[Span]:
    """Finds the words that letter edits may touch: the longest run of letters of each unprotected word."""
    word_spans, letters_of_token = [], letters_in(source)
    for token_index, token in enumerate(source.tokens):
        word, offset = letters_of_token(token)
        word_start = source.start(token_index) + offset
        if word and source.free_letters(word, word_start, word_start + len(word)):
            word_spans.append((word_start, word_start + len(word)))
    return word_spans


def sample(items: Sequence[T], count: int, rng: Random) -> list[T]:
    """Draws at most `count` of `items`, each at most once, in random order."""
    remaining = list(items)
    drawn_items: list[T] = []
    while remaining and len(drawn_items) < count:
        drawn_items.append(remaining.pop(int(rng.random() * len(remaining))))
    return drawn_items


def weighted(weights: Mapping[T, float], rng: Random) -> T:
    """Draws a key by its weight."""
    remaining_weight, keys = rng.random() * sum(weights.values()), list(weights)
    for key in keys:
        remaining_weight -= weights[key]
        if remaining_weight < 0:
            return key
    return keys[-1]


def pick(items: Sequence[T], rng: Random) -> T:
    """Draws one of `items`: `Random.choice`, three times as fast, and the same in every Python."""
    return items[int(rng.random() * len(items))]


def like(new_word: str, old_word: str) -> str:
    """Returns `new_word` in the case of `old_word`.

    >>> like("bee", "Be"), like("bee", "BE"), like("bee", "be"), like("eye", "I")
    ('Bee', 'BEE', 'bee', 'Eye')
    """
    if old_word.islower():
        return new_word
    if len(old_word) > 1 and old_word.isupper():
        return new_word.upper()
    return new_word[:1].upper() + new_word[1:] if old_word[:1].isupper() else new_word
