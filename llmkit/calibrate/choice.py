"""The choice of a chain: the gain of each on noisy copies of tuning rows, against the answers to the rows as sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from llmkit.calibrate.harm import same
from llmkit.measure import statistics
from llmkit.measure.statistics import Mean
from llmkit.runs.samples import Sample
from llmkit.types import Variant


@dataclass(frozen=True)
class Gain:
    """What a chain wins on noisy copies, in shares of rows: right answers, or those that agree with the answer to the
    row as sent, with the repair less without it. `values` has one number in {-1, 0, 1} for each row."""

    chain: str
    values: tuple[int, ...]
    mean: Mean


def gain_of(chain: str, values: Sequence[int], level: float = 0.95) -> Gain:
    """Returns the gain of a chain with its interval, from one value for each row."""
    import numpy as np

    return Gain(chain, tuple(values), statistics.difference(np.array(values, float), np.arange(len(values)), level))


def value(clean: Sample, noisy: Sample, repaired: Sample) -> int:
    """Returns what a repair did to one noisy copy: 1 won, -1 lost, else 0."""
    return _good(repaired, clean) - _good(noisy, clean)


def _good(sample: Sample, clean: Sample) -> bool:
    return sample.outcome.correct if sample.outcome.correct is not None else same(clean, sample)


def choose(gains: Sequence[Gain]) -> Gain | None:
    """Returns the cheapest chain whose gain is above 0 and within one standard error of the best; None for none.

    `gains` are in the order of cost. The standard error is that of the paired difference (Breiman et al. 1984, 3.4.3:
    the simplest model within one standard error of the best).
    """
    best = max(gains, key=lambda gain: gain.mean.value)
    for gain in gains:
        if gain.mean.value <= 0:
            continue
        behind = gain_of(gain.chain, [b - g for b, g in zip(best.values, gain.values, strict=True)]).mean
        if behind.value <= behind.se:
            return gain
    return None


def by_row(samples: Sequence[Sample]) -> Mapping[str, Sample]:
    """Returns samples by the id of their row."""
    return {sample.outcome.question_id: sample for sample in samples}


def clean_of(copies: Sequence[Variant]) -> list[Variant]:
    """Returns the rows of noisy copies as they were sent."""
    return [Variant.unchanged(copy.question) for copy in copies]
