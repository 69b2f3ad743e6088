"""The view of what an application retrieved: how far the documents agree under noise, and which answers change then."""

from __future__ import annotations

from collections.abc import Iterator

from llmkit.measure.results import Metrics
from llmkit.measure.retrieval_results import ChangedAmong, Retrieval
from llmkit.report.elements import Cell, Column, Table
from llmkit.report.notes import shown
from llmkit.report.written import count, difference, interval_words, rate

LEAD = (
    "What was retrieved as sent and under noise. overlap@k is the share of the first k documents that both lists have: "
    "of k, or of the longer list where both are shorter; 1 where both are empty. By itself: for one text, asked twice. "
    "Same: the same documents in the same order."
)


def overlaps(metrics: Metrics) -> Table | None:
    """Returns the overlap of what was retrieved as sent and under each noise, with that for one text asked twice."""
    measured = list(_measured(metrics))
    # Where no list is longer than a depth, all of them is the same.
    depths = [
        depth
        for depth in (measured[0][1].overlap if measured else ())
        if depth == "all" or any(found.overlap[depth] != found.overlap["all"] for _, found in measured)
    ]
    rows = []
    for name, found in measured:
        at_depths = [found.overlap[depth] for depth in depths]
        rows.append((Cell(name), *(rate(overlap.noise) for overlap in at_depths)))
        if any(overlap.itself for overlap in at_depths):
            rows.append((Cell("  by itself"), *(rate(overlap.itself) for overlap in at_depths)))
        if any(overlap.lost for overlap in at_depths):
            rows.append((Cell("  lost"), *(difference(overlap.lost) for overlap in at_depths)))
    names = [depth if depth == "all" else f"@{depth}" for depth in depths]
    columns = (Column("arm, noise"), *map(Column, names))
    return Table("Overlap of documents", columns, tuple(rows), dense=True) if rows else None


def answers(metrics: Metrics) -> Table | None:
    """Returns how often answers change although the documents are the same, and where they are others."""
    rows = [
        (
            Cell(name),
            Cell(count(found.n)),
            rate(found.same),
            Cell(f"{found.none.value:.3f}", hint=interval_words(found.none)),
            _changed(found.changed_same),
            _changed(found.changed_other),
        )
        for name, found in _measured(metrics)
    ]
    names = ("rows", "same", "none found", "changed if same", "changed if not")
    columns = (Column("arm, noise"), *map(Column, names))
    return Table("Answers that change, by what was retrieved", columns, tuple(rows), dense=True) if rows else None


def _changed(among: ChangedAmong) -> Cell:
    if among.changed is None:
        return Cell("-", emphasis="muted", hint="no such pair of answers")
    ends = rate(among.changed)
    return Cell(ends.text, ends.span, hint=f"of {count(among.pairs)} pairs of answers")


def _measured(metrics: Metrics) -> Iterator[tuple[str, Retrieval]]:
    for name, arm in metrics.arms.items():
        for condition in shown(metrics, arm.retrieval):
            yield f"{name}, {condition}", arm.retrieval[condition]
