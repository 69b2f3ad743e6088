"""Operators that change what stands between words."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from random import Random

from llmkit.perturb.base import TextEdit, letters_of, operator, pick, sample
from llmkit.perturb.text import Change, Source


@operator("whitespace", level="character")
class Whitespace(TextEdit):
    """Joins two words or splits one, half of the time each; never next to a number (TextBugger, Li et al. 2019,
    arXiv 1812.05271).

    >>> source = Source("Tom has seven apples")
    >>> [tuple(c) for c in Whitespace().changes(source, 2, Random(8))]
    [(3, 4, ''), (15, 15, ' ')]
    """

    def changes(self, source: Source, wanted: int, rng: Random) -> Sequence[Change]:
        words = letters_of(source)
        splits = [(a, b) for a, b in words if b - a >= 2]
        joins = [
            (b, c)
            for (_, b), (c, _) in pairwise(words)
            if c > b and source.text[b:c].strip() == "" and "\n" not in source.text[b:c] and source.free(b, c)
        ]
        made: list[Change] = []
        while (splits or joins) and len(made) < wanted:
            if splits and (not joins or rng.random() < 0.5):
                a, b = splits.pop(int(rng.random() * len(splits)))
                at = a + 1 + int(rng.random() * (b - a - 1))
                made.append(Change(at, at, " "))
            else:
                made.append(Change(*joins.pop(int(rng.random() * len(joins))), ""))
        return sorted(made)


@operator("punctuation", level="character")
class Punctuation(TextEdit):
    """Drops, doubles or changes a mark at a word's end, or puts a comma where none belongs (HELM, arXiv 2211.09110,
    and arXiv 2508.11383 on what such marks do to models).

    >>> source = Source("Tom has apples, pears and plums.")
    >>> [tuple(c) for c in Punctuation().changes(source, 2, Random(1))]
    [(3, 3, ','), (31, 32, '')]
    """

    nothing = "no place for a mark"

    def changes(self, source: Source, wanted: int, rng: Random) -> Sequence[Change]:
        text = source.text
        ends = [b for _, b in letters_of(source) if source.free(b, b + 1)]
        ends = [b for b in ends if b == len(text) or text[b].isspace() or text[b] in ",;:.!?"]
        made = []
        for b in sample(ends, wanted, rng):
            mark = text[b : b + 1]
            if mark and mark in ",;:.!?":
                made.append(Change(b, b + 1, pick(["", mark * 2, pick(",;:.!?".replace(mark, ""), rng)], rng)))
            else:
                made.append(Change(b, b, ","))
        return sorted(made)
