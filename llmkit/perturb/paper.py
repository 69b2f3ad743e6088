"""Noise made as the RoP authors' own data are (`--rate paper`): how much of a text, and which edits.

Every figure is measured on the authors' pairs for CSQA, MultiArith and SVAMP (arXiv 2506.03627, CAST/data); none of
their words is here. docs/perturb.md shows how far each kind still is from theirs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from random import Random
from typing import ClassVar, TypeVar

from llmkit.perturb.base import OPERATORS, Operator, WordEdit, letters_of, like, pick, sample, weighted
from llmkit.perturb.chars import Ec, inside, other_letter
from llmkit.perturb.languages import Language
from llmkit.perturb.lookalikes import Sc, disguised
from llmkit.perturb.numerals import NUMBER_WORDS
from llmkit.perturb.sentences import Uic, asides, distractors, interference, question_start, sentence_starts
from llmkit.perturb.soundalikes import neighbours, same_sound, taken_apart
from llmkit.perturb.text import Change, PlainChange, Source
from llmkit.perturb.wordbook import spelt_by_sound
from llmkit.perturb.words import Hw, Woo

T = TypeVar("T", bound=Operator)


def imitates(name: str) -> Callable[[type[T]], type[T]]:
    """Makes a subclass of an operator the one that is used for it at `--rate paper`."""

    def register(cls: type[T]) -> type[T]:
        OPERATORS[name].imitation = cls
        if issubclass(cls, ByWord):
            cls.imitated = OPERATORS[name]
        return cls

    return register


class AsMuch(Operator):
    """Changes as large a share of a text's words as the authors' data do: `law` is (a, b) in a x words ** -b.

    Short questions take the larger share of noise in all their sets; fitted by least squares, the sets weighing alike.
    """

    law: ClassVar[tuple[float, float]]

    def wanted_as_paper(self, source: Source) -> int:
        free_words = sum(
            bool(token) and source.free_word(source.start(i), source.end(i)) for i, token in enumerate(source.tokens)
        )
        factor, exponent = self.law
        return max(1, round(min(1.0, factor * math.pow(max(1, free_words), -exponent)) * free_words))


class ByWord(AsMuch, WordEdit):
    """Edits a word that comes again as before. `lengths` says how readily a word of so many letters is edited."""

    lengths: ClassVar[Mapping[int, float]]
    imitated: ClassVar[type[Operator]]
    again: ClassVar[float] = 0.9  # of words that come again: edited the same way

    def changes(self, source: Source, wanted: int, rng: Random) -> Sequence[Change]:
        places: dict[str, list[tuple[int, int]]] = {}
        lower = self.language.lower if self.language else str.lower
        for start, end in letters_of(source):
            places.setdefault(lower(source.text[start:end]), []).append((start, end))
        longest = max(self.lengths)
        readiness = {word: self.lengths.get(min(len(word), longest), 0.0) for word in places}
        readiness = {word: weight for word, weight in readiness.items() if weight}
        changes: list[Change] = []
        while readiness and len(changes) < wanted:
            word, new_word = self.next_edit(readiness, rng)
            del readiness[word]
            changes += self._edited(word, new_word, places[word], source.text, rng)
        return sorted(changes[:wanted])

    def in_language(self, language: Language) -> Operator | None:
        """Returns the imitation where words are spelt letter by letter, and what it imitates elsewhere: how readily a
        word of so many letters is edited says nothing of words of two characters."""
        return super().in_language(language) if language.alphabetic else self.imitated().in_language(language)

    def next_edit(self, ready: Mapping[str, float], rng: Random) -> tuple[str, str | None]:
        """Draws the word to edit next by its readiness. Returns it with its edited form."""
        word = weighted(ready, rng)
        return word, self.edit_any(word, rng)

    def _edited(
        self, word: str, new_word: str | None, places: Sequence[tuple[int, int]], text: str, rng: Random
    ) -> list[Change]:
        changes: list[Change] = []
        for start, end in places:
            if changes and rng.random() > self.again:
                new_word = self.edit_any(word, rng)
            if new_word is not None and new_word != word:
                changes.append(Change(start, end, like(new_word, text[start:end])))
        return changes


@imitates("woo")
class PaperWoo(AsMuch, Woo):
    """Words out of order, as many as in the authors' data."""

    law = (0.361, 0.146)


@imitates("sc")
class PaperSc(AsMuch, Sc):
    """Look-alikes as in the authors' data: within one text a letter mostly becomes the same other letter."""

    law = (1.234, 0.233)
    again: ClassVar[float] = 0.93

    def changes(self, source: Source, wanted: int, rng: Random) -> Sequence[PlainChange]:
        self.forms: dict[str, str] = {}
        return super().changes(source, wanted, rng)

    def edit(self, word: str, rng: Random) -> str | None:
        return disguised(word, self.forms if rng.random() < self.again else {}, rng)


# How a word is garbled, by its length: the kind of edit with its share. The last and the first letter move, too.
_GARBLED = {
    3: {"swap_last": 0.72, "insert": 0.1, "delete": 0.1, "shuffle_last": 0.08},
    4: {"swap": 0.73, "swap_last": 0.08, "shuffle_last": 0.08, "insert": 0.05, "add": 0.03, "replace": 0.02},
    5: {"swap": 0.42, "shuffle": 0.25, "shuffle_last": 0.13, "swap_last": 0.06, "insert": 0.06, "delete": 0.03,
        "replace": 0.02, "confuse": 0.03},
    6: {"swap": 0.34, "shuffle": 0.37, "shuffle_last": 0.11, "swap_last": 0.03, "confuse": 0.09, "insert": 0.04,
        "delete": 0.02},
    7: {"swap": 0.26, "shuffle": 0.46, "shuffle_last": 0.1, "swap_last": 0.02, "confuse": 0.1, "insert": 0.04,
        "delete": 0.02},
    8: {"swap": 0.18, "shuffle": 0.44, "shuffle_last": 0.09, "swap_last": 0.02, "confuse": 0.2, "insert": 0.04,
        "delete": 0.03},
}  # fmt: skip
_WINDOW = {3: 0.4, 4: 0.27, 5: 0.17, 9: 0.16}  # letters among which a shuffle stays


@imitates("ec")
class PaperEc(ByWord, Ec):
    """Garbled words as in the authors' data: long words first, by neighbouring letters or within a short stretch."""

    law = (0.869, 0.308)
    lengths: ClassVar[Mapping[int, float]] = {3: 0.015, 4: 0.37, 5: 0.62, 6: 0.77, 7: 0.85}

    def edit_in(self, word: str, rng: Random) -> str | None:
        return super().edit_in(word, rng) if len(word) > 2 else None

    def edit(self, word: str, rng: Random) -> str | None:
        edit_kinds = _GARBLED[min(max(len(word), 3), 8)]
        for _ in range(8):
            garbled_word = _garbled(word, weighted(edit_kinds, rng), rng, self.alphabet)
            if garbled_word != word and (not _doubles(garbled_word) - _doubles(word) or rng.random() < 0.3):
                return garbled_word
        return None


def _doubles(word: str) -> set[str]:
    return {letter for letter, next_letter in pairwise(word) if letter == next_letter}


def _garbled(word: str, edit_kind: str, rng: Random, alphabet: str) -> str:
    last_index = len(word) - 1
    if edit_kind in ("swap", "swap_last"):
        place = last_index - 1 if edit_kind == "swap_last" else _early(last_index - 2, rng)
        return word[:place] + word[place + 1] + word[place] + word[place + 2 :]
    if edit_kind.startswith("shuffle"):
        last_place = last_index if edit_kind == "shuffle_last" else last_index - 1
        window_size = min(weighted(_WINDOW, rng), last_place)
        window_start = (
            last_place - window_size + 1 if edit_kind == "shuffle_last" else _early(last_place - window_size + 1, rng)
        )
        return (
            word[:window_start]
            + _stirred(word[window_start : window_start + window_size], rng)
            + word[window_start + window_size :]
        )
    if edit_kind == "confuse":  # letters stirred, of which one is lost and another said twice
        letters = list(_stirred(word[1:-1], rng))
        letters[int(rng.random() * len(letters))] = pick(word[1:-1], rng)
        return word[0] + "".join(letters) + word[-1]
    place = inside(word, rng)
    if edit_kind == "replace":
        return word[:place] + other_letter(word[place], rng, alphabet) + word[place + 1 :]
    if edit_kind == "delete":
        return word[:place] + word[place + 1 :]
    extra_letter = word[place] if rng.random() < 0.35 else pick(word, rng)
    return word + extra_letter if edit_kind == "add" else word[:place] + extra_letter + word[place:]


def _early(last_place: int, rng: Random) -> int:
    """Draws a place from 1 to `last_place`, the first ones more often."""
    return 1 + int(min(rng.random(), rng.random() ** 0.7) * last_place) if last_place > 0 else 1


def _stirred(letters: str, rng: Random) -> str:
    """Draws another order of the letters, in which the first and the last one move if they can."""
    for _ in range(12):
        letters_left = list(letters)
        stirred_letters = "".join(letters_left.pop(int(rng.random() * len(letters_left))) for _ in letters)
        if stirred_letters[:1] != letters[:1] and stirred_letters[-1:] != letters[-1:]:
            return stirred_letters
    return letters[::-1]


@imitates("hw")
class PaperHw(ByWord, Hw):
    """Words written by ear as in the authors' data: homophones, misspellings by sound, other real words that sound
    alike, words taken apart. Numerals, which theirs write as words in one change of twenty, stay."""

    law = (0.926, 0.384)
    lengths: ClassVar[Mapping[int, float]] = {2: 0.12, 3: 0.14, 4: 0.27, 5: 0.42, 6: 0.41}
    again = 0.97
    nothing = "no word to write by ear"
    kinds: ClassVar[Mapping[str, float]] = {"homophone": 0.41, "misspelling": 0.27, "real word": 0.26, "apart": 0.06}

    def next_edit(self, ready: Mapping[str, float], rng: Random) -> tuple[str, str | None]:
        """Draws the kind first, because few words have homophones, and in the authors' data those are what changes."""
        kind = weighted(self.kinds, rng)
        able_words = {word: weight for word, weight in ready.items() if word != "the" and _by_ear(word, kind)}
        word = weighted(able_words or ready, rng)
        return word, pick(_by_ear(word, kind), rng) if able_words else self.edit(word, rng)

    def edit(self, word: str, rng: Random) -> str | None:
        kinds_left = dict(self.kinds)
        while kinds_left:
            kind = weighted(kinds_left, rng)
            del kinds_left[kind]
            if forms := _by_ear(word, kind):
                return pick(forms, rng)
        return None


@lru_cache(maxsize=1 << 16)
def _by_ear(word: str, kind: str) -> tuple[str, ...]:
    if kind == "homophone":
        return tuple(same_sound(word))
    if len(word) < 4 or word in NUMBER_WORDS:
        return ()
    if kind == "misspelling":
        return tuple(form for form in spelt_by_sound(word) if form.isalpha())
    return tuple(neighbours(word) if kind == "real word" else taken_apart(word))


@imitates("uic")
class PaperUic(Uic):
    """Interference as in the authors' data: one clause or sentence or two, anywhere up to the question's end."""

    sentences: ClassVar[float] = 0.45  # of what is added: sentences of their own, in a text that has several

    def wanted_as_paper(self, source: Source) -> int:
        return 2 if source.words > 24 else 1

    def changes(self, source: Source, wanted: int, rng: Random) -> list[Change]:
        text, sentence_places = source.text, sentence_starts(source)
        inner_starts = [start for start in sentence_places if 0 < start <= question_start(source)]
        if inner_starts and rng.random() < self.sentences:
            offset, (sentence, *_) = pick(inner_starts, rng), interference(text, distractors(), 1, rng)
            return [Change(offset, offset, f"{sentence} ")]
        asking_start = question_start(source)
        clause_places = [
            match.start()
            for match in re.finditer(r"[.?!](?=\s|$)", text)
            if source.free(match.start(), match.start() + 1)
        ]
        # A clause in the question itself could change what it asks
        clause_places = [offset for offset in clause_places if offset < asking_start] or clause_places
        places = sorted(sample(clause_places or [len(text)], wanted, rng))
        clauses = interference(text, asides(), len(places), rng)
        return [Change(offset, offset, f", {clause}") for offset, clause in zip(places, clauses, strict=False)]
