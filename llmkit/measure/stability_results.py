"""The measurements of rows without answers: which answers change, by what, and what a repair brings back."""

from __future__ import annotations

from pydantic import Field

from llmkit.measure.values import Difference, Estimate, Interval, Part


class Effect(Estimate):
    """2 P(c≠n) - P(c≠c') - P(n≠n'), with c and c' two answers to the row as sent, n and n' two to it under noise.

    It is 0 where noise has no effect on the distribution of answers, and never below 0 but by chance.
    """

    p: float
    """The one-sided p-value of a value this far above 0, by flipping the signs of clusters."""


class Stability(Part):
    """The stability of an arm's answers under one condition, or under all noisy ones together (`noisy`)."""

    n: int
    """Rows answered as sent and under the condition."""
    changed: Interval
    """Share of rows whose answer under noise says something else than that to the row as sent; failed calls count."""
    wording: Interval
    """Share of rows of whose answers only the wording differs."""
    unclear: Interval
    """Share of rows of whose answers rules cannot tell whether they say the same."""
    kinds: dict[str, int] = Field(default_factory=dict)
    """By kind of change: pairs of answers that differ in it, the most frequent first. One pair may have several."""
    itself: Interval | None
    """Share of texts, as sent and under the condition, of which two answers to the same text differ; null where none
    was asked twice."""
    effect: Effect | None
    """The test of any effect of the noise, on rows that have all four answers; null where there are none."""
    lost_at_most: Interval | None
    """Share of rows whose answers are unequal: no accuracy can have lost more on them. Each end alone holds at the
    run's level, so `high` is what the population can have lost at most. Null for free text."""
    agreement: float | None
    """Gwet's AC1 between answers as sent and under noise; null where no pair was answered."""


class Repair(Part):
    """The effect of an arm that corrects, under one condition, by whether answers come back to that of `stand` to the
    row as sent."""

    n: int
    """Rows with the three answers."""
    restored: Interval
    """Share of rows of which noise changed the answer of `stand`, and the arm's is the one to the row as sent."""
    broken: Interval
    """Share of rows of which `stand` kept its answer, and the arm's is another one."""
    net: Difference
    """`restored` minus `broken`."""
