"""Operators that change the letters of a word."""

from __future__ import annotations

from random import Random

from llmkit.perturb.base import WordEdit, operator, pick

_LETTERS = "abcdefghijklmnopqrstuvwxyz"


@operator("ec", level="character", default_rate=0.1, paper_rate=0.3)
class Ec(WordEdit):
    """Error characters: shuffles the inside of a word, or (1 in 5) changes one inner letter (RoP, arXiv 2506.03627).

    >>> Ec().edit("times", Random(0))
    'tmies'
    """

    min_letters = 4

    def edit(self, word: str, rng: Random) -> str | None:
        inner = word[1:-1]
        if rng.random() < 0.2 or len(set(inner)) == 1:
            i = 1 + int(rng.random() * len(inner))
            return word[:i] + other_letter(word[i], rng) + word[i + 1 :]
        return word[0] + shuffled(inner, rng) + word[-1]


def shuffled(letters: str, rng: Random) -> str:
    """The letters in another order; they must not all be the same."""
    random, chars = rng.random, list(letters)
    while True:
        for i in range(len(chars) - 1, 0, -1):
            j = int(random() * (i + 1))
            chars[i], chars[j] = chars[j], chars[i]
        if (new := "".join(chars)) != letters:
            return new


def other_letter(letter: str, rng: Random) -> str:
    """A random ASCII letter that differs from `letter` in more than case, in its case."""
    new = pick(_LETTERS, rng)
    while new == letter.lower():
        new = pick(_LETTERS, rng)
    return new.upper() if letter.isupper() else new
