"""The view of what a model prefers as judge. The sentences about it are in notes.py."""

from __future__ import annotations

from collections.abc import Mapping

from llmkit.measure.judged_results import Preferred
from llmkit.measure.results import Metrics
from llmkit.report.elements import Cell, Column, Table
from llmkit.report.notes import shown
from llmkit.report.written import count, difference


def preferred(metrics: Metrics) -> list[Table]:
    """Returns the tables of what the judge prefers: answers to rows as sent over those under noise, and each arm's over
    those of `stand`; none where no judge was asked."""
    if metrics.judge is None:
        return []
    drops = {name: arm.judged_drop for name, arm in metrics.arms.items() if arm.judged_drop}
    gains = {name: arm.judged_gain for name, arm in metrics.arms.items() if arm.judged_gain}
    losses = _table(metrics, drops, "The judge prefers answers as sent", ("as sent", "under noise"))
    wins = _table(metrics, gains, "The judge prefers answers of the arm", ("the arm's", "stand's"))
    return [table for table in (losses, wins) if table]


def _table(
    metrics: Metrics, measured: Mapping[str, Mapping[str, Preferred]], title: str, sides: tuple[str, str]
) -> Table | None:
    rows = [
        (
            Cell(f"{name}, {condition}"),
            *(Cell(count(number)) for number in (value.pairs, value.better, value.worse, value.tied, value.none)),
            difference(value),
        )
        for name, by_condition in measured.items()
        for condition in shown(metrics, by_condition)
        if (value := by_condition[condition])
    ]
    names = ("pairs", f"{sides[0]} better", f"{sides[1]} better", "tie", "no verdict", "preferred")
    return Table(title, (Column("arm, noise"), *map(Column, names)), tuple(rows), dense=True) if rows else None
