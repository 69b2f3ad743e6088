"""Replies that could not be read. Where most of a condition are, its accuracy says nothing of the model.

An unparsed reply counts as wrong. Where that is common already on clean questions, a loss from noise is one of form at
best, so nothing is measured against such a cell.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmkit.measure.cells import NOISY, STAND, null, take_out
from llmkit.types import CLEAN

SHARE = 0.5  # of the replies of an arm under a condition: above it, a warning
CLEAN_SHARE = 0.2  # of an arm's replies to clean questions: above it, the arm is not measured


def unmeasured(arms: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The arms whose clean replies too often give no answer, each with the reason that nothing is measured of it."""
    reasons = {}
    for arm, measured in arms.items():
        cell = measured["conditions"].get(CLEAN)
        if cell and (replies := cell["outcomes"] - cell["errors"]) and cell["unparsed"] > CLEAN_SHARE * replies:
            reasons[arm] = f"no answer could be read from {cell['unparsed']} of {replies} clean replies of `{arm}`"
    return reasons


def without_unmeasured(arms: Mapping[str, dict[str, Any]], reasons: Mapping[str, str]) -> None:
    """Takes out what rests on clean replies that could not be read: an arm's own losses, and what it wins or harms."""
    for name, arm in arms.items():
        own = reasons.get(name)
        against = own or reasons.get(STAND)
        for condition in arm["conditions"]:
            if own:
                take_out(arm, ("drop", "flips"), condition, own)
            if against:
                take_out(arm, ("gain", "recovery"), condition, against)
        if against and "clean_drop" in arm:
            arm["clean_drop"] = null(against)


def warnings(metrics: Mapping[str, Any]) -> list[str]:
    """One sentence for each arm that is not measured, or that has conditions with mostly unreadable replies."""
    found = [f"{reason}: it is not measured" for reason in unmeasured(metrics["arms"]).values()]
    for arm, measured in metrics["arms"].items():
        unread = [
            f"{condition} ({cell['unparsed']} of {replies})"
            for condition, cell in measured["conditions"].items()
            if condition != NOISY
            and (replies := cell["outcomes"] - cell["errors"])
            and cell["unparsed"] > SHARE * replies
        ]
        if unread:
            found.append(
                f"no answer could be read from most replies of `{arm}` under {', '.join(unread)}; they count as wrong, "
                "so a loss there may be one of form only: read some, and see `eval.scorer`"
            )
    return found
