"""The gate: which texts are repaired. One ordered family, from strict (hardly any) to loose (all)."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from llmkit.errors import UsageError
from llmkit.repair.detectors import DETECTORS
from llmkit.types import Steps

MOST_KNOTS = 64
_TAIL = 0.1  # the share of clean texts whose excess over the rest says how fast still higher scores get rarer


@dataclass(frozen=True, slots=True)
class Scale:
    """A detector's scores on clean text, and how rare each is there.

    `knots` are (score, rarity) pairs, both rising. Rarity is -log10 of the share of clean texts that score at
    least so high, one more text counted on both sides: the conformal p-value of the score, which is right for any
    number of clean texts (Vovk et al. 2005). Between knots it is interpolated. Above the last knot it goes on as
    between the last two.

    >>> scale = Scale("unknown_words", ((0.0, 0.0), (0.1, 1.0), (0.3, 4.0)))
    >>> [round(scale.rarity(score), 6) for score in (0.0, 0.05, 0.1, 0.2, 0.4)]
    [0.0, 0.5, 1.0, 2.5, 5.5]
    """

    detector: str
    knots: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        flat = [number for knot in self.knots for number in knot]
        rising = all(a < c and b < d for (a, b), (c, d) in pairwise(self.knots))
        if not self.knots or not all(map(math.isfinite, flat)) or not rising:
            raise UsageError(
                f"the scale of the detector `{self.detector}` is damaged",
                "scores and rarities are finite numbers, and both rise: fit it again",
            )

    @classmethod
    def fitted(cls, detector: str, scores: Sequence[float]) -> Scale:
        """Returns the scale of a detector from its scores on clean texts: at most 64 knots, closest where it is rare.

        What no clean text reached is rarer than one in all of them. How much rarer is extrapolated as the exponential
        tail of the highest tenth. A detector whose noise is rare beside that of others (`Detector.prior`) has lower
        rarities, so that it takes only that share of the false alarms. UsageError without a score, or for one that is
        no finite number.
        """
        if not scores or not all(map(math.isfinite, scores)):
            raise UsageError(
                f"the detector `{detector}` has no usable scores on clean text",
                "it takes at least one clean text, and a finite score for each",
            )
        ranked, total = sorted(scores), len(scores)
        knots: list[tuple[float, float]] = []
        for index, score in enumerate(ranked):
            # Of equal scores the first counts: all of them are at least so high.
            if not knots or score > knots[-1][0]:
                knots.append((score, _rarity(total - index, total)))
        # Right above the highest clean score the rarity jumps, because nothing clean is known there.
        above, beyond = math.nextafter(ranked[-1], math.inf), _rarity(0, total)
        decade_up = max(above + math.log(10) * _mean_excess(ranked), math.nextafter(above, math.inf))
        offset = math.log10(DETECTORS[detector].prior)
        rising = [
            (score, max(0.0, rarity + offset))
            for score, rarity in (*_thinned(knots), (above, beyond), (decade_up, beyond + 1.0))
        ]
        # Of knots without any rarity the last is enough.
        first = max((place for place, (_, rarity) in enumerate(rising) if rarity == 0.0), default=0)
        return cls(detector, tuple(rising[first:]))

    def rarity(self, score: float) -> float:
        """Returns how rare a score is among clean texts, in powers of ten. A score that is no number is not rare: what
        was not measured is not repaired."""
        knots = self.knots
        if math.isnan(score) or score < knots[0][0]:
            return 0.0
        place = bisect_left(knots, (score, -math.inf))
        if place < len(knots) and knots[place][0] == score:
            return knots[place][1]
        if place == len(knots):
            place = len(knots) - 1
        (low, low_rarity), (high, high_rarity) = knots[max(0, place - 1)], knots[place]
        return low_rarity + (high_rarity - low_rarity) * ((score - low) / (high - low))


def _rarity(as_high: int, total: int) -> float:
    return math.log10((total + 1) / (as_high + 1))


def _mean_excess(ranked: Sequence[float]) -> float:
    """Returns the mean excess of the highest tenth over its lowest score; 1 where all of them are equal."""
    tail = ranked[-max(2, math.ceil(_TAIL * len(ranked))) :]
    return (math.fsum(tail) / len(tail) - tail[0]) or 1.0


def _thinned(knots: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Returns at most `MOST_KNOTS` - 2 of the knots, the first and the last among them, evenly spaced in rarity."""
    most = MOST_KNOTS - 2
    if len(knots) <= most:
        return list(knots)
    step = knots[-1][1] / (most - 1)
    kept = [knots[0]]
    for knot, after in pairwise(knots[1:]):
        if after[1] >= len(kept) * step:
            kept.append(knot)
    return [*kept[: most - 1], knots[-1]]


class Doubt(NamedTuple):
    """The doubt about one text: the highest rarity over the detectors, and the detector that gave it."""

    rarity: float
    detector: str


@dataclass(frozen=True, slots=True)
class Gate:
    """Fires where a text is at least as rare among clean texts as `threshold` says, for any of its detectors.

    `threshold` is in powers of ten: 2 fires on clean texts that one detector sees once in a hundred. At 0 it fires on
    every text. Of two thresholds the stricter never fires where the looser does not.
    """

    scales: tuple[Scale, ...]
    threshold: float

    def __post_init__(self) -> None:
        if math.isnan(self.threshold):
            raise UsageError("the gate's threshold is no number", "it is a rarity in powers of ten, such as 2.5")

    def doubt(self, text: str) -> Steps:
        """Yields the requests of its detectors, if any. Returns a `Doubt`.

        Detectors that ask no model come first, and a model is asked only where they did not fire already: the rest
        could not change the verdict. A gate whose threshold is infinite asks all.
        """
        highest = Doubt(0.0, "")
        detectors = [(DETECTORS[scale.detector](), scale) for scale in self.scales]
        for detector, scale in sorted(detectors, key=lambda pair: pair[0].asks):
            if detector.asks and highest.rarity >= self.threshold:
                break
            score: float = yield from detector.score(text)
            rarity = scale.rarity(score)
            if rarity > highest.rarity:
                highest = Doubt(rarity, scale.detector)
        return highest

    def fires(self, doubt: Doubt) -> bool:
        """Returns whether a text of this doubt is repaired."""
        return doubt.rarity >= self.threshold
