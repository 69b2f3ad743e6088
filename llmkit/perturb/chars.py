"""Operators that change the letters of a word."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from llmkit.errors import UsageError
from llmkit.perturb.base import ALPHABET, MOST_DIGITS, WordEdit, letters_of, operator, pick, sample
from llmkit.perturb.languages import LATIN, Language
from llmkit.perturb.text import Change, Source


@operator("ec", level="character", paper_rate=0.3)
class Ec(WordEdit):
    """Error characters: shuffles the inside of a word, or in one of five changes one inner letter (RoP,
    arXiv 2506.03627).

    >>> Ec().edit("times", Random(0))
    'tmies'
    """

    adds_letters = True
    min_letters = 4

    def edit(self, word: str, rng: Random) -> str | None:
        inner_letters = word[1:-1]
        if rng.random() < 0.2 or inner_letters == inner_letters[0] * len(inner_letters):
            place = inside(word, rng)
            return word[:place] + other_letter(word[place], rng, self.alphabet) + word[place + 1 :]
        return word[0] + shuffled(inner_letters, rng) + word[-1]


@operator("swap", level="character")
class Swap(WordEdit):
    """Swaps two neighbouring, different inner letters of a word (Pruthi et al. 2019, arXiv 1905.11268).

    >>> Swap().edit("times", Random(1))
    'tmies'
    """

    min_letters = 4

    def edit(self, word: str, rng: Random) -> str | None:
        """Returns the edited word, or None if the word has no such pair ("noon" has none)."""
        place = 1 + int(rng.random() * (len(word) - 3))
        if word[place] == word[place + 1]:
            unequal_pairs = [place for place in range(1, len(word) - 2) if word[place] != word[place + 1]]
            if not unequal_pairs:
                return None
            place = pick(unequal_pairs, rng)
        return word[:place] + word[place + 1] + word[place] + word[place + 2 :]


@operator("delete", level="character")
class Delete(WordEdit):
    """Drops an inner letter of a word (DeepWordBug, Gao et al. 2018, arXiv 1801.04354).

    >>> Delete().edit("times", Random(1))
    'tmes'
    """

    min_letters = 3

    def edit(self, word: str, rng: Random) -> str | None:
        place = 1 + int(rng.random() * (len(word) - 2))
        return word[:place] + word[place + 1 :]


@operator("insert", level="character")
class Insert(WordEdit):
    """Puts a random letter inside a word (DeepWordBug, Gao et al. 2018, arXiv 1801.04354).

    >>> Insert().edit("times", Random(1))
    'twimes'
    """

    adds_letters = True
    min_letters = 2

    def edit(self, word: str, rng: Random) -> str | None:
        place = 1 + int(rng.random() * (len(word) - 1))
        new_letter = pick(self.alphabet, rng)
        return word[:place] + (new_letter.upper() if word.isupper() else new_letter) + word[place:]


@operator("substitute", level="character")
class Substitute(WordEdit):
    """Changes an inner letter of a word to a random other one (DeepWordBug, Gao et al. 2018, arXiv 1801.04354).

    >>> Substitute().edit("times", Random(1))
    'twmes'
    """

    adds_letters = True
    min_letters = 3

    def edit(self, word: str, rng: Random) -> str | None:
        place = inside(word, rng)
        return word[:place] + other_letter(word[place], rng, self.alphabet) + word[place + 1 :]


_LEET = dict(zip("aeiostbAEIOSTB", "43105784310578", strict=True))


@operator("leet", level="character")
class Leet(WordEdit):
    """Writes letters as the digits that look like them, up to two in a word (leetspeak, as in RUPBench, Wang and Zhao
    2024). Digits inside words are no numbers: those of the question stay.

    >>> Leet().edit("times", Random(0))
    'tim35'
    """

    adds_numbers = True
    scripts = LATIN
    min_letters = 3

    def edit(self, word: str, rng: Random) -> str | None:
        places = [place for place, letter in enumerate(word) if letter in _LEET]
        if not places:
            return None
        letters = list(word)
        for _ in range(min(2, len(places))):
            place = places.pop(int(rng.random() * len(places)))
            letters[place] = _LEET[letters[place]]
        return "".join(letters)


@operator("case", level="character")
class Case(WordEdit):
    """Writes a word in another case: all capitals, a stray capital or none at its head (HELM, arXiv 2211.09110, and
    what phones do).

    >>> Case().edit("times", Random(4))
    'TIMES'
    """

    def edit(self, word: str, rng: Random) -> str | None:
        place = int(rng.random() * len(word))
        written_cases = (
            word.upper(),
            word[:1].swapcase() + word[1:],
            word[:place] + word[place].swapcase() + word[place + 1 :],
        )
        forms = [form for form in written_cases if form != word]
        return pick(forms, rng) if forms else None

    def serves(self, language: Language) -> bool:
        return language.cased

    def edit_in(self, word: str, rng: Random) -> str | None:
        language = self.language
        if language is None or not language.writes(word):
            return None
        place = int(rng.random() * len(word))
        forms = [language.upper(word), language.swapped(word[0]) + word[1:]]
        forms.append(word[:place] + language.swapped(word[place]) + word[place + 1 :])
        forms = [form for form in forms if form != word]
        return pick(forms, rng) if forms else None


@operator("chars", level="character")
class Chars(WordEdit):
    """Exactly k letters of the question change to other letters, whatever the rate: the 1, 4 and 7 of the paper's
    figures (RoP, arXiv 2506.03627, 4.1.5). `chars(4)`.

    >>> Chars("1").edit("times", Random(1))
    'twmes'
    """

    adds_letters = True
    argument = "4"
    nothing = "no eligible letter"

    def __init__(self, argument: str | None = None) -> None:
        super().__init__(argument)
        if not str(argument).isdecimal() or len(str(argument)) > MOST_DIGITS or int(str(argument)) < 1:
            raise UsageError(f"`chars({argument})` does not say how many letters", "write e.g. `chars(4)`")
        self.k = int(str(argument))

    def wanted(self, source: Source, rate: float) -> int:
        return self.k

    def edit(self, word: str, rng: Random) -> str | None:
        place = inside(word, rng)
        return word[:place] + other_letter(word[place], rng, self.alphabet) + word[place + 1 :]

    def changes(self, source: Source, wanted: int, rng: Random) -> Sequence[Change]:
        words = [(start, end) for start, end in letters_of(source) if end - start >= 3 or source.language]
        if self.language is not None:
            return self._changes_in(self.language, source, words, wanted, rng)
        places = [place for start, end in words for place in range(start, end)]
        chosen_places: set[int] = set()
        while places and len(chosen_places) < wanted:
            chosen_places.add(places.pop(int(rng.random() * len(places))))
        return [Change(place, place + 1, other_letter(source.text[place], rng)) for place in sorted(chosen_places)]

    def _changes_in(
        self, language: Language, source: Source, words: Sequence[tuple[int, int]], wanted: int, rng: Random
    ) -> Sequence[Change]:
        """Changes letters of another language: whole grapheme clusters."""
        letters: list[tuple[int, str]] = []
        for start, end in words:
            if language.writes(source.text[start:end]):
                for letter in language.letters(source.text[start:end]):
                    letters.append((start, letter))
                    start += len(letter)
        chosen = sorted(sample(letters, wanted, rng))
        return [
            Change(start, start + len(letter), other_letter(letter, rng, self.alphabet)) for start, letter in chosen
        ]


def inside(word: str, rng: Random) -> int:
    """Draws a place in a word that is neither its first nor its last letter."""
    return 1 + int(rng.random() * (len(word) - 2))


def shuffled(letters: str, rng: Random) -> str:
    """Draws another order of the letters; they must not all be the same."""
    next_random, characters = rng.random, list(letters)
    while True:
        for i in range(len(characters) - 1, 0, -1):
            j = int(next_random() * (i + 1))
            characters[i], characters[j] = characters[j], characters[i]
        if (shuffled_letters := "".join(characters)) != letters:
            return shuffled_letters


def other_letter(letter: str, rng: Random, alphabet: str = ALPHABET) -> str:
    """Draws a letter of the alphabet that differs from `letter` in more than case, in its case."""
    alphabet_index = alphabet.find(letter.lower())  # -1 for what is not in it: then all of its letters will do
    drawn_index = int(rng.random() * (len(alphabet) - (alphabet_index >= 0)))
    other = alphabet[drawn_index + (0 <= alphabet_index <= drawn_index)]
    return other.upper() if letter.isupper() else other
