"""Operators that move words or put other words in their place."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from llmkit.perturb.base import TextEdit, WordEdit, operator, pick
from llmkit.perturb.text import Change, Source
from llmkit.perturb.wordbook import homophones


@operator("woo", level="word", default_rate=0.1, paper_rate=0.2)
class Woo(TextEdit):
    """Words out of order: neighbouring words change places, never across punctuation or a line's end (RoP,
    arXiv 2506.03627). The rate counts swaps, each of which costs one word of the longest common subsequence.
    """

    nothing = "no two neighbouring words that can change places"

    def changes(self, source: Source, wanted: int, rng: Random) -> list[Change]:
        parts, starts = source.parts, source.starts
        pairs = [i for i in range(0, len(parts) - 2, 2) if _can_swap(parts[i], parts[i + 1], parts[i + 2])]
        pairs = [i for i in pairs if source.free(starts[i], starts[i + 2] + len(parts[i + 2]))]
        return [_swap(source, i) for i in _apart(pairs, wanted, rng)]


def _can_swap(left: str, between: str, right: str) -> bool:
    if not left or not right or "\n" in between or left.lower() == right.lower():
        return False
    return left.isalpha() and (right if right.isalpha() else right.rstrip(".,;:!?")).isalpha()


def _apart(pairs: Sequence[int], wanted: int, rng: Random) -> list[int]:
    """At most `wanted` of the pairs, no two sharing a word; as many as there can be where fewer were found."""
    order, taken = list(pairs), set()
    while order and len(taken) < wanted:
        i = order.pop(int(rng.random() * len(order)))
        if i - 2 not in taken and i + 2 not in taken:
            taken.add(i)
    if len(taken) < wanted:  # luck left gaps: the leftmost pairs first are the most that fit
        most: list[int] = []
        for i in pairs:
            if not most or i > most[-1] + 2:
                most.append(i)
        while len(most) > wanted:
            most.pop(int(rng.random() * len(most)))
        return most
    return sorted(taken)


def _swap(source: Source, i: int) -> Change:
    left, between, right = source.parts[i : i + 3]
    word = right.rstrip(".,;:!?")
    start = source.starts[i]
    return Change(start, start + len(left) + len(between) + len(word), word + between + left)


@operator("hw", level="word", default_rate=0.1, paper_rate=0.22)
class Hw(WordEdit):
    """Homophone words: a word that sounds the same takes a word's place (RoP, arXiv 2506.03627; CMUdict). Takes
    what is eligible, which is often less than the rate asks for; number words and names stay.

    >>> Hw().edit("flour", Random(1))
    'flower'
    """

    nothing = "no word with a homophone"

    def edit(self, word: str, rng: Random) -> str | None:
        others = homophones().get(word)
        return pick(others, rng) if others else None
