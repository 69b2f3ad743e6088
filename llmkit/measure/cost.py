"""What answers cost: calls, tokens, price, and the engine's time."""

from __future__ import annotations

from collections.abc import Sequence
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
    worked, seconds = 0, 0.0
    sums: dict[Cell, tuple[int, int]] = {}
    """The tokens and the cached calls of each cell."""
    for cell, group in cells.samples.items():
        tokens = cached = 0
        for call in (call for sample in group for call in sample.calls):
            reply = call["reply"]  # in older journals the text alone
            counts = () if isinstance(reply, str) else tuple(reply.get("usage", ()))
            if counts not in tokens_of:
                usage = Usage.reported(*counts)
                tokens_of[counts] = usage.prompt - usage.cached + usage.completion
            tokens += tokens_of[counts]
            if call.get("cached"):
                cached += 1
            else:
                worked += tokens_of[counts]
                seconds += float(call.get("seconds") or 0)
        sums[cell] = tokens, cached
    pace = seconds / worked if worked else None
    timings: dict[str, dict[str, Timing]] = {}
    for arm in cells.arms:
        for condition in cells.conditions:
            cell = Cell(arm, condition)
            if group := cells.samples.get(cell, []):
                tokens, cached = sums[cell]
                timings.setdefault(arm, {})[condition] = Timing(
                    engine_seconds=None if pace is None else number(pace * tokens),
                    prefix_cached_tokens=sum(s.outcome.usage.cached for s in group),
                    cached_calls=cached,
                )
    return timings
