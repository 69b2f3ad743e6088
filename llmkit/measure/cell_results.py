"""The counts of one cell: answers, failures, tokens and price, with its accuracy."""

from __future__ import annotations

from llmkit.measure import cost
from llmkit.measure.arm_results import CellResult
from llmkit.measure.cells import Cell, Cells
from llmkit.measure.values import number
from llmkit.recipe.schema import EvalSection


def cell_result(cells: Cells, cell: Cell, section: EvalSection) -> CellResult:
    """Measures one arm under one condition, or under the average of all noisy ones."""
    samples = cells.samples_of(cell)
    outcomes = [s.outcome for s in samples]
    strengths = [s.strength for s in samples if s.strength is not None]
    tokens = cost.tokens(samples)
    return CellResult(
        n=len({o.question_id for o in outcomes}),
        outcomes=len(outcomes),
        accuracy=cells.accuracy(cell, section.interval.level),
        unparsed=sum(o.parsed is None and o.error is None for o in outcomes),
        cut=sum(o.cut for o in outcomes),
        errors=sum(o.error is not None for o in outcomes),
        fallbacks=sum(o.fallback is not None for o in outcomes),
        calls=sum(o.calls for o in outcomes),
        tokens=tokens,
        price=cost.price(tokens, section),
        strength=number(sum(strengths) / len(strengths)) if strengths else None,
        rejected=sum(s.rejected is not None for s in samples),
    )
