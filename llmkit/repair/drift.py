"""Drift: whether live traffic still looks like the traffic that a repair was calibrated on. Watched text by text.

A sequential test that may be read after every text, for ever: the probability that it ever warns while nothing has
changed is at most `ALARM`. docs/statistics.md has the proof.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from llmkit.errors import DataError
from llmkit.repair.document import RepairFile, Traffic

ALARM = 0.01
"""The chance of a false alarm, over an unlimited horizon."""

LEVELS = (0.5, 1.0, 1.5, 2.0, 3.0)
"""The rarities, in powers of ten, whose shares of texts are watched; the gate's threshold is one more."""

_STARTS = 32  # times from which on traffic may have changed, of which each has counts of its own
_EVERY = 256  # texts between two of them
_RARE = 50.0  # a prior whose rates are around .01, as firing rates are


class Drift:
    """Watches the rarity of live texts (`Repaired.rarity`) against `traffic`. A warning voids the guarantee.

    The evidence is a weighted mean of e-processes, one for each time at which traffic may have changed and each rarity
    whose share is watched. Each compares "calibration and live traffic have rates of their own" with "both have the
    same" by universal inference (Wasserman, Ramdas and Balakrishnan 2020, arXiv 1912.11436), so that the error of the
    calibration's rates is taken into account.
    """

    def __init__(self, traffic: Traffic, threshold: float, alarm: float = ALARM) -> None:
        """DataError where the share of texts on which the gate fires is not among those that `traffic` counts."""
        if threshold not in traffic.edges or len(traffic.counts) != len(traffic.edges) + 1:
            raise DataError(
                f"the traffic of the repair has no count of texts at the gate's threshold {threshold:g}",
                "llmkit calibrate writes both: calibrate again instead of changing the file",
            )
        self.threshold = threshold
        self.alarm = alarm
        self._edges = traffic.edges
        self._calibrated = traffic.counts
        self._seen = [0] * len(traffic.counts)
        self._starts = [_Start(1 / 2, traffic.counts)]
        self._begun = 1
        self.texts = 0
        """Texts seen so far."""
        self.fired = 0
        """Texts on which the gate fired."""
        self.evidence = 1.0
        """The highest evidence so far, as a factor: `1 / alarm` and more is a warning."""

    @classmethod
    def of(cls, document: RepairFile) -> Drift | None:
        """Returns the watch over a repair's traffic; None where it has no gate or no traffic to compare with."""
        if document.gate is None or document.traffic is None:
            return None
        return cls(document.traffic, document.gate.threshold)

    def see(self, rarity: float) -> bool:
        """Takes the rarity of one more text. Returns whether there is a warning, which stays for good."""
        if self.texts and self.texts % _EVERY == 0:
            self._begin()
        self.texts += 1
        self.fired += rarity >= self.threshold
        place = bisect_right(self._edges, rarity)
        for counts in (self._seen, *(start.since for start in self._starts)):
            counts[place] += 1
        # Looked at more rarely as texts go by: each look costs what 32 starts cost.
        if self.texts < 64 or self.texts % 16 == 0:
            self.evidence = max(self.evidence, math.fsum(start.evidence() for start in self._starts))
        return self.drifted

    @property
    def drifted(self) -> bool:
        """True from the first warning on."""
        return self.evidence >= 1 / self.alarm

    @property
    def warning(self) -> str | None:
        """The warning in words; None where there is none."""
        if not self.drifted:
            return None
        fired, below = _reached(self._calibrated)[self._edges.index(self.threshold)]
        return (
            f"traffic has changed: the gate fires on {self.fired / self.texts:.3g} of {self.texts:,} texts, "
            f"and fired on {fired / (fired + below):.3g} of {fired + below:,} when it was calibrated; "
            "the guarantee is void"
        )

    def _begin(self) -> None:
        """Begins to count from now on. Of too many starts the weakest is dropped, which only lowers the evidence."""
        self._begun += 1
        weight = 1 / (self._begun * (self._begun + 1))
        self._starts.append(_Start(weight, [a + b for a, b in zip(self._calibrated, self._seen, strict=True)]))
        if len(self._starts) > _STARTS:
            self._starts.remove(min(self._starts[:-1], key=_Start.evidence))


class _Start:
    """One time at which traffic may have changed: its weight, and the texts by class before it, calibration included,
    and since."""

    def __init__(self, weight: float, before: Sequence[int]) -> None:
        self.weight = weight
        self.before = _reached(before)
        self.since = [0] * len(before)

    def evidence(self) -> float:
        """Returns the weighted mean of the e-values of the watched shares."""
        pairs = zip(self.before, _reached(self.since), strict=True)
        return self.weight * math.fsum(math.exp(min(_evidence(*pair), 600)) for pair in pairs) / len(self.before)


def _reached(counts: Sequence[int]) -> list[tuple[int, int]]:
    """Returns, for each edge between classes, the texts that reach it and those that do not."""
    total, below = sum(counts), list(accumulate(counts))
    return [(total - under, under) for under in below[:-1]]


def _evidence(before: tuple[int, int], live: tuple[int, int]) -> float:
    """Returns the logarithm of an e-value of "both have the same rate".

    The numerator is the probability of both under mixtures of rates of their own, the denominator their highest
    probability under one rate. At the true one it would be a ratio of two probabilities, with mean 1.
    """
    both = [a + b for a, b in zip(before, live, strict=True)]
    same = math.fsum(count * math.log(count / sum(both)) for count in both if count)
    return _mixture(*before) + _mixture(*live) - same


def _mixture(reached: int, below: int) -> float:
    """Returns the logarithm of the probability of a sequence with these counts: a half by each of two priors of the
    rate, Jeffreys' and one of rare events."""
    by_prior = [_log_beta(reached + 0.5, below + b) - _log_beta(0.5, b) for b in (0.5, _RARE)]
    return max(by_prior) + math.log1p(math.exp(-abs(by_prior[0] - by_prior[1]))) - math.log(2)


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
