"""The mean over several question sets (`data.tasks`), each measured by a run of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llmkit.measure.results import Metrics


@dataclass(frozen=True)
class Means:
    """Plain means over sets, each of which counts the same: the last column of Table 1 in arXiv 2506.03627.

    `accuracy` is by arm and condition, `changed` the share of questions that noise changed, by condition. None where no
    set has the condition.
    """

    sets: int
    conditions: list[str]
    accuracy: dict[str, dict[str, float | None]]
    changed: dict[str, float | None]
    dtypes: list[str | None]
    """The dtypes of the runs, each once; None for a server, which does not state its own."""


def means(measured: Sequence[Metrics]) -> Means:
    """Returns the means over the finished runs of several sets. All have the arms of the first."""
    conditions = list(measured[0].conditions)
    accuracy = {arm: {c: _mean_accuracy(measured, arm, c) for c in conditions} for arm in measured[0].arms}
    changed = {c: _mean([m.noise[c].share for m in measured if c in m.noise]) for c in conditions}
    dtypes = list(dict.fromkeys(m.engine.dtype if m.engine else None for m in measured))
    return Means(len(measured), conditions, accuracy, changed, dtypes)


def _mean_accuracy(measured: Sequence[Metrics], arm: str, condition: str) -> float | None:
    cells = [metrics.arms[arm].conditions.get(condition) for metrics in measured]
    return _mean([cell.accuracy.value for cell in cells if cell and cell.accuracy])


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
