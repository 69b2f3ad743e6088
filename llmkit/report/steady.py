"""The view of rows without answers: which answers change, by themselves and under noise, and what repairs do."""

from __future__ import annotations

from llmkit.conditions import Condition
from llmkit.measure.cells import NOISY, STAND
from llmkit.measure.results import Metrics
from llmkit.measure.stability_results import Stability
from llmkit.report.charts import bar
from llmkit.report.drawing import ticks
from llmkit.report.elements import Cell, Chart, Column, Grid, Series, Span, Table, Tile
from llmkit.report.notes import shown
from llmkit.report.tables import arm_cell
from llmkit.report.written import count, difference, interval_words, missing, p_value, rate, short
from llmkit.types import CLEAN

_LEAST_TOP = 0.01  # no axis of shares is shorter
_AGAIN = "by itself"


def changes(metrics: Metrics) -> Table | None:
    """Returns how often the answers of each arm change by themselves and under noise."""
    rows = [
        (
            Cell(f"{name}, {condition}"),
            rate(stable.itself),
            rate(stable.changed),
            _at_most(stable),
            Cell(f"{stable.wording.value:.3f}", hint=interval_words(stable.wording)),
            Cell(f"{stable.unclear.value:.3f}", hint=interval_words(stable.unclear)),
            _effect(stable),
        )
        for name, arm in metrics.arms.items()
        for condition in shown(metrics, arm.stability)
        if (stable := arm.stability[condition])
    ]
    names = (_AGAIN, "under noise", "wrong at most", "wording", "unclear", "effect, p")
    columns = (Column("arm, noise"), *map(Column, names))
    return Table("Answers that change", columns, tuple(rows), dense=True) if rows else None


def _at_most(stable: Stability) -> Cell:
    bound = stable.lost_at_most
    if bound is None:
        return Cell("-", emphasis="muted", hint="no bound for free text")
    return Cell(f"{bound.high:.3f}", hint=f"{bound.value:.3f} of these rows have unequal answers")


def _effect(stable: Stability) -> Cell:
    effect = stable.effect
    if effect is None:
        return Cell("-", emphasis="muted", hint="no row was asked twice, as sent and under noise")
    words = f"{effect.value:+.3f}, interval {short(effect.low, '+')} to {short(effect.high, '+')}"
    return Cell(p_value(effect.p), emphasis="best" if effect.low > 0 else "", hint=words)


def kinds(metrics: Metrics) -> Table | None:
    """Returns what it is that changes: each kind with the number of pairs of answers that differ in it."""
    rows = [
        (
            Cell(name),
            Cell(condition),
            Cell(", ".join(f"{kind} {count(pairs)}" for kind, pairs in arm.stability[condition].kinds.items())),
        )
        for name, arm in metrics.arms.items()
        for condition in shown(metrics, arm.stability)
        if condition != NOISY and arm.stability[condition].kinds
    ]
    columns = (Column("arm"), Column("noise", left=True), Column("pairs of answers by kind", words=True, left=True))
    return Table("Kinds of change", columns, tuple(rows)) if rows else None


def as_sent(metrics: Metrics) -> Table | None:
    """Returns what each repair does to the rows as they are."""
    rows = [
        (
            arm_cell(metrics, name),
            rate(arm.over_correction.altered if arm.over_correction else None),
            rate(arm.over_correction.numbers_altered if arm.over_correction else None),
            rate(arm.touched),
            rate(metrics.arms[STAND].repeated.get(CLEAN)),
        )
        for name, arm in metrics.arms.items()
        if arm.touched and STAND in metrics.arms
    ]
    names = ("texts altered", "their numbers altered", "answers touched", "stand by itself")
    title = "What each repair does to the rows as sent"
    return Table(title, (Column("arm"), *map(Column, names)), tuple(rows)) if rows else None


def repairs(metrics: Metrics) -> Table | None:
    """Returns how often a repair brings the answer back, and how often it turns one that noise had spared."""
    rows = [
        (
            Cell(name),
            Cell(condition),
            rate(repair.restored),
            rate(repair.broken),
            difference(repair.net, note="undecided" if repair.net.undecided else ""),
            Cell(p_value(repair.net.p)),
        )
        for name, arm in metrics.arms.items()
        for condition in shown(metrics, arm.repair)
        if (repair := arm.repair[condition])
    ]
    names = ("restored", "broken", "restored - broken", "p, raw")
    columns = (Column("arm"), Column("noise", left=True), *map(Column, names))
    return Table("What repairs bring back", columns, tuple(rows)) if rows else None


def answers(metrics: Metrics) -> Table:
    """Returns what the answers of each cell are like: a constant answer changes under no noise."""
    rows = []
    for name, arm in metrics.arms.items():
        for condition, cell in arm.conditions.items():
            if Condition.parse(condition).replicate > 1:
                continue
            stable = arm.stability.get(condition)
            rows.append(
                (
                    Cell(f"{name}, {condition}"),
                    Cell(count(cell.n)),
                    _bare(cell.commonest, bad=name in metrics.constant),
                    _bare(cell.refused),
                    _bare(stable.agreement if stable else None),
                    Cell(count(cell.unparsed)),
                    Cell(count(cell.errors)),
                )
            )
    names = ("rows", "commonest answer", "refusals", "AC1 with as sent", "unparsed", "failed")
    return Table("The answers", (Column("arm, condition"), *map(Column, names)), tuple(rows))


def _bare(share: float | None, *, bad: bool = False) -> Cell:
    return missing(None) if share is None else Cell(f"{share:.3f}", emphasis="bad" if bad else "")


def bars(metrics: Metrics) -> Grid | None:
    """Returns a panel of bars for each noise: what changes under it by arm, and below that what changes by itself."""
    panels = []
    conditions = dict.fromkeys(c for arm in metrics.arms.values() for c in shown(metrics, arm.stability))
    measured = [(name, arm.stability[c]) for name, arm in metrics.arms.items() for c in arm.stability]
    top = ticks(max([_LEAST_TOP, *(share.high for _, s in measured for share in (s.changed, s.itself) if share)]))[-1]
    for condition in conditions:
        series = []
        for name, arm in metrics.arms.items():
            if not (stable := arm.stability.get(condition)):
                continue
            for label, what, share in ((name, condition, stable.changed), (_AGAIN, _AGAIN, stable.itself)):
                if share:
                    words = f"{name}, {what}: {share.value:.3f} of the answers change"
                    series.append(Series(label, (bar(metrics, name, condition, share, words),)))
        panels.append(Chart("bars", tuple(series), (0.0, top / 2, top), title=condition))
    return Grid(tuple(panels)) if panels else None


def tiles(metrics: Metrics) -> list[Tile]:
    """Returns what changes by itself and under noise, what can have gone wrong at most, and what repairs bring back."""
    if not metrics.arms:
        return []
    base = STAND if STAND in metrics.arms else next(iter(metrics.arms))
    found = metrics.arms[base]
    stable = found.stability.get(NOISY)
    shown = [(f"Change by themselves, {base}", rate(stable.itself if stable else found.repeated.get(CLEAN)))]
    if stable:
        shown.append((f"Change under noise, {base}", rate(stable.changed)))
        if bound := stable.lost_at_most:
            span = Span(short(bound.value), short(bound.high))
            shown.append((f"Wrong at most, {base}", Cell(f"{bound.high:.3f}", span)))
    for name, arm in metrics.arms.items():
        if repair := arm.repair.get(NOISY):
            shown.append((f"{name}: restored less broken", difference(repair.net)))
        elif arm.touched:
            shown.append((f"{name}: answers touched", rate(arm.touched)))
    return [Tile(name, cell) for name, cell in shown if cell.span]
