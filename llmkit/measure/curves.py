"""Accuracy along the strength of noise, and gains under noise that tuning never saw."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from llmkit.conditions import Condition
from llmkit.measure.cells import STAND, Cell, Cells, Weights, estimate, interval
from llmkit.measure.statistics import Estimate
from llmkit.types import CLEAN

Estimates = Mapping[Hashable, Estimate | None]


def areas(cells: Cells, arm: str) -> dict[str, Weights]:
    """operator -> the weights of the area under its accuracy curve, divided by the range of strengths."""
    found = {}
    for operator, points in _points(cells, arm).items():
        rates = [rate for rate, _ in points]
        weights: dict[Cell, float] = {}
        for i, (_, condition) in enumerate(points):
            left = rates[i] - rates[i - 1] if i else 0.0
            right = rates[i + 1] - rates[i] if i + 1 < len(rates) else 0.0
            weights[arm, condition] = (left + right) / 2 / (rates[-1] - rates[0])
        found[operator] = weights
    return found


def _points(cells: Cells, arm: str) -> dict[str, list[tuple[float, str]]]:
    """operator -> [(strength, condition)], from clean at 0 upward; operators with one strength are no curve."""
    curves: dict[str, dict[float, str]] = {}
    for condition in cells.conditions:
        if (stated := Condition.parse(condition).strength) and (arm, condition) in cells.samples:
            curves.setdefault(stated[0], {})[stated[1]] = condition
    for points in curves.values():
        if (arm, CLEAN) in cells.samples:
            points.setdefault(0.0, CLEAN)
    return {op: sorted(points.items()) for op, points in curves.items() if len(set(points.values()) - {CLEAN}) > 1}


def curves(cells: Cells, estimates: Estimates, arm: str, level: float) -> dict[str, Any]:
    found = {}
    for operator, points in _points(cells, arm).items():
        area = estimates.get(("area", arm, operator))
        line = [{"strength": rate, "accuracy": cells.accuracy(arm, c, level)} for rate, c in points]
        found[operator] = {"points": line, "area": area and estimate(area)}
    return found


def holdout_gains(cells: Cells, arm: str) -> dict[tuple[str, str], Any]:
    """(kind held out, condition) -> (Q,) this arm minus `stand`."""
    found = {}
    for (name, condition, out), group in cells.held.items():
        stand = cells.contrast({(STAND, condition): 1.0})
        if name == arm and stand is not None and condition in cells.noisy:
            found[out, condition] = cells.mean_of(group) - stand
    return found


def holdout(estimates: Estimates, arm: str) -> dict[str, Any]:
    """Rows: the kind of noise that tuning never saw. Columns: the kind asked. Gain over `stand`."""
    rows: dict[str, Any] = {}
    for name, found in estimates.items():
        if name[0] == "holdout" and name[1] == arm and found is not None:
            rows.setdefault(name[2], {})[name[3]] = interval(found.value, found.low, found.high)
    return rows
