"""Replies that could not be read. Where most of a condition are, its accuracy says nothing of the model.

An unparsed reply counts as wrong. Where that is common already on clean questions, a loss from noise is one of form at
best, so nothing is measured against such a cell.
"""

from __future__ import annotations

from collections.abc import Mapping

from llmkit.measure.arm_results import ArmResult, CellResult
from llmkit.measure.cells import NOISY, STAND
from llmkit.measure.results import Metrics
from llmkit.measure.values import Unmeasured
from llmkit.types import CLEAN

SHARE = 0.5  # of the replies of an arm under a condition: above it, a warning
CLEAN_SHARE = 0.2  # of an arm's replies to clean questions: above it, the arm is not measured


def unmeasured(arms: Mapping[str, ArmResult]) -> dict[str, str]:
    """Returns, by arm whose clean replies too often give no answer, why nothing is measured of it."""
    reasons = {}
    for arm, result in arms.items():
        cell = result.conditions.get(CLEAN)
        if cell and (replies := _replies(cell)) and cell.unparsed > CLEAN_SHARE * replies:
            reasons[arm] = f"no answer could be read from {cell.unparsed} of {replies} clean replies of `{arm}`"
    return reasons


def without_unmeasured(arms: Mapping[str, ArmResult], reasons: Mapping[str, str]) -> dict[str, ArmResult]:
    """Takes out what rests on clean replies that could not be read: an arm's own losses, and what it wins or harms."""
    results = {}
    for name, arm in arms.items():
        own = reasons.get(name)
        against = own or reasons.get(STAND)
        result = arm
        for condition in arm.conditions:
            if own:
                result = result.without(("drop", "flips"), condition, own)
            if against:
                result = result.without(("gain", "recovery"), condition, against)
        if against and result.clean_drop:
            result = result.model_copy(update={"clean_drop": Unmeasured(reason=against)})
        results[name] = result
    return results


def warnings(metrics: Metrics) -> list[str]:
    """Returns one sentence for each arm that is not measured, or that has conditions with mostly unreadable replies."""
    sentences = [f"{reason}: it is not measured" for reason in unmeasured(metrics.arms).values()]
    for arm, result in metrics.arms.items():
        unread = [
            f"{condition} ({cell.unparsed} of {replies})"
            for condition, cell in result.conditions.items()
            if condition != NOISY and (replies := _replies(cell)) and cell.unparsed > SHARE * replies
        ]
        if unread:
            sentences.append(
                f"no answer could be read from most replies of `{arm}` under {', '.join(unread)}; they count as wrong, "
                "so a loss there may be one of form only: read some, and see `eval.scorer`"
            )
    return sentences


def _replies(cell: CellResult) -> int:
    return cell.outcomes - cell.errors
