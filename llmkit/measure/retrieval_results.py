"""The measurements of what an application retrieved: how far the documents agree, and how often answers change."""

from __future__ import annotations

from pydantic import Field

from llmkit.measure.values import Estimate, Interval, Part


class Overlap(Part):
    """The agreement of two lists of documents down to a depth k.

    It is the number of documents that both have among their first k, divided by k, or by the length of the longer list
    where both are shorter; 1 where both are empty.
    """

    noise: Interval
    """Mean overlap of what was retrieved as sent and under the condition."""
    itself: Interval | None
    """Mean overlap of what was retrieved for one text asked twice, as sent and under the condition; null where none
    was."""
    lost: Estimate | None
    """Mean overlap of what was retrieved for a row as sent, asked twice, minus that with the condition, on the same
    rows. Null where no row was asked twice."""


class ChangedAmong(Part):
    """The share of answers that say something else, among some pairs of answers."""

    pairs: int
    """These pairs."""
    changed: Interval | None
    """Share of rows, among those with such pairs, whose answers say something else; null without a pair."""


class Retrieval(Part):
    """What an arm's application retrieved under one condition, or under all noisy ones together (`noisy`), beside what
    it retrieved for the rows as sent. Calls that failed retrieved nothing that is known: they are left out."""

    n: int
    """Rows answered as sent and under the condition."""
    overlap: dict[str, Overlap] = Field(default_factory=dict)
    """By depth: 1, 3, 10, and all that was retrieved."""
    same: Interval
    """Share of rows with the same documents in the same order."""
    none: Interval
    """Share of rows with no document under the condition."""
    changed_same: ChangedAmong
    """Answers that say something else although the same documents were retrieved, in the same order."""
    changed_other: ChangedAmong
    """Answers that say something else where other documents were retrieved, or in another order."""
