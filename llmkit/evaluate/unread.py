"""Replies that could not be read. Where most of a condition are, its accuracy says nothing of the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmkit.evaluate.cells import NOISY

SHARE = 0.5  # of the replies of an arm under a condition


def warnings(metrics: Mapping[str, Any]) -> list[str]:
    """One sentence per arm that names the conditions where no answer was found in more than half of the replies."""
    found = []
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
                f"Warning: no answer could be read from most replies of `{arm}` under {', '.join(unread)}. They count "
                "as wrong, so a loss there may be one of form only: read some, and see `eval.scorer`."
            )
    return found
