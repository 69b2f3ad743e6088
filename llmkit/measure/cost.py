"""What answers cost: calls, tokens, price, and the engine's time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmkit.measure.arm_results import Tokens
from llmkit.measure.cells import Cell, Cells
from llmkit.measure.results import Timing
from llmkit.measure.values import number
from llmkit.recipe.schema import EvalSection
from llmkit.runs.samples import Sample
from llmkit.types import Usage


def tokens(samples: Sequence[Sample]) -> Tokens:
    """Counts the tokens of some answers, whoever answered: the model or a cache."""
    usage = [s.outcome.usage for s in samples]
    return Tokens(prompt=sum(u.prompt for u in usage), completion=sum(u.completion for u in usage))


def price(used: Tokens, section: EvalSection) -> float | None:
    """Computes what tokens cost by the recipe's prices for a million; None where it has none."""
    if not (section.price_prompt or section.price_completion):
        return None
    return number((used.prompt * section.price_prompt + used.completion * section.price_completion) / 1e6)


def timing(cells: Cells) -> dict[str, dict[str, Timing]]:
    """Returns arm -> condition -> all that may differ between two equal runs.

    `engine_seconds` is what these answers would take at the run's mean pace: the time the engine worked, shared by
    tokens, prompt tokens in its prefix cache left out. A call's own seconds would not do, because calls of one batch
    share the engine and each waits for the others. It is None where the model answered nothing.
    """
    tokens_of: dict[tuple[Any, ...], int] = {}  # few counts, many calls

    def worked_on(call: Mapping[str, Any]) -> int:
        counts = tuple(call["reply"].get("usage", ()))
        if counts not in tokens_of:
            usage = Usage.reported(*counts)
            tokens_of[counts] = usage.prompt - usage.cached + usage.completion
        return tokens_of[counts]

    worked, seconds = 0, 0.0
    for group in cells.samples.values():
        for call in (call for sample in group for call in sample.calls if not call.get("cached")):
            worked += worked_on(call)
            seconds += float(call.get("seconds") or 0)
    pace = seconds / worked if worked else None
    timings: dict[str, dict[str, Timing]] = {}
    for arm in cells.arms:
        for condition in cells.conditions:
            if group := cells.samples.get(Cell(arm, condition), []):
                tokens = None if pace is None else sum(worked_on(call) for sample in group for call in sample.calls)
                timings.setdefault(arm, {})[condition] = Timing(
                    engine_seconds=None if pace is None or tokens is None else number(pace * tokens),
                    prefix_cached_tokens=sum(s.outcome.usage.cached for s in group),
                    cached_calls=sum(s.cached_calls for s in group),
                )
    return timings
