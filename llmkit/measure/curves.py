"""Accuracy along the strength of noise, and gains under noise that tuning never saw."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmkit.conditions import Condition
from llmkit.measure.arm_results import Curve, CurvePoint
from llmkit.measure.cells import STAND, Cell, Cells, Weights
from llmkit.measure.contrasts import Contrast, Means
from llmkit.measure.values import Estimate, Interval
from llmkit.types import CLEAN

if TYPE_CHECKING:
    from llmkit.measure.statistics import Floats


def areas(cells: Cells, arm: str) -> dict[str, Weights]:
    """Returns operator -> the weights of the area under its accuracy curve, divided by the range of strengths.

    The trapezoidal rule is a weighted sum of the points, so the area gets the interval of any other contrast.
    """
    areas: dict[str, Weights] = {}
    for operator, points in _points(cells, arm).items():
        rates = [rate for rate, _ in points]
        weights: dict[Cell, float] = {}
        for i, (_, condition) in enumerate(points):
            left = rates[i] - rates[i - 1] if i else 0.0
            right = rates[i + 1] - rates[i] if i + 1 < len(rates) else 0.0
            weights[Cell(arm, condition)] = (left + right) / 2 / (rates[-1] - rates[0])
        areas[operator] = weights
    return areas


def _points(cells: Cells, arm: str) -> dict[str, list[tuple[float, str]]]:
    """Returns operator -> [(strength, condition)], from clean at 0 upward; one strength alone is no curve."""
    curves: dict[str, dict[float, str]] = {}
    for condition in cells.conditions:
        if (stated := Condition.parse(condition).strength) and Cell(arm, condition) in cells.samples:
            curves.setdefault(stated[0], {})[stated[1]] = condition
    for points in curves.values():
        if Cell(arm, CLEAN) in cells.samples:
            points.setdefault(0.0, CLEAN)
    return {op: sorted(points.items()) for op, points in curves.items() if len(set(points.values()) - {CLEAN}) > 1}


def curves(cells: Cells, means: Means, arm: str, level: float) -> dict[str, Curve]:
    """Returns operator -> accuracy at each strength, and the area under it."""
    return {
        operator: Curve(
            points=tuple(
                CurvePoint(strength=rate, accuracy=cells.accuracy(Cell(arm, condition), level))
                for rate, condition in points
            ),
            area=Estimate.from_mean(mean) if (mean := means.get(Contrast("area", arm, operator))) else None,
        )
        for operator, points in _points(cells, arm).items()
    }


def holdout_gains(cells: Cells, arm: str) -> dict[tuple[str, str], Floats]:
    """Returns (kind held out, condition) -> (Q,) this arm minus `stand`."""
    gains = {}
    for (cell, held_out), group in cells.held_out.items():
        stand = cells.contrast({Cell(STAND, cell.condition): 1.0})
        if cell.arm == arm and stand is not None and cell.condition in cells.noisy:
            gains[held_out, cell.condition] = cells.mean_of(group) - stand
    return gains


def holdout(means: Means, arm: str) -> dict[str, dict[str, Interval]]:
    """Returns the gain over `stand` by kind of noise that tuning never saw, then by condition asked."""
    gains: dict[str, dict[str, Interval]] = {}
    for name, mean in means.items():
        if name.kind == "holdout" and name.arm == arm and mean is not None:
            gains.setdefault(name.held_out, {})[name.condition] = Interval.of(mean.value, mean.low, mean.high)
    return gains
