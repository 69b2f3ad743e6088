"""Aligns what was spoken or printed with what was read, word by word."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from rapidfuzz.distance import Levenshtein

from llmkit.perturb.recogniser import core_of

_MOST = 3  # words on either side of a step
_BAND = 12  # words by which both sides may be out of step
_LOST = 0.75  # the cost of a word that is lost or added
_WIDE = 0.15  # the cost of each word more than one on either side of a step


class Step(NamedTuple):
    """Words of the text, and what was read for them."""

    start: int
    old: tuple[str, ...]
    new: tuple[str, ...]


@lru_cache(maxsize=1 << 18)
def _distance(old: str, new: str) -> float:
    return Levenshtein.normalized_distance(old, new)


def plain(token: str) -> str:
    """Returns a word in lower case, without the marks around it."""
    return core_of(token)[0].lower() or token


def steps(old: Sequence[str], new: Sequence[str]) -> Iterator[Step]:
    """Yields the likeliest steps from the words of a text to those that were read."""
    plain_old, plain_new = [plain(token) for token in old], [plain(token) for token in new]
    shift = len(new) - len(old)
    best: dict[tuple[int, int], tuple[float, int, int]] = {(0, 0): (0.0, 0, 0)}
    for i in range(len(old) + 1):
        for j in range(len(new) + 1):
            if not min(0, shift) - _BAND <= j - i <= max(0, shift) + _BAND or (i, j) == (0, 0):
                continue
            ways = []
            for back in range(min(_MOST, i) + 1):
                for read_back in range(min(_MOST, j) + 1):
                    before = best.get((i - back, j - read_back))
                    if before and back + read_back:
                        cost = before[0] + _cost(plain_old[i - back : i], plain_new[j - read_back : j])
                        ways.append((cost, back, read_back))
            if ways:
                best[i, j] = min(ways)
    found: list[Step] = []
    i, j = len(old), len(new)
    while i or j:
        _, back, read_back = best[i, j]
        found.append(Step(i - back, tuple(old[i - back : i]), tuple(new[j - read_back : j])))
        i, j = i - back, j - read_back
    for step in reversed(found):
        yield from _parted(step)


def _parted(step: Step) -> Iterator[Step]:
    """Takes the words that are the same at the head and the tail of a step out of it."""
    start, old, new = step
    head: list[Step] = []
    tail: list[Step] = []
    while len(old) + len(new) > 2 and old and new and plain(old[0]) == plain(new[0]):
        head.append(Step(start, old[:1], new[:1]))
        start, old, new = start + 1, old[1:], new[1:]
    while len(old) + len(new) > 2 and old and new and plain(old[-1]) == plain(new[-1]):
        tail.append(Step(start + len(old) - 1, old[-1:], new[-1:]))
        old, new = old[:-1], new[:-1]
    yield from head
    if old or new:
        yield Step(start, old, new)
    yield from reversed(tail)


def _cost(old: Sequence[str], new: Sequence[str]) -> float:
    if not old or not new:
        return _LOST * max(len(old), len(new))
    words = max(len(old), len(new))
    return _distance("".join(old), "".join(new)) * words + _WIDE * (len(old) + len(new) - 2)
