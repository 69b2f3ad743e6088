"""Operators that hit a wrong key: on QWERTY in English, on the layout of a language in others."""

from __future__ import annotations

from functools import cache
from random import Random
from typing import Self

from llmkit.perturb.base import WordEdit, operator, pick, weighted
from llmkit.perturb.hangul import changed, is_syllable
from llmkit.perturb.keyboards import layout_named
from llmkit.perturb.languages import Language


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


class ByKeys(WordEdit):
    """Edits words by the keys that touch each other, on the layout of the language or on one that the spec names."""

    def __init__(self, argument: str | None = None) -> None:
        super().__init__(None)
        self.chosen = layout_named(argument) if argument else None
        self.neighbours = self.chosen.neighbours if self.chosen else neighbour_keys()

    def serves(self, language: Language) -> bool:
        return super().serves(language) and (self.chosen or language.layout) is not None

    def _bound(self, language: Language) -> Self:
        bound, layout = super()._bound(language), self.chosen or language.layout
        bound.neighbours = layout.neighbours if layout else {}
        return bound

    def wrong_key(self, word: str, rng: Random) -> str | None:
        """Returns a word with one character from a key beside its own: a letter for a letter, a vowel sign or accent
        for another, in Korean one jamo of a syllable for another. None if no key has a neighbour."""
        if self.language is None or not self.language.writes(word):
            return None
        forms = {
            place: tuple(changed(character, self.neighbours)) if is_syllable(character) else tuple(near_keys)
            for place, character in enumerate(word)
            if (near_keys := self.neighbours.get(character, "")) or is_syllable(character)
        }
        places = [place for place, others in forms.items() if others]
        if not places:
            return None
        place = pick(places, rng)
        return word[:place] + pick(forms[place], rng) + word[place + 1 :]


@operator("keyboard", level="character")
class Keyboard(ByKeys):
    """Changes a letter to one whose key touches its own on QWERTY, in other languages on their own layout or on the one
    that is named, `keyboard:de` (Belinkov and Bisk 2018, arXiv 1711.02173; layouts of xkb-data).

    >>> Keyboard().edit("zoo", Random(0)), Keyboard("fr(azerty)").edit("zoo", Random(0))
    ('zol', 'zok')
    """

    def edit(self, word: str, rng: Random) -> str | None:
        neighbours, place = self.neighbours, int(rng.random() * len(word))
        if (keys := neighbours.get(word[place])) is None:
            places = [place for place, letter in enumerate(word) if letter in neighbours]
            if not places:
                return None
            place = pick(places, rng)
            keys = neighbours[word[place]]
        return word[:place] + keys[int(rng.random() * len(keys))] + word[place + 1 :]

    def edit_in(self, word: str, rng: Random) -> str | None:
        return self.wrong_key(word, rng)


# Of characters, in per cent: Dhakal et al. 2018, Table 3, who count two letters in the wrong order as something else.
_SLIPS = {"substitution": 1.65, "omission": 0.80, "insertion": 0.67}
# Of 65 strokes substituted (40), omitted (20), inserted (3) or doubled (2), with so many others beside them: White's
# count of typists' errors, as Kano et al. 2007 reprint it in their Table 1.
_DOUBLED = 2 / 5
_SLIPS |= {slip: count / 65 * 3.12 for slip, count in {"transposition": 15, "shift": 2}.items()}


@operator("typing", level="character")
class Typing(ByKeys):
    """Mistypes a word as people do, at published relative frequencies: a neighbour key for the right one, a letter left
    out, one doubled or added from the next key, two letters in the wrong order, a shift held too long or missed (Dhakal
    et al. 2018, doi 10.1145/3173574.3174220; White's counts in Kano et al. 2007, doi 10.14236/ewic/hci2007.15).

    Substitutions, omissions and insertions occur among each other as in Dhakal's 136 million keystrokes (1.65, 0.80 and
    0.67 per cent of characters). Transpositions and capitals come on top, 15 and 2 for every 65 of these, and two of
    five insertions double a letter, all as White counted. Other counts of transpositions are a little lower: 14 for 81
    among secretaries who copy (Ingels 1996, arXiv cmp-lg/9702003). Ours, for want of figures that could be read: that a
    wrong key always touches the right one, that every letter of a word is as likely to be hit, and that without a
    capital a slip of the shift is a wrong key, so that texts with few capitals show fewer than White counted. In other
    languages than English keys are those of their layout or of the one that is named, `typing:de`, and letters that are
    left out, doubled or exchanged are grapheme clusters.

    >>> Typing().edit("times", Random(12))
    'tims'
    """

    min_letters = 2

    def edit(self, word: str, rng: Random) -> str | None:
        slip = weighted(_SLIPS, rng)
        place, neighbours = int(rng.random() * len(word)), self.neighbours
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

    def edit_in(self, word: str, rng: Random) -> str | None:
        language = self.language
        if language is None or not language.writes(word):
            return None
        letters, slip = language.letters(word), weighted(_SLIPS, rng)
        place = int(rng.random() * len(letters))
        if slip == "omission" and len(letters) > 1:
            return "".join([*letters[:place], *letters[place + 1 :]])
        if slip == "transposition" and len(letters) > 1:
            place = min(place, len(letters) - 2)
            if letters[place] != letters[place + 1]:
                return "".join([*letters[:place], letters[place + 1], letters[place], *letters[place + 2 :]])
        near_keys = self.neighbours.get(letters[place])
        if slip == "insertion" and (rng.random() < _DOUBLED or not near_keys):
            return "".join([*letters[: place + 1], *letters[place:]])
        if slip == "insertion" and near_keys:
            return "".join([*letters[: place + 1], pick(near_keys, rng), *letters[place + 1 :]])
        return self.wrong_key(word, rng)
