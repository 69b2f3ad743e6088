"""The place of a piece of text after edits, and pairs of spans that agree."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from llmkit.types import Edit

T = TypeVar("T")


def moved(start: int, end: int, edits: Iterable[Edit]) -> tuple[int, int]:
    """Returns where the characters `start` to `end` of an original text stand in the final one: all that they became,
    what was put between them included, and nothing that was put before or behind them.

    An edit that changes both these characters and others is looked into: what it holds of the span is found again where
    it stands there once; else all that the edit wrote belongs to the span. Empty where everything was taken out.

    >>> text = "from Bsotn to Rome"
    >>> edits = [Edit(5, 10, "Boston", "Bsotn")]
    >>> [text[slice(*moved(start, end, edits))] for start, end in ((5, 11), (15, 19))]
    ['Bsotn', 'Rome']
    """
    delta = 0  # what the edits so far add to the text
    to_start, to_end = None, None
    for edit in edits:
        here, there = edit.start - delta, edit.start - delta + len(edit.old)  # in the original text
        if here >= end:
            break
        if there > start:
            first, last = edit.start, edit.end
            if here < start or there > end:
                first, last = (edit.start + place for place in _inside(edit, here, start, end))
            if to_start is None:
                to_start = first if here <= start else start + delta
            if there > end:
                to_end = last
        delta += len(edit.new) - len(edit.old)
    begin = start + delta if to_start is None else to_start
    return begin, max(begin, end + delta if to_end is None else to_end)


def _inside(edit: Edit, here: int, start: int, end: int) -> tuple[int, int]:
    """Returns where a part of an edit's old text stands in its new one: where it is found once, else all of it."""
    piece = edit.old[max(0, start - here) : end - here]
    if piece and edit.new.count(piece) == 1:
        place = edit.new.index(piece)
        return place, place + len(piece)
    return 0, len(edit.new)


def paired(ours: Sequence[T], theirs: Sequence[T], agree: Callable[[T, T], bool]) -> int:
    """Counts the most pairs of one of each side that agree, each used once (augmenting paths, Kuhn 1955)."""
    partner: dict[int, int] = {}

    def place(one: int, seen: set[int]) -> bool:
        for other in range(len(theirs)):
            if other not in seen and agree(ours[one], theirs[other]):
                seen.add(other)
                if other not in partner or place(partner[other], seen):
                    partner[other] = one
                    return True
        return False

    return sum(place(one, set()) for one in range(len(ours)))
