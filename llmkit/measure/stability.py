"""Rows without answers: how often an arm's answer changes under noise, and how often by itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from llmkit.conditions import Condition
from llmkit.measure import statistics
from llmkit.measure.arm_results import Stability
from llmkit.measure.cells import Cell, Cells, pair_key
from llmkit.measure.values import Interval
from llmkit.runs.samples import Sample
from llmkit.types import CLEAN


def unlabelled(samples: Iterable[Sample]) -> bool:
    """Returns whether the rows of a run have no answers, so that nothing in it is right or wrong."""
    return any(s.outcome.gold is None for s in samples)


def stability(cells: Cells, arm: str, level: float) -> dict[str, Stability]:
    """Compares, by noisy condition, an arm's answers to noisy rows with those to the rows as sent."""
    clean = Cell(arm, CLEAN)
    return {
        condition: Stability(
            n=len(pairs),
            changed=_share(cells, pairs, level),
            itself=_itself(cells, [clean, clean.under(condition)], level),
        )
        for condition in cells.noisy_of(clean)
        if (pairs := _pairs(cells, clean, clean.under(condition)))
    }


def _pairs(cells: Cells, one: Cell, other: Cell) -> dict[str, tuple[Sample, Sample]]:
    first, second = ({pair_key(s)[0]: s for s in cells.samples_of(cell)} for cell in (one, other))
    return {row: (first[row], second[row]) for row in sorted(first.keys() & second.keys())}


def _itself(cells: Cells, asked: Sequence[Cell], level: float) -> Interval | None:
    """Computes the share of texts asked twice, as sent and under noise, whose two answers differ."""
    import numpy as np

    hits, of = np.zeros(len(cells.questions)), np.zeros(len(cells.questions))
    for cell in asked:
        for row, pair in _pairs(cells, cell, cell.under(str(Condition.parse(cell.condition).again))).items():
            hits[cells.row[row]] += _differ(*pair)
            of[cells.row[row]] += 1
    return Interval.of(*statistics.rate(hits, of, cells.clusters, float(of.sum()), level)) if of.any() else None


def _share(cells: Cells, pairs: Mapping[str, tuple[Sample, Sample]], level: float) -> Interval:
    import numpy as np

    hits, of = np.zeros(len(cells.questions)), np.zeros(len(cells.questions))
    for row, pair in pairs.items():
        hits[cells.row[row]], of[cells.row[row]] = _differ(*pair), 1
    return Interval.of(*statistics.rate(hits, of, cells.clusters, float(of.sum()), level))


def _differ(one: Sample, other: Sample) -> bool:
    """Returns whether two answers differ; a failed call is a change."""
    failed = one.outcome.error is not None or other.outcome.error is not None
    return failed or one.outcome.parsed != other.outcome.parsed
