"""The tables of a run: which rows and columns they have, and what is left out of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from llmkit.conditions import Condition
from llmkit.measure.arm_results import CellResult
from llmkit.measure.cells import NOISY, STAND
from llmkit.measure.results import GateResult, Metrics
from llmkit.measure.values import Difference, Interval, Unmeasured
from llmkit.report.elements import Cell, Column, Emphasis, Point, Table
from llmkit.report.notes import averages, changed_share
from llmkit.report.palette import colour
from llmkit.report.written import count, difference, missing, p_value, rate, short
from llmkit.types import CLEAN

ABLATION = (STAND, "correct_only", "guide_only", "rop")  # the paper's Table 4: neither stage, one of them, both
_SIDE_BY_SIDE = 7  # conditions that a narrow medium shows in one piece
_LEAST_REACH = 0.02  # differences are drawn on no shorter axis, so that chance does not look like an effect

Drawable = Difference | Unmeasured | None  # a difference, or what is in its place


def noisy_conditions(metrics: Metrics) -> list[str]:
    """Returns the conditions to choose from: the average over all noise first where it says more than one of them."""
    noisy = [c for c in metrics.conditions if Condition.parse(c).noisy]
    return [NOISY, *noisy] if averages(metrics) else noisy


def named(condition: str) -> str:
    """Returns a condition's name in a sentence."""
    return "all noise, averaged" if condition == NOISY else condition


def accuracy(metrics: Metrics) -> Table:
    """Returns the accuracy of every arm under every condition, and below it the share of questions that changed."""
    conditions = [c for c in metrics.conditions if c == CLEAN or not Condition.parse(c).clean]
    if averages(metrics):
        conditions.append(NOISY)
    rows = [(arm_cell(metrics, arm), *(_accuracy(metrics, arm, c) for c in conditions)) for arm in metrics.arms]
    shares = [Cell(changed_share(metrics, c)) for c in conditions]
    return Table(
        "Accuracy",
        (Column("arm"), *(Column(c, interval="below") for c in conditions)),
        tuple(rows),
        footer=(Cell("questions changed"), *shares),
        split=_SIDE_BY_SIDE,
    )


def effects(metrics: Metrics, condition: str = NOISY) -> Table | None:
    """Returns what each arm wins over `stand` under a condition, and what it takes from clean questions."""
    arms = {name: arm for name, arm in metrics.arms.items() if arm.gain or arm.clean_drop}
    if not arms:
        return None
    share = changed_share(metrics, condition)
    under = "" if condition == NOISY else f" under {condition}"
    title = f"Against stand{under}" + (f" (noise changed {share} of the questions)" if share else "")
    harms = {test.arm: test for test in metrics.holm if test.metric == "clean_drop"}
    tests = tests_of(metrics, "gain", [(name, condition, arm.gain.get(condition)) for name, arm in arms.items()])
    rows = []
    for (name, arm), p in zip(arms.items(), tests.cells, strict=True):
        gain, harm, over = arm.gain.get(condition), arm.clean_drop, arm.over_correction
        tested = f"p, Holm {p_value(harms[name].adjusted)}" if name in harms else ""
        harmful: Emphasis = "bad" if isinstance(harm, Difference) and harm.low > 0 else ""
        rows.append(
            (
                arm_cell(metrics, name),
                _drawn(metrics, name, gain),
                difference(gain),
                difference(arm.recovery.get(condition), plus=False),
                difference(harm, note=tested, emphasis=harmful),
                rate(over.altered if over else None),
                p,
            )
        )
    columns = (
        Column("arm", note_width=14),
        Column("", drawing="difference"),
        Column(f"gain under {'noise' if condition == NOISY else condition}"),
        Column("recovery"),
        Column("clean accuracy lost"),
        Column("clean altered", interval="bare"),
        Column(tests.title, wide=True),
    )
    drawn = [d for arm in arms.values() for d in (arm.gain.get(condition), arm.clean_drop)]
    return Table(title, columns, tuple(rows), reach=_reach(drawn))


def losses_of(metrics: Metrics, name: str) -> Table:
    """Returns what noise takes from one arm, a row for each condition."""
    drop = metrics.arms[name].drop
    # The average of one kind of noise is that kind.
    conditions = [c for c in drop if c != NOISY or len(drop) != 2]
    rows = [(Cell(condition), name, condition) for condition in conditions]
    return _losses(metrics, "noise", rows, f"Loss of {name}")


def losses_under(metrics: Metrics, condition: str) -> Table:
    """Returns what noise of one condition takes from each arm."""
    arms = [name for name, arm in metrics.arms.items() if condition in arm.drop]
    rows = [(Cell(name), name, condition) for name in arms]
    return _losses(metrics, "arm", rows, f"Loss of accuracy under {named(condition)}")


def _losses(metrics: Metrics, first: str, places: Sequence[tuple[Cell, str, str]], title: str) -> Table:
    tests = tests_of(metrics, "drop", [(arm, c, metrics.arms[arm].drop[c]) for _, arm, c in places])
    rows = []
    for (label, name, condition), p in zip(places, tests.cells, strict=True):
        drop, flips = metrics.arms[name].drop[condition], metrics.arms[name].flips.get(condition)
        ways = (flips.right_to_wrong, flips.wrong_to_right) if flips else (None, None)
        rows.append(
            (
                label,
                Cell(changed_share(metrics, condition)),
                _drawn(metrics, name, drop),
                difference(drop),
                difference(drop.relative, plus=False),
                *(rate(way) if way is None or way.of else Cell(hint="no such answers") for way in ways),
                p,
            )
        )
    names = ("loss", "relative loss", "right to wrong", "wrong to right", tests.title)
    columns = (Column(first), Column("changed"), Column("", drawing="difference"), *map(Column, names))
    drawn = [drop for arm in metrics.arms.values() for drop in arm.drop.values()]
    return Table(title, columns, tuple(rows), reach=_reach(drawn), dense=True)


def ablation(metrics: Metrics) -> Table | None:
    """Returns accuracy with neither stage, each alone and both; None where one of the four arms is missing."""
    if any(arm not in metrics.arms for arm in ABLATION):
        return None
    gains = metrics.arms["rop"].gain
    conditions = [
        c
        for c in metrics.conditions
        if Condition.parse(c).noisy and all(accuracy_of(metrics, arm, c) for arm in ABLATION)
    ]
    tests = tests_of(metrics, "gain", [("rop", c, gains.get(c)) for c in conditions])
    rows = []
    for condition, p in zip(conditions, tests.cells, strict=True):
        values = [measured for arm in ABLATION if (measured := accuracy_of(metrics, arm, condition))]
        best = max(measured.value for measured in values)
        cells = [rate(measured, emphasis="best" if measured.value == best else "") for measured in values]
        share = Cell(changed_share(metrics, condition))
        rows.append((Cell(condition), share, *cells, difference(gains.get(condition)), p))
    stages = ("neither", "correct only", "guide only", "both (rop)")
    columns = (
        Column("noise"),
        Column("changed"),
        *(Column(stage, interval="omitted") for stage in stages),
        Column("both - neither"),
        Column(tests.title),
    )
    caption = "Accuracy by stage; the highest of a row is bold"
    return Table("Ablation", columns, tuple(rows), caption=caption, dense=True)


def cost(metrics: Metrics) -> Table:
    """Returns what the answers of each arm cost, and how many of them could not be used."""
    priced = any(cell.price is not None for arm in metrics.arms.values() for cell in arm.conditions.values())
    rows = []
    for name in metrics.arms:
        cells, timing = single_cells(metrics, name), metrics.timing.get(name, {}).values()
        prompt = sum(cell.tokens.prompt for cell in cells)
        seconds = engine_seconds(metrics, name)
        outcomes = max(sum(cell.outcomes for cell in cells), 1)
        rows.append(
            (
                Cell(name),
                Cell(count(sum(cell.calls for cell in cells))),
                Cell(count(sum(t.cached_calls for t in timing))),
                Cell(count(prompt)),
                Cell(f"{sum(t.prefix_cached_tokens for t in timing) / max(prompt, 1):.0%}"),
                Cell(count(sum(cell.tokens.completion for cell in cells))),
                missing(Unmeasured(reason="no answer came from the model"))
                if seconds is None
                else Cell(f"{seconds / outcomes:,.2f}"),
                *([Cell(f"{sum(cell.price or 0 for cell in cells):.4f}")] if priced else []),
                Cell(count(sum(cell.unparsed for cell in cells))),
                Cell(count(sum(cell.cut for cell in cells))),
                Cell(count(sum(cell.errors for cell in cells))),
            )
        )
    names = ("prompt", "cached", "generated", "s/answer", *(["price"] if priced else []), "unparsed", "cut", "errors")
    columns = (Column("arm"), Column("calls"), Column("calls from cache", wide=True), *map(Column, names))
    return Table("Cost", columns, tuple(rows), caption="Totals over all conditions", dense=priced)


def gates(results: Sequence[GateResult]) -> Table | None:
    """Returns the verdict of each gate; None where there are none."""
    rows = []
    for result in results:
        if result.value is None:
            measured, interval = Cell(), Cell(result.reason or "")
        else:
            measured = Cell(f"{result.value:.3f}")
            interval = Cell(f"[{result.low:.3f}, {result.high:.3f}]", note=result.reason or "")
        rows.append((Cell(result.gate), measured, interval, Cell(result.verdict, emphasis=result.verdict)))
    columns = (Column("gate"), Column("measured"), Column("interval", words=True, note_width=100), Column("verdict"))
    return Table("Gates", columns, tuple(rows)) if rows else None


def arm_cell(metrics: Metrics, name: str) -> Cell:
    """Returns an arm's name with what a reader must know of it."""
    return Cell(name, note=metrics.arms[name].mark or "")


def accuracy_of(metrics: Metrics, name: str, condition: str) -> Interval | None:
    """Returns an arm's accuracy under a condition; None where it was not asked."""
    cell = metrics.arms[name].conditions.get(condition)
    return cell.accuracy if cell else None


def single_cells(metrics: Metrics, name: str) -> list[CellResult]:
    """Returns an arm's conditions without the average over some of them."""
    return [cell for condition, cell in metrics.arms[name].conditions.items() if condition != NOISY]


def engine_seconds(metrics: Metrics, name: str) -> float | None:
    """Returns the time that the engine worked for an arm; None where nothing is known of it."""
    seconds = [t.engine_seconds for t in metrics.timing.get(name, {}).values() if t.engine_seconds is not None]
    return sum(seconds) if seconds else None


@dataclass(frozen=True, slots=True)
class Tests:
    """A column of p-values: adjusted ones where the recipe declares such comparisons, and raw ones called so."""

    title: str
    cells: tuple[Cell, ...]


def tests_of(metrics: Metrics, metric: Literal["gain", "drop"], places: Sequence[tuple[str, str, Drawable]]) -> Tests:
    """Returns the p-values of differences, each given with its arm and condition.

    Where p-value and interval disagree, the cell says "undecided": the verdict is the interval's.
    """
    adjusted = {(test.arm, test.condition): test for test in metrics.holm if test.metric == metric}
    declared = [adjusted.get((arm, condition)) for arm, condition, _ in places]
    raw = " raw" if any(declared) else ""
    cells = []
    for test, (_, _, measured) in zip(declared, places, strict=True):
        difference = measured if isinstance(measured, Difference) else None
        text = p_value(test.adjusted) if test else f"{p_value(difference.p)}{raw}" if difference else ""
        note = "undecided" if difference and difference.undecided else ""
        cells.append(Cell(text, note=note, emphasis="best" if test and test.significant else ""))
    return Tests("p, Holm" if any(declared) else "p, raw", tuple(cells))


def _accuracy(metrics: Metrics, name: str, condition: str) -> Cell:
    measured = accuracy_of(metrics, name, condition)
    return rate(measured) if measured else Cell()


def _drawn(metrics: Metrics, name: str, measured: Drawable) -> Cell:
    if not isinstance(measured, Difference):
        return Cell()
    words = f"{measured.value:+.3f}, interval {short(measured.low, '+')} to {short(measured.high, '+')}"
    where = Point(measured.value, measured.low, measured.high, colour(metrics, name), words=words)
    return Cell(drawn=(where,))


def _reach(measured: Iterable[Drawable]) -> float:
    """Returns the end of an axis around 0 that has room for all intervals."""
    ends = [abs(end) for one in measured if isinstance(one, Difference) for end in (one.low, one.high)]
    return max([_LEAST_REACH, *ends])
