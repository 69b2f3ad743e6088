"""The charts of a run: which points they have, and the sentences for whoever does not see them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from llmkit.conditions import Condition
from llmkit.measure.cells import NOISY, STAND
from llmkit.measure.results import Metrics
from llmkit.measure.values import Interval
from llmkit.report.drawing import ticks
from llmkit.report.elements import Chart, Choice, Grid, Mark, Option, Point, Series
from llmkit.report.notes import averages, changed_share
from llmkit.report.palette import colour
from llmkit.report.tables import accuracy_of, engine_seconds, noisy_conditions, single_cells
from llmkit.report.written import figures, interval_words
from llmkit.types import CLEAN

_LEAST_TOP = 0.01  # no axis of accuracies is shorter


def accuracy_bars(metrics: Metrics) -> Chart | Grid:
    """Returns a panel of bars for each condition; of a single arm, one panel with a bar for each condition."""
    noisy = [c for c in metrics.conditions if not Condition.parse(c).clean]
    conditions = [
        *(c for c in metrics.conditions if c == CLEAN),
        *([NOISY] if averages(metrics) else []),
        *noisy,
    ]
    measured = [(a, c, accuracy) for c in conditions for a in metrics.arms if (accuracy := accuracy_of(metrics, a, c))]
    top = ticks(max([_LEAST_TOP, *(accuracy.high for _, _, accuracy in measured)]))[-1]

    def panel(title: str, note: str, bars: list[tuple[str, str, str]]) -> Chart:
        series = tuple(
            Series(label, (_bar(metrics, arm, condition, accuracy),))
            for label, arm, condition in bars
            if (accuracy := accuracy_of(metrics, arm, condition))
        )
        return Chart("bars", series, (0.0, top / 2, top), title=title, note=note, marks=_marks(metrics))

    if len(metrics.arms) == 1:
        (arm,) = metrics.arms
        return panel(arm, "", [(c, arm, c) for c in conditions])
    return Grid(tuple(panel(c, _note(metrics, c), [(arm, arm, c) for arm in metrics.arms]) for c in conditions))


def _bar(metrics: Metrics, arm: str, condition: str, accuracy: Interval) -> Point:
    return bar(metrics, arm, condition, accuracy, f"{arm} under {condition}: accuracy {accuracy.value:.3f}")


def bar(metrics: Metrics, arm: str, condition: str, share: Interval, what: str) -> Point:
    """Returns the bar of a share in the arm's colour; to choose it shows the arm's answers under the condition."""
    return Point(
        share.value,
        share.low,
        share.high,
        colour(metrics, arm),
        text=f"{share.value:.3f}",
        words=f"{what}, interval {interval_words(share)}. Show these answers.",
        answers=(arm, "" if condition == NOISY else condition),
    )


def _marks(metrics: Metrics) -> tuple[Mark, ...]:
    """Returns the accuracy of `stand` on clean questions, and the rate of guessing."""
    clean = accuracy_of(metrics, STAND, CLEAN) if STAND in metrics.arms else None
    reference = (Mark(clean.value, "reference"),) if clean else ()
    return reference + ((Mark(metrics.chance, "chance"),) if metrics.chance else ())


def _note(metrics: Metrics, condition: str) -> str:
    """Returns the note of a panel on its noise: how strong it is, and how many questions it changed."""
    cells = [arm.conditions[condition] for arm in metrics.arms.values() if condition in arm.conditions]
    strength = next((cell.strength for cell in cells if cell.strength), None)
    if condition == NOISY:
        words = "average over all noise"
    else:
        words = f"{100 * strength:.0f} % of words changed" if strength else ""
    share = changed_share(metrics, condition)
    return ", ".join(part for part in (words, f"in {share} of the questions" if share else "") if part)


def strength_curves(metrics: Metrics) -> Grid | None:
    """Returns a chart for each kind of noise that was asked at several strengths."""
    operators = dict.fromkeys(op for arm in metrics.arms.values() for op in arm.curves)
    charts = tuple(chart for operator in operators if (chart := _curve(metrics, operator)))
    return Grid(charts, wide=True) if charts else None


def _curve(metrics: Metrics, operator: str) -> Chart | None:
    series = []
    for name, arm in metrics.arms.items():
        measured = arm.curves[operator].points if operator in arm.curves else ()
        points = tuple(
            Point(
                point.accuracy.value,
                point.accuracy.low,
                point.accuracy.high,
                colour(metrics, name),
                x=point.strength,
                words=f"{name} at {point.strength:g}: {point.accuracy.value:.3f} ({interval_words(point.accuracy)})",
            )
            for point in measured
            if point.accuracy
        )
        if points:
            series.append(Series(name, points))
    if not series:
        return None
    everything = [point for one in series for point in one.points]
    ends = "; ".join(f"{s.name} from {s.points[0].value:.2f} to {s.points[-1].value:.2f}" for s in series)
    return Chart(
        "lines",
        tuple(series),
        ticks(max([_LEAST_TOP, *(point.high for point in everything)])),
        x_ticks=tuple(sorted({point.x for point in everything})),
        title=operator,
        x_name=f"strength of {operator}",
        words=f"Accuracy by strength of {operator}: {ends}",
    )


@dataclass(frozen=True, slots=True)
class _Spent:
    """The cost of all answers of one arm."""

    outcomes: int
    calls: int
    prompt: int
    completion: int
    seconds: float | None
    price: float | None


_Way = tuple[str, Callable[[_Spent], float | None]]
_WAYS: Mapping[str, _Way] = {
    "tokens": ("tokens for each answer", lambda spent: spent.prompt + spent.completion),
    "generated": ("generated tokens for each answer", lambda spent: spent.completion),
    "calls": ("calls for each answer", lambda spent: spent.calls),
    "seconds": ("engine seconds for each answer", lambda spent: spent.seconds),
    "price": ("price of 1,000 answers", lambda spent: None if spent.price is None else 1000 * spent.price),
}


def accuracy_by_cost(metrics: Metrics) -> Choice | None:
    """Returns accuracy against what it costs, by one of several ways to count it; None where there is one arm."""
    spent = {name: _spent(metrics, name) for name in metrics.arms}
    options = [
        Option(way, label, chart)
        for way, (label, amount) in _WAYS.items()
        if (chart := _cost_chart(metrics, spent, label, amount))
    ]
    return Choice("cost-by", "By", tuple(options)) if options and len(spent) > 1 else None


def _spent(metrics: Metrics, name: str) -> _Spent:
    cells = single_cells(metrics, name)
    prices = [cell.price for cell in cells if cell.price is not None]
    return _Spent(
        max(sum(cell.outcomes for cell in cells), 1),
        sum(cell.calls for cell in cells),
        sum(cell.tokens.prompt for cell in cells),
        sum(cell.tokens.completion for cell in cells),
        engine_seconds(metrics, name),
        sum(prices) if prices else None,
    )


def _cost_chart(
    metrics: Metrics, spent: Mapping[str, _Spent], label: str, amount: Callable[[_Spent], float | None]
) -> Chart | None:
    where = cost_condition(metrics)
    series = []
    for name, sums in spent.items():
        total, accuracy = amount(sums), accuracy_of(metrics, name, where)
        if total is None or accuracy is None:
            continue
        x = total / sums.outcomes
        text = f"{accuracy.value:.3f} at {figures(x)}"
        words = f"{name}: {accuracy.value:.3f} ({interval_words(accuracy)}) at {figures(x)}"
        point = Point(accuracy.value, accuracy.low, accuracy.high, colour(metrics, name), x=x, text=text, words=words)
        series.append(Series(name, (point,)))
    if not series:
        return None
    series.sort(key=lambda one: -one.points[0].value)
    points = [one.points[0] for one in series]
    shown = "; ".join(f"{one.name} {one.points[0].value:.2f} at {figures(one.points[0].x)}" for one in series)
    return Chart(
        "points",
        tuple(series),
        ticks(max([_LEAST_TOP, *(point.high for point in points)])),
        x_ticks=ticks(max(point.x for point in points) or 1.0),
        x_name=label,
        words=f"Accuracy under {where} against {label}: {shown}",
    )


def cost_condition(metrics: Metrics) -> str:
    """Returns the condition whose accuracy is compared with cost: all noise where there is some."""
    return next(iter(noisy_conditions(metrics)), CLEAN)
