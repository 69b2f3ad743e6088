"""Gates: a measured value must clear a limit. Pass, fail or undecided; docs/gates.md has the rules."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from llmkit.errors import GateFailed, GateUndecided, RecipeError, UsageError
from llmkit.evaluate import statistics
from llmkit.evaluate.cells import NOISY, is_noisy
from llmkit.recipe.schema import Gate
from llmkit.registry import unknown
from llmkit.types import CLEAN

Verdict = Literal["pass", "fail", "undecided"]
EACH = "each"  # a gate with this condition is one gate for every noisy condition

# metric -> the condition it stands for where a gate names none; None where it has none
METRICS: dict[str, str | None] = {
    "accuracy": CLEAN,
    "drop": NOISY,
    "relative_drop": NOISY,
    "gain": NOISY,
    "recovery": NOISY,
    "clean_drop": None,
    "right_to_wrong": NOISY,
    "wrong_to_right": NOISY,
    "over_correction": None,
    "accuracy_change": CLEAN,
    "drop_change": NOISY,
}
AGAINST_BASELINE = ("accuracy_change", "drop_change")
_NOT_OF_STAND = ("gain", "recovery", "clean_drop")
_MOST_QUESTIONS = 10_000_000
_FORM = re.compile(r"\s*([\w.-]+)(?:@(.+?))?\s*(>=|<=)\s*(-?[\d.]+(?:e-?\d+)?)\s*(low|point|high)?\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class GateResult:
    """One gate under one condition: what was measured, and what follows."""

    gate: str
    metric: str
    condition: str | None
    bound: str
    verdict: Verdict
    value: float | None
    low: float | None
    high: float | None
    reason: str | None = None

    def row(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def parse(text: str) -> dict[str, Any]:
    """A gate as written on a command line, as the recipe holds it.

    >>> parse("rop.gain@ec >= 0.05 low")
    {'metric': 'rop.gain', 'condition': 'ec', 'min': 0.05, 'bound': 'low'}
    """
    found = _FORM.fullmatch(text)
    if not found:
        raise UsageError(f"cannot read the gate `{text}`", 'write it like "rop.gain@ec >= 0.05 low"')
    metric, condition, sign, limit, bound = found.groups()
    gate: dict[str, Any] = {"metric": metric}
    if condition:
        gate["condition"] = condition
    try:
        gate["min" if sign == ">=" else "max"] = float(limit)
    except ValueError:
        raise UsageError(f"`{limit}` in the gate `{text}` is no number") from None
    return gate | ({"bound": bound.lower()} if bound else {})


def describe(gate: Gate, condition: str | None) -> str:
    """A gate in one line, in the form that `parse` reads."""
    sign, limit = (">=", gate.min) if gate.min is not None else ("<=", gate.max)
    return f"{gate.metric}{f'@{condition}' if condition else ''} {sign} {limit:g} {gate.bound}"


def validate(gates: Sequence[Gate], arms: Sequence[str], conditions: Sequence[str], *, baseline: bool) -> None:
    """UsageError, with the nearest valid names, for a gate on a metric, arm or condition that a run will not have."""
    for gate in gates:
        arm, _, metric = gate.metric.rpartition(".")
        if metric not in METRICS or not arm:
            raise unknown("gate metric", gate.metric, [f"{a}.{m}" for a in arms for m in METRICS])
        if arm not in arms:
            raise unknown("arm in the gate", gate.metric, [f"{a}.{metric}" for a in arms])
        if arm == "stand" and metric in _NOT_OF_STAND:
            raise UsageError(f"gate `{gate.metric}`: `{metric}` is measured against `stand`", "name another arm")
        if gate.condition and METRICS[metric] is None:
            raise UsageError(f"gate `{gate.metric}` takes no condition: it is about clean questions")
        if gate.condition and gate.condition not in (known := [*conditions, CLEAN, NOISY, EACH]):
            raise unknown(f"condition in the gate `{gate.metric}`", gate.condition, known)
        if metric in AGAINST_BASELINE and not baseline:
            raise UsageError(f"gate `{gate.metric}` needs a stored run to compare with", "name one with --baseline RUN")


def evaluate(gates: Sequence[Gate], metrics: Mapping[str, Any]) -> list[GateResult]:
    """Every gate, once for each condition it stands for, against a run's metrics."""
    validate(gates, list(metrics["arms"]), metrics["conditions"], baseline=bool(metrics.get("baseline")))
    results = []
    for gate in gates:
        for condition in _conditions(gate, metrics["conditions"]):
            reason = metrics["unmeasured"].get(condition)
            found = {"reason": reason} if reason else _find(gate, condition, metrics)
            value, low, high = (found.get(key) for key in ("value", "low", "high"))
            outcome: Verdict = "undecided" if value is None else verdict(gate, value, low, high)
            reason = found.get("reason") if value is None else None
            text = describe(gate, condition)
            results.append(GateResult(text, gate.metric, condition, gate.bound, outcome, value, low, high, reason))
    return results


def verdict(gate: Gate, value: float, low: float, high: float) -> Verdict:
    """What a value with its interval says of a gate.

    The end that `bound` names must clear the limit. Where that is the careful end (low for `min`, high for `max`), the
    gate fails only if the whole interval is on the wrong side; with the limit inside the interval it is undecided.
    """
    limit, bound = gate.min, gate.bound
    if limit is None:  # `max` is `min` seen in a mirror
        limit, value, low, high = -gate.max, -value, -high, -low
        bound = {"low": "high", "high": "low"}.get(bound, bound)
    if bound == "point":
        return "pass" if value >= limit else "fail"
    if bound == "high":
        return "pass" if high >= limit else "fail"
    return "pass" if low >= limit else "fail" if high < limit else "undecided"


def enforce(results: Sequence[GateResult]) -> None:
    """GateFailed where a gate fails; else GateUndecided where one is undecided; else nothing."""
    for state, error, hint in (
        ("fail", GateFailed, None),
        ("undecided", GateUndecided, "more questions narrow an interval; a metric without a value stays undecided"),
    ):
        found = [r for r in results if r.verdict == state]
        if found:
            word = "failed" if state == "fail" else "undecided"
            lines = "; ".join(f"{r.gate} ({_measured(r)})" for r in found)
            raise error(f"{len(found)} of {len(results)} gates {word}: {lines}", hint)


def questions_needed(gate: Gate, level: float = 0.95) -> int | None:
    """The fewest independent questions with which this gate could pass without one adverse flip; None for no number.

    1 for metrics whose best case says nothing, such as ratios.
    """

    def could(n: int) -> bool:
        best = _best(gate, n, level)
        return best is None or verdict(gate, *best) == "pass"

    high = 1
    while not could(high):
        high *= 2
        if high > _MOST_QUESTIONS:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if could(middle) else (middle, high)
    return high


def refuse_hopeless(gates: Sequence[Gate], questions: int, level: float = 0.95) -> None:
    """RecipeError for gates that could not pass with this many questions even with no adverse flip."""
    faults = []
    for gate in gates:
        needed = questions_needed(gate, level)
        if needed is None:
            faults.append(f"gate `{describe(gate, gate.condition)}` cannot pass with any number of questions")
        elif needed > questions:
            faults.append(
                f"gate `{describe(gate, gate.condition)}` cannot pass with {questions} questions even if noise and arm "
                f"turn none wrong: it needs {needed}"
            )
    if faults:
        raise RecipeError("\n".join(faults), "ask more questions (`data.limit`), or loosen the limit or the bound")


def _best(gate: Gate, n: int, level: float) -> tuple[float, float, float] | None:
    """The best that n questions can show for a gate: no adverse flip; for a difference that must lie beyond 0, all
    flips to its side."""
    metric = gate.metric.rpartition(".")[2]
    if metric in ("accuracy", "wrong_to_right", "right_to_wrong", "over_correction"):
        hits = n if gate.min is not None else 0
        return hits / n, *statistics.wilson(hits, n, level)
    if metric not in ("gain", "drop", "clean_drop", "accuracy_change", "drop_change"):
        return None
    if gate.min is not None and gate.min >= 0:
        return 1.0, *statistics.bonett_price(n, 0, n, level)
    if gate.max is not None and gate.max <= 0:
        return -1.0, *statistics.bonett_price(0, n, n, level)
    still = statistics.bonett_price(0, 0, n, level)
    return 0.0, *(still if metric != "drop_change" else (2 * x for x in still))


def _conditions(gate: Gate, conditions: Sequence[str]) -> list[str | None]:
    if gate.condition == EACH:
        return [c for c in conditions if is_noisy(c)]
    return [gate.condition or METRICS[gate.metric.rpartition(".")[2]]]


def _find(gate: Gate, condition: str | None, metrics: Mapping[str, Any]) -> Mapping[str, Any]:
    """The value that a gate is about; without one, the reason."""
    arm, _, metric = gate.metric.rpartition(".")
    own = metrics["arms"][arm]
    if metric == "accuracy":
        found = own["conditions"].get(condition, {}).get("accuracy")
    elif metric == "clean_drop":
        found = own.get("clean_drop")
    elif metric == "over_correction":
        found = own.get("over_correction", {}).get("altered")
    elif metric == "relative_drop":
        found = own.get("drop", {}).get(condition, {}).get("relative")
    elif metric in ("right_to_wrong", "wrong_to_right"):
        found = own.get("flips", {}).get(condition, {}).get(metric)
    elif metric in AGAINST_BASELINE:
        found = metrics["baseline"]["arms"].get(arm, {}).get(metric, {}).get(condition)
    else:
        found = own.get(metric, {}).get(condition)
    return found or {"reason": f"`{gate.metric}` was not measured{f' under `{condition}`' if condition else ''}"}


def _measured(result: GateResult) -> str:
    if result.value is None:
        return result.reason or "no value"
    return f"{result.value:.3f} [{result.low:.3f}, {result.high:.3f}]"
