"""What answers cost: calls, tokens, price, and the engine's time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from llmkit.measure.cells import Cells, number
from llmkit.recipe.schema import EvalSection
from llmkit.runs.samples import Sample
from llmkit.types import Usage


def spent(samples: Sequence[Sample], section: EvalSection) -> dict[str, Any]:
    """Calls, tokens and price of some answers, whoever answered: the model or a cache."""
    usage = [s.outcome.usage for s in samples]
    prompt, completion = sum(u.prompt for u in usage), sum(u.completion for u in usage)
    price = (prompt * section.price_prompt + completion * section.price_completion) / 1e6
    return {
        "calls": sum(s.outcome.calls for s in samples),
        "tokens": {"prompt": prompt, "completion": completion},
        "price": number(price) if section.price_prompt or section.price_completion else None,
    }


def timing(cells: Cells) -> dict[str, dict[str, Any]]:
    """arm -> condition -> all that may differ between two equal runs.

    `engine_seconds` is what these answers would take at the run's mean pace: the time the engine worked, shared by
    tokens, prompt tokens in its prefix cache left out. It is null where the model answered nothing.
    """
    asked = [call for group in cells.samples.values() for s in group for call in s.calls if not call.get("cached")]
    worked = _tokens(asked)
    pace = sum(float(call.get("seconds") or 0) for call in asked) / worked if worked else None
    found: dict[str, dict[str, Any]] = {}
    for arm in cells.arms:
        for condition in cells.conditions:
            if group := cells.samples.get((arm, condition)):
                found.setdefault(arm, {})[condition] = {
                    "engine_seconds": None
                    if pace is None
                    else number(pace * _tokens(c for s in group for c in s.calls)),
                    "prefix_cached_tokens": sum(s.outcome.usage.cached for s in group),
                    "cached_calls": sum(s.cached_calls for s in group),
                }
    return found


def _tokens(calls: Iterable[Any]) -> int:
    """Tokens that an engine had to work on: of the prompt what its prefix cache lacked, and what it generated."""
    total = 0
    for call in calls:
        usage = Usage.reported(*call["reply"].get("usage", ()))
        total += usage.prompt - usage.cached + usage.completion
    return total
