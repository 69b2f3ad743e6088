"""Answers of runs without labels as flags: whether each says something else than the one to the row as sent.

What pairs runs by right and wrong answers pairs them by these flags as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from llmkit.conditions import REPLICATE
from llmkit.errors import DataError
from llmkit.measure.cells import Cell, Cells
from llmkit.measure.compared import compared
from llmkit.measure.matched import Matched
from llmkit.measure.stability import unlabelled
from llmkit.runs.samples import Sample
from llmkit.types import CLEAN


def only_changes(runs: Mapping[str, Sequence[Sample]]) -> bool:
    """Returns whether runs can be compared by changed answers only: the rows of one of them have no answers."""
    return any(unlabelled(samples) for samples in runs.values())


def flagged(runs: Mapping[str, Sequence[Sample]]) -> dict[str, list[Sample]]:
    """Returns the answers under noise, and those to rows that were sent again, with `correct` True where they changed.

    DataError for a run that has none of these.
    """
    flags = {name: _flags(samples) for name, samples in runs.items()}
    if empty := [name for name, samples in flags.items() if not samples]:
        raise DataError(
            f"no row of {' and '.join(empty)} was asked under noise or a second time",
            "runs without answers are compared by the answers that change",
        )
    return flags


def _flags(samples: Sequence[Sample]) -> list[Sample]:
    cells = Cells(samples)
    rows = Matched(cells, 0.0)
    return [
        replace(answer, outcome=replace(answer.outcome, correct=compared(answer, sent).changed))
        for arm in cells.arms
        for condition in [REPLICATE, *cells.noisy]
        for answer, sent in rows.matched(Cell(arm, condition), Cell(arm, CLEAN))
    ]
