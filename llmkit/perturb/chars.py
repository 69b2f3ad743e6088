"""Operators that change the letters of a word."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from random import Random

from llmkit.errors import UsageError
from llmkit.perturb.base import MOST_DIGITS, WordEdit, letters_of, operator, pick, weighted
from llmkit.perturb.text import Change, Source

ALPHABET = "abcdefghijklmnopqrstuvwxyz"


@operator("ec", level="character", paper_rate=0.3)
class Ec(WordEdit):
    """Error characters: shuffles the inside of a word, or in one of five changes one inner letter (RoP,
    arXiv 2506.03627).

    >>> Ec().edit("times", Random(0))
    'tmies'
    """

    min_letters = 4

    def edit(self, word: str, rng: Random) -> str | None:
        inner_letters = word[1:-1]
        if rng.random() < 0.2 or inner_letters == inner_letters[0] * len(inner_letters):
            place = inside(word, rng)
            return word[:place] + other_letter(word[place], rng) + word[place + 1 :]
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

    min_letters = 2

    def edit(self, word: str, rng: Random) -> str | None:
        place = 1 + int(rng.random() * (len(word) - 1))
        new_letter = pick(ALPHABET, rng)
        return word[:place] + (new_letter.upper() if word.isupper() else new_letter) + word[place:]


@operator("substitute", level="character")
class Substitute(WordEdit):
    """Changes an inner letter of a word to a random other one (DeepWordBug, Gao et al. 2018, arXiv 1801.04354).

    >>> Substitute().edit("times", Random(1))
    'twmes'
    """

    min_letters = 3

    def edit(self, word: str, rng: Random) -> str | None:
        place = inside(word, rng)
        return word[:place] + other_letter(word[place], rng) + word[place + 1 :]


@cache
def neighbour_keys() -> dict[str, str]:
    """Maps each letter to the letters whose keys touch its own on a QWERTY keyboard, in both cases.

    >>> neighbour_keys()["g"], neighbour_keys()["A"]
    ('fhtyvb', 'SQWZ')
    """
    keyboard_rows = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
    neighbours = {}
    for row_number, keys_of_row in enumerate(keyboard_rows):
        for column, key in enumerate(keys_of_row):
            # each row is shifted about half a key to the right of the one above
            touching = [
                (row_number, column - 1),
                (row_number, column + 1),
                (row_number - 1, column),
                (row_number - 1, column + 1),
                (row_number + 1, column - 1),
                (row_number + 1, column),
            ]
            near_keys = "".join(
                keyboard_rows[other_row][other_column]
                for other_row, other_column in touching
                if 0 <= other_row < 3 and 0 <= other_column < len(keyboard_rows[other_row])
            )
            neighbours[key], neighbours[key.upper()] = near_keys, near_keys.upper()
    return neighbours


@operator("keyboard", level="character")
class Keyboard(WordEdit):
    """Changes a letter to one whose key touches its own on QWERTY (Belinkov and Bisk 2018, arXiv 1711.02173).

    >>> Keyboard().edit("times", Random(1))
    'gimes'
    """

    def edit(self, word: str, rng: Random) -> str | None:
        neighbours, place = neighbour_keys(), int(rng.random() * len(word))
        if (keys := neighbours.get(word[place])) is None:
            places = [place for place, letter in enumerate(word) if letter in neighbours]
            if not places:
                return None
            place = pick(places, rng)
            keys = neighbours[word[place]]
        return word[:place] + keys[int(rng.random() * len(keys))] + word[place + 1 :]


_LEET = dict(zip("aeiostbAEIOSTB", "43105784310578", strict=True))


@operator("leet", level="character")
class Leet(WordEdit):
    """Writes letters as the digits that look like them, up to two in a word (leetspeak, as in RUPBench, Wang and Zhao
    2024). Digits inside words are no numbers: those of the question stay.

    >>> Leet().edit("times", Random(0))
    'tim35'
    """

    adds_numbers = True
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


# Of characters, in per cent: Dhakal et al. 2018, Table 3, who count two letters in the wrong order as something else.
_SLIPS = {"substitution": 1.65, "omission": 0.80, "insertion": 0.67}
# Of 65 strokes substituted (40), omitted (20), inserted (3) or doubled (2), with so many others beside them: White's
# count of typists' errors, as Kano et al. 2007 reprint it in their Table 1.
_DOUBLED = 2 / 5
_SLIPS |= {slip: count / 65 * 3.12 for slip, count in {"transposition": 15, "shift": 2}.items()}


@operator("typing", level="character")
class Typing(WordEdit):
    """Mistypes a word as people do, at published relative frequencies: a neighbour key for the right one, a letter left
    out, one doubled or added from the next key, two letters in the wrong order, a shift held too long or missed (Dhakal
    et al. 2018, doi 10.1145/3173574.3174220; White's counts in Kano et al. 2007, doi 10.14236/ewic/hci2007.15).

    Substitutions, omissions and insertions occur among each other as in Dhakal's 136 million keystrokes (1.65, 0.80 and
    0.67 per cent of characters). Transpositions and capitals come on top, 15 and 2 for every 65 of these, and two of
    five insertions double a letter, all as White counted. Other counts of transpositions are a little lower: 14 for 81
    among secretaries who copy (Ingels 1996, arXiv cmp-lg/9702003). Ours, for want of figures that could be read: that a
    wrong key always touches the right one, that every letter of a word is as likely to be hit, and that without a
    capital a slip of the shift is a wrong key, so that texts with few capitals show fewer than White counted.

    >>> Typing().edit("times", Random(12))
    'tims'
    """

    min_letters = 2

    def edit(self, word: str, rng: Random) -> str | None:
        slip = weighted(_SLIPS, rng)
        place, neighbours = int(rng.random() * len(word)), neighbour_keys()
        if slip == "omission":
            return word[:place] + word[place + 1 :]
        if slip == "insertion":
            extra_letter = (
                word[place] if rng.random() < _DOUBLED else pick(neighbours.get(word[place], word[place]), rng)
            )
            return word[: place + 1] + extra_letter + word[place + 1 :]
        if slip == "transposition":
            place = min(place, len(word) - 2)
            if word[place] != word[place + 1]:
                return word[:place] + word[place + 1] + word[place] + word[place + 2 :]
        if slip == "shift" and word[0].isupper():
            return word[0] + word[1].upper() + word[2:] if word[1].islower() else word[0].lower() + word[1:]
        near_keys = neighbours.get(word[place])  # a letter that no QWERTY key has is doubled
        return word[:place] + (pick(near_keys, rng) if near_keys else word[place] * 2) + word[place + 1 :]


@operator("chars", level="character")
class Chars(WordEdit):
    """Exactly k letters of the question change to other letters, whatever the rate: the 1, 4 and 7 of the paper's
    figures (RoP, arXiv 2506.03627, 4.1.5). `chars(4)`.

    >>> Chars("1").edit("times", Random(1))
    'twmes'
    """

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
        return word[:place] + other_letter(word[place], rng) + word[place + 1 :]

    def changes(self, source: Source, wanted: int, rng: Random) -> Sequence[Change]:
        words = [(start, end) for start, end in letters_of(source) if end - start >= 3]
        places = [place for start, end in words for place in range(start, end)]
        chosen_places: set[int] = set()
        while places and len(chosen_places) < wanted:
            chosen_places.add(places.pop(int(rng.random() * len(places))))
        return [Change(place, place + 1, other_letter(source.text[place], rng)) for place in sorted(chosen_places)]


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


def other_letter(letter: str, rng: Random) -> str:
    """Draws an ASCII letter that differs from `letter` in more than case, in its case."""
    alphabet_index = ALPHABET.find(letter.lower())  # -1 for what is no ASCII letter: then all 26 will do
    drawn_index = int(rng.random() * (25 if alphabet_index >= 0 else 26))
    other = ALPHABET[drawn_index + (0 <= alphabet_index <= drawn_index)]
    return other.upper() if letter.isupper() else other
