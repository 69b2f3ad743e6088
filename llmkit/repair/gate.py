"""The gate: which texts are repaired. One ordered family, from strict (hardly any) to loose (all)."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from llmkit.repair.detectors import DETECTORS
from llmkit.types import Steps


@dataclass(frozen=True, slots=True)
class Scale:
    """A detector's scores on clean text, and how rare each is there.

    `knots` are (score, rarity) pairs in rising order, where rarity is -log10 of the share of clean texts that score at
    least so high. Between knots it is interpolated; above the last it goes on as between the last two.

    >>> scale = Scale("unknown_words", ((0.0, 0.0), (0.1, 1.0), (0.2, 2.0)))
    >>> [round(scale.rarity(score), 6) for score in (0.0, 0.05, 0.2, 0.3)]
    [0.0, 0.5, 2.0, 3.0]
    """

    detector: str
    knots: tuple[tuple[float, float], ...]

    @classmethod
    def fitted(cls, detector: str, scores: Sequence[float]) -> Scale:
        """Returns the scale of a detector from its scores on clean texts, at most 64 knots."""
        ranked, total = sorted(scores), len(scores)
        knots: list[tuple[float, float]] = []
        for index, score in enumerate(ranked):
            # Of equal scores the first counts: all of them are at least so high.
            if not knots or score > knots[-1][0]:
                knots.append((score, -math.log10((total - index) / (total + 1))))
        if len(knots) > 64:
            step = (len(knots) - 1) / 63
            knots = [knots[round(i * step)] for i in range(64)]
        return cls(detector, tuple(knots))

    def rarity(self, score: float) -> float:
        """Returns how rare a score is among clean texts, in powers of ten."""
        knots = self.knots
        if not knots or score < knots[0][0]:
            return 0.0
        place = bisect_right(knots, (score, math.inf))
        low, high = (knots[place - 1], knots[place]) if place < len(knots) else (knots[-1], None)
        if high is None:
            if score == low[0]:
                return low[1]
            before = knots[-2] if len(knots) > 1 else (low[0] - 1.0, low[1] - 1.0)
            low, high = before, low
        return low[1] + (high[1] - low[1]) * (score - low[0]) / (high[0] - low[0])


class Doubt(NamedTuple):
    """The doubt about one text: the highest rarity over the detectors, and the detector that gave it."""

    rarity: float
    detector: str


@dataclass(frozen=True, slots=True)
class Gate:
    """Fires where a text is at least as rare among clean texts as `threshold` says, for any of its detectors.

    `threshold` is in powers of ten: 2 fires on clean texts that one detector sees once in a hundred.
    """

    scales: tuple[Scale, ...]
    threshold: float

    def doubt(self, text: str) -> Steps:
        """Yields the requests of its detectors, if any. Returns a `Doubt`; cheaper detectors come first."""
        highest = Doubt(0.0, "")
        for scale in self.scales:
            score: float = yield from DETECTORS[scale.detector]().score(text)
            rarity = scale.rarity(score)
            if rarity > highest.rarity:
                highest = Doubt(rarity, scale.detector)
        return highest

    def fires(self, doubt: Doubt) -> bool:
        """Returns whether a text of this doubt is repaired."""
        return doubt.rarity >= self.threshold
