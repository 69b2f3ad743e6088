"""The view of scores beside the verdicts: their means, what noise takes from them, and what arms win."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from llmkit.conditions import Condition
from llmkit.measure.arm_results import ScoreResult
from llmkit.measure.cells import NOISY
from llmkit.measure.results import Metrics
from llmkit.measure.values import Difference, Unmeasured
from llmkit.report.elements import Cell, Column, Table
from llmkit.report.notes import averages
from llmkit.report.written import difference, rate

LEAD = (
    "Scores in [0, 1] beside the verdicts, as the kind of answer and eval.scores give them. Losses and gains are "
    "paired differences on the same questions."
)
NO_LABEL = "(none)"
_MOST_FLIPS = 8  # pairs of labels that are shown of an arm under one condition
_SIDE_BY_SIDE = 7  # conditions that a narrow medium shows in one piece


def means(metrics: Metrics) -> Table | None:
    """Returns the mean of every score of every arm, under every condition."""
    conditions = [c for c in metrics.conditions if Condition.parse(c).replicate == 1]
    if averages(metrics):
        conditions.append(NOISY)
    rows = [(Cell(name), *(rate(score.conditions.get(c)) for c in conditions)) for name, score in _scores(metrics)]
    columns = (Column("arm, score"), *(Column(c, interval="below") for c in conditions))
    return Table("Scores", columns, tuple(rows), split=_SIDE_BY_SIDE) if rows else None


def losses(metrics: Metrics) -> Table | None:
    """Returns what noise takes from every score of every arm."""
    return _differences(metrics, "What noise takes from scores", {n: score.drop for n, score in _scores(metrics)})


def gains(metrics: Metrics) -> Table | None:
    """Returns what arms win over `stand` in every score."""
    return _differences(metrics, "Scores against stand", {n: score.gain for n, score in _scores(metrics)})


def turned(metrics: Metrics) -> Table | None:
    """Returns the labels that noise turns into others, the commonest first."""
    rows = []
    for arm, result in metrics.arms.items():
        for condition, flips in result.turned.items():
            for flip in flips.most[:_MOST_FLIPS]:
                names = f"{arm}, {condition}", flip.before or NO_LABEL, flip.after or NO_LABEL
                share = f"{flip.answers} of {flips.pairs}"
                rows.append((*map(Cell, names), Cell(share), Cell(str(flip.right_before))))
    columns = (
        Column("arm, noise"), Column("clean answer", left=True), Column("under noise", left=True), Column("answers"),
        Column("right before"),
    )  # fmt: skip
    return Table("Labels that noise turns into others", columns, tuple(rows)) if rows else None


def _differences(
    metrics: Metrics, title: str, measured: Mapping[str, Mapping[str, Difference | Unmeasured]]
) -> Table | None:
    conditions = [c for c in metrics.conditions if any(c in values for values in measured.values())]
    if averages(metrics):
        conditions.append(NOISY)
    rows = [(Cell(n), *(difference(values.get(c)) for c in conditions)) for n, values in measured.items() if values]
    columns = (Column("arm, score"), *(Column(c, interval="below") for c in conditions))
    return Table(title, columns, tuple(rows), split=_SIDE_BY_SIDE) if rows else None


def tables(metrics: Metrics) -> tuple[Table | None, ...]:
    """Returns all tables of scores."""
    return means(metrics), losses(metrics), gains(metrics), turned(metrics)


def _scores(metrics: Metrics) -> Iterator[tuple[str, ScoreResult]]:
    for arm, result in metrics.arms.items():
        for name, score in result.scores.items():
            yield f"{arm}, {name}", score
