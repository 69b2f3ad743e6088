"""Gates: a measured value must clear a limit. Pass, fail or undecided; docs/gates.md has the rules."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence

from llmkit.conditions import Condition
from llmkit.errors import GateFailed, GateUndecided, RecipeError, UsageError
from llmkit.measure import bounds, doubts, statistics
from llmkit.measure.arm_results import ScoreResult
from llmkit.measure.cells import NOISY
from llmkit.measure.gate_metrics import METRICS, Measured, metrics_of
from llmkit.measure.results import GateResult, Metrics, Verdict
from llmkit.measure.values import FlipRate, Interval, Unmeasured
from llmkit.recipe.schema import Gate
from llmkit.registry import unknown
from llmkit.types import CLEAN

EACH = "each"  # a gate with this condition is one gate for every noisy condition

AGAINST_BASELINE = ("accuracy_change", "drop_change")
_SHARES = (
    "accuracy", "wrong_to_right", "right_to_wrong", "over_correction", "changed", "restored", "broken", "touched",
)  # fmt: skip
DIFFERENCES = ("gain", "drop", "clean_drop", "accuracy_change", "drop_change", "net", *doubts.OF_A_JUDGE)
UNLABELLED = ("changed", "lost_at_most", "restored", "broken", "net", "touched", *doubts.OF_A_JUDGE)
"""Metrics of rows without answers."""
_NOT_OF_STAND = ("gain", "recovery", "clean_drop", "restored", "broken", "net", "touched", "judged_gain")
_NEVER_LABELLED = ("accuracy", "relative_drop", "recovery", "right_to_wrong", "wrong_to_right")
_MOST_CLUSTERS = 10_000_000
_FORM = re.compile(
    r"\s*([\w.+/*~-]+)(?:@(.+?))?\s*(>=|<=)\s*(-?[\d.]+(?:e-?\d+)?)\s*(low|point|high)?\s*", re.IGNORECASE
)


def parse(text: str) -> dict[str, str | float]:
    """Reads a gate as written on a command line, and returns it as the recipe has it.

    >>> parse("rop.gain@ec >= 0.05 low")
    {'metric': 'rop.gain', 'condition': 'ec', 'min': 0.05, 'bound': 'low'}
    """
    parts = _FORM.fullmatch(text)
    if not parts:
        raise UsageError(f"cannot read the gate `{text}`", 'write it like "rop.gain@ec >= 0.05 low"')
    metric, condition, sign, limit, bound = parts.groups()
    gate: dict[str, str | float] = {"metric": metric}
    if condition:
        gate["condition"] = condition
    try:
        gate["min" if sign == ">=" else "max"] = float(limit)
    except ValueError:
        raise UsageError(f"`{limit}` in the gate `{text}` is no number") from None
    return gate | ({"bound": bound.lower()} if bound else {})


def describe(gate: Gate, condition: str | None) -> str:
    """Writes a gate in one line, in the form that `parse` reads."""
    sign = ">=" if gate.min is not None else "<="
    return f"{gate.metric}{f'@{condition}' if condition else ''} {sign} {limit_of(gate):g} {gate.bound}"


def limit_of(gate: Gate) -> float:
    """Returns the limit of a gate, whichever side it is on."""
    return gate.min if gate.min is not None else gate.max if gate.max is not None else math.nan


def validate(
    gates: Sequence[Gate],
    arms: Sequence[str],
    conditions: Sequence[str],
    *,
    baseline: bool,
    unlabelled: bool = False,
    scores: Collection[str] | None = (),
) -> None:
    """Raises UsageError, with the nearest valid names, for a gate on what a run will not have.

    On rows without answers a gate about accuracy is not refused: labels of the changed rows may decide it. `scores` are
    the names of the run's scores; None where they are not known, and any name may be one.
    """
    known_metrics = [m for m in METRICS if unlabelled or m not in UNLABELLED] + metrics_of(scores or ())
    conditions = [c for c in conditions if not unlabelled or Condition.parse(c).replicate == 1]
    for gate in gates:
        arm, _, name = gate.metric.rpartition(".")
        metric, score = Measured.named(name)
        if metric in UNLABELLED and not unlabelled:
            raise UsageError(
                f"gate `{gate.metric}`: `{metric}` is measured on rows without answers, and these have some",
                "take `drop`, `gain` or `clean_drop`, or leave the answers out (`data.answer: null`)",
            )
        if not arm or (score and scores is not None and score not in scores):
            raise unknown("gate metric", gate.metric, [f"{a}.{m}" for a in arms for m in known_metrics])
        if arm not in arms:
            raise unknown("arm in the gate", gate.metric, [f"{a}.{name}" for a in arms])
        if arm == "stand" and metric in _NOT_OF_STAND:
            raise UsageError(f"gate `{gate.metric}`: `{name}` is measured against `stand`", "name another arm")
        if gate.condition and METRICS[metric] is None:
            raise UsageError(f"gate `{gate.metric}` takes no condition: it is about clean questions")
        if gate.condition and gate.condition not in (known := [*conditions, CLEAN, NOISY, EACH]):
            raise unknown(f"condition in the gate `{gate.metric}`", gate.condition, known)
        if metric in AGAINST_BASELINE and not baseline:
            raise UsageError(f"gate `{gate.metric}` needs a stored run to compare with", "name one with --baseline RUN")


def evaluate(gates: Sequence[Gate], metrics: Metrics) -> list[GateResult]:
    """Judges every gate, once for each condition it stands for, by a run's metrics."""
    has_baseline, unlabelled = metrics.baseline is not None, metrics.unlabelled is not None
    # A run with scores may lack one that it was to have, as of a field that no answer had: that gate is undecided.
    scores = None if any(arm.scores for arm in metrics.arms.values()) else ()
    rows = {"baseline": has_baseline, "unlabelled": unlabelled}
    validate(gates, list(metrics.arms), metrics.conditions, **rows, scores=scores)
    return [_judge(gate, condition, metrics) for gate in gates for condition in _conditions(gate, metrics.conditions)]


def _judge(gate: Gate, condition: str | None, metrics: Metrics) -> GateResult:
    arm, _, metric = gate.metric.rpartition(".")
    result = GateResult(
        gate=describe(gate, condition), metric=gate.metric, condition=condition, bound=gate.bound, verdict="undecided"
    )
    if doubt := doubts.of_gate(arm, metric, condition, gate.max, metrics):
        return result.model_copy(update={"reason": doubt})
    measured = _measured_value(gate, condition, metrics)
    if measured is None:
        return result.model_copy(update={"reason": _why_not(gate, condition, metrics)})
    value, low, high = measured.value, measured.low, measured.high
    if value is None or low is None or high is None:
        missing = None if isinstance(measured, Interval) else measured.reason
        return result.model_copy(update={"low": low, "high": high, "reason": missing})
    decided = verdict(gate, value, low, high)
    more = _more(gate, value, low, high, metrics) if decided == "undecided" else None
    return result.model_copy(update={"verdict": decided, "value": value, "low": low, "high": high, "reason": more})


def _why_not(gate: Gate, condition: str | None, metrics: Metrics) -> str:
    """Returns why a run has no value for a gate."""
    metric, score = Measured.named(gate.metric.rpartition(".")[2])
    if metrics.unlabelled and not score and metric not in (*UNLABELLED, "over_correction"):
        reason = f"the rows have no answers, so nothing is known of `{gate.metric}`"
        return reason if metric in _NEVER_LABELLED else f"{reason}: `llmkit label RUN` asks about those that changed"
    if metric == "lost_at_most" and condition:
        return f"replies under `{condition}` are free text, whose equality bounds no accuracy: gate `changed`"
    return f"`{gate.metric}` was not measured{f' under `{condition}`' if condition else ''}"


def verdict(gate: Gate, value: float, low: float, high: float) -> Verdict:
    """Judges a gate by a value with its interval.

    The end that `bound` names must clear the limit. Where that is the careful end (low for `min`, high for `max`), the
    gate fails only if the whole interval is on the wrong side; with the limit inside the interval it is undecided.
    """
    limit, bound = limit_of(gate), gate.bound
    if gate.max is not None:  # `max` is `min` seen in a mirror
        limit, value, low, high = -limit, -value, -high, -low
        bound = "high" if bound == "low" else "low" if bound == "high" else bound
    if bound == "point":
        return "pass" if value >= limit else "fail"
    if bound == "high":
        return "pass" if high >= limit else "fail"
    return "pass" if low >= limit else "fail" if high < limit else "undecided"


def enforce(results: Sequence[GateResult]) -> None:
    """Raises GateFailed where a gate fails, else GateUndecided where one is undecided."""
    for state, error in (("fail", GateFailed), ("undecided", GateUndecided)):
        concerned = [r for r in results if r.verdict == state]
        if concerned:
            word = "failed" if state == "fail" else "undecided"
            without = state == "undecided" and any(r.value is None for r in concerned)
            hint = "a metric without a value stays undecided, however many questions are asked" if without else None
            lines = "; ".join(f"{r.gate} ({_measured(r)})" for r in concerned)
            raise error(f"{len(concerned)} of {len(results)} gates {word}: {lines}", hint)


def questions_needed(gate: Gate, level: float = 0.95, size: float = 1) -> int | None:
    """Returns the fewest questions with which this gate could pass without one adverse flip; None for no number.

    `size` is how many questions come from one template. 1 for metrics whose best case says nothing, such as ratios.
    """

    def could(clusters: int) -> bool:
        best = _best(gate, clusters, size, level)
        return best is None or verdict(gate, *best) == "pass"

    high = 1
    while not could(high):
        high *= 2
        if high > _MOST_CLUSTERS:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if could(middle) else (middle, high)
    return 1 if high == 1 else math.ceil(high * size)


def refuse_hopeless(gates: Sequence[Gate], questions: int, level: float = 0.95, templates: int | None = None) -> None:
    """Raises RecipeError for gates that could not pass with this many questions even with no adverse flip.

    `templates` is how many clusters the questions come from; without it each question stands alone.
    """
    faults, size = [], questions / (templates or questions)
    for gate in gates:
        best = _best(gate, templates or questions, size, level)
        if best is None or verdict(gate, *best) == "pass":
            continue
        needed = questions_needed(gate, level, size)
        name = f"gate `{describe(gate, gate.condition)}`"
        if needed is None:
            faults.append(f"{name} cannot pass with any number of questions")
            continue
        asked, takes = f"{questions} questions", f"{needed}"
        if size > 1:
            asked += f" from {templates} templates"
            takes = f"{round(needed / size)} templates of this size ({needed} questions)"
        faults.append(f"{name} cannot pass with {asked} even if noise and arm turn none wrong: it needs {takes}")
    if faults:
        raise RecipeError("\n".join(faults), "ask more questions (`data.limit`), or loosen the limit or the bound")


def _best(gate: Gate, clusters: int, size: float, level: float) -> tuple[float, float, float] | None:
    """Returns value, low and high of the best that so many clusters of `size` questions can show for a gate.

    No adverse flip; for a difference that must lie beyond 0, all flips to its side. None for metrics whose best case
    says nothing, such as ratios.
    """
    import numpy as np

    metric, score = Measured.named(gate.metric.rpartition(".")[2])
    hits, alone = float(gate.min is not None), size == 1
    if metric == "lost_at_most":
        return hits, *bounds.unanimous(hits, clusters, level, alone=alone)
    if metric in _SHARES and not score:
        return hits, *statistics.unanimous(hits, clusters, level, alone=alone)
    if metric not in DIFFERENCES:
        return None
    all_flip = (
        1.0 if gate.min is not None and gate.min >= 0 else -1.0 if gate.max is not None and gate.max <= 0 else 0.0
    )
    most = 2.0 if metric == "drop_change" else 1.0
    sums, counts, times = (np.array([x], dtype=float) for x in (most * all_flip * size, size, clusters))
    ends = (-most, most)
    return most * all_flip, *statistics.mean_interval(sums, counts, times=times, bounds=ends, level=level)


def _more(gate: Gate, value: float, low: float, high: float, metrics: Metrics) -> str:
    """Says how many more questions or rows, or clusters of them, would decide a gate, in words.

    If the value stayed, and its interval narrowed as the root of their number.
    """
    limit, size = limit_of(gate), metrics.questions / metrics.clusters
    asked, groups = ("rows", "groups") if metrics.unlabelled else ("questions", "templates")
    if value == limit:
        return f"the value is the limit: no number of {asked} decides it"
    end = low if limit < value else high
    more = max(1, math.ceil(metrics.clusters * ((end - value) / (limit - value)) ** 2) - metrics.clusters)
    passes = (value > limit) == (gate.min is not None)
    what = asked if size == 1 else f"{groups} of {size:{'.2g' if size < 10 else '.0f'}} {asked}"
    return f"at this value about {more:,} more {what} would let it {'pass' if passes else 'fail'}"


def _conditions(gate: Gate, conditions: Sequence[str]) -> list[str | None]:
    if gate.condition == EACH:
        return [c for c in conditions if Condition.parse(c).noisy]
    return [gate.condition or METRICS[Measured.named(gate.metric.rpartition(".")[2]).base]]


def _measured_value(gate: Gate, condition: str | None, metrics: Metrics) -> Interval | FlipRate | Unmeasured | None:
    """Returns the value that a gate is about; None where a run has none."""
    arm, _, name = gate.metric.rpartition(".")
    metric, score = Measured.named(name)
    result = metrics.arms[arm]
    if score:
        return _measured_score(result.scores.get(score), metric, condition)
    if metric == "clean_drop":
        return result.clean_drop
    if metric == "over_correction":
        return result.over_correction.altered if result.over_correction else None
    if metric == "touched":
        return result.touched
    if condition is None:
        return None
    if metric == "accuracy":
        cell = result.conditions.get(condition)
        return cell.accuracy if cell else None
    if metric == "drop":
        return result.drop.get(condition)
    if metric == "relative_drop":
        drop = result.drop.get(condition)
        return drop.relative if drop else None
    if metric in ("right_to_wrong", "wrong_to_right"):
        flips = result.flips.get(condition)
        if flips is None:
            return None
        return flips.right_to_wrong if metric == "right_to_wrong" else flips.wrong_to_right
    if metric in ("changed", "lost_at_most"):
        return getattr(result.stability.get(condition), metric, None)
    if metric in ("restored", "broken", "net"):
        return getattr(result.repair.get(condition), metric, None)
    if metric in doubts.OF_A_JUDGE:
        return (result.judged_drop if metric == "judged_drop" else result.judged_gain).get(condition)
    if metric in AGAINST_BASELINE:
        changes = metrics.baseline.arms.get(arm) if metrics.baseline else None
        if changes is None:
            return None
        return (changes.accuracy_change if metric == "accuracy_change" else changes.drop_change).get(condition)
    return (result.gain if metric == "gain" else result.recovery).get(condition)


def _measured_score(result: ScoreResult | None, metric: str, condition: str | None) -> Interval | Unmeasured | None:
    if result is None:
        return None
    if metric == "clean_drop" or condition is None:
        return result.clean_drop
    if metric == "accuracy":
        return result.conditions.get(condition)
    return (result.drop if metric == "drop" else result.gain).get(condition)


def _measured(result: GateResult) -> str:
    if result.value is None:
        return result.reason or "no value"
    measured = f"{result.value:.3f} [{result.low:.3f}, {result.high:.3f}]"
    return f"{measured}; {result.reason}" if result.reason else measured
