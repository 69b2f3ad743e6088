"""The tables of paired changes: of several prompts of the user's own, and of a run since a stored one."""

from __future__ import annotations

from llmkit.conditions import Condition
from llmkit.measure.arm_results import ArmResult
from llmkit.measure.cells import NOISY
from llmkit.measure.results import Baseline, Metrics
from llmkit.measure.values import Change
from llmkit.report.elements import Cell, Column, Table
from llmkit.report.notes import averages
from llmkit.report.written import p_value, rate
from llmkit.types import CLEAN


def side_by_side(metrics: Metrics) -> Table | None:
    """Returns the accuracy of every arm under every prompt; for rows without answers, how often its answers change."""
    if not metrics.prompts:
        return None
    by_prompt = {metrics.prompt or "": metrics.arms} | {name: r.arms for name, r in metrics.prompts.items()}
    places = [(prompt, arm, result) for prompt, arms in by_prompt.items() for arm, result in arms.items()]
    conditions = [c for c in metrics.conditions if c == CLEAN or not Condition.parse(c).clean]
    if averages(metrics):
        conditions.append(NOISY)
    if any(result.stability for _, _, result in places):
        conditions = [c for c in conditions if any(c in result.stability for _, _, result in places)]
        what = "share of rows whose answer changes under noise"
    else:
        what = "accuracy"
    rows = [
        (Cell(prompt), Cell(arm), *(_measured(result, condition) for condition in conditions))
        for prompt, arm, result in places
    ]
    columns = (Column("prompt"), Column("arm", left=True), *(Column(c, interval="below") for c in conditions))
    return Table(f"Prompts: {what} (tables without a prompt: {metrics.prompt})", columns, tuple(rows))


def changes(metrics: Metrics) -> Table | None:
    """Returns what each further prompt changes against the first, on the same questions."""
    rows = [
        (Cell(prompt), *row)
        for prompt, result in metrics.prompts.items()
        for row in (_changes(result.changes) if result.changes else ())
    ]
    if not rows:
        return None
    against = "the stored run" if metrics.baseline else metrics.prompt
    return Table(f"Prompts against {against}", (Column("prompt"), *_columns(metrics)), tuple(rows))


def since(metrics: Metrics) -> Table | None:
    """Returns what changed since the stored run, on the same questions; None where there is none."""
    if not metrics.baseline:
        return None
    left_out = f"; {metrics.baseline.left_out} with other texts left out" if metrics.baseline.left_out else ""
    title = f"Since the stored run, on {metrics.baseline.questions} questions{left_out}"
    return Table(title, _columns(metrics), tuple(_changes(metrics.baseline)))


def _columns(metrics: Metrics) -> tuple[Column, ...]:
    what = "answers that change" if metrics.unlabelled else "accuracy"
    names = ("change", "interval", "better", "worse", "p")
    return (Column("arm", left=True), Column(what, left=True), *map(Column, names))


def _changes(stored: Baseline) -> list[tuple[Cell, ...]]:
    """Returns a row for each arm and what is compared in it."""
    rows = []
    for arm, changed in stored.arms.items():
        rows += [_change(arm, c, change) for c, change in changed.accuracy_change.items()]
        rows += [_change(arm, f"drop, {c}", change) for c, change in changed.drop_change.items()]
        rows += [_change(arm, c, change, bad=1) for c, change in changed.changed_change.items()]
    return rows


def _measured(result: ArmResult, condition: str) -> Cell:
    if result.stability:
        stable = result.stability.get(condition)
        return rate(stable.changed) if stable else Cell()
    cell = result.conditions.get(condition)
    return rate(cell.accuracy) if cell else Cell()


def _change(arm: str, what: str, change: Change, bad: int = -1) -> tuple[Cell, ...]:
    """Returns the row of a change; `bad` is the sign of one that is worse than before."""
    worse = (change.high < 0 if bad < 0 else change.low > 0) and not what.startswith("drop")
    return (
        Cell(arm),
        Cell(what),
        Cell(f"{change.value:+.3f}", emphasis="bad" if worse else ""),
        Cell(f"[{change.low:+.3f}, {change.high:+.3f}]"),
        *(Cell("" if count is None else str(count)) for count in (change.better, change.worse)),
        Cell(p_value(change.p), note="undecided" if change.undecided else ""),
    )
