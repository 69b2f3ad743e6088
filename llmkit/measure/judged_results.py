"""The measurements that rest on a model as judge: which of two answers it prefers, and how far people agree with it."""

from __future__ import annotations

from llmkit.measure.values import Interval, Part, Unmeasured


class Preferred(Interval):
    """The share of rows whose first answer the judge prefers minus the share whose second one it prefers. Rows with
    equal answers count as 0; pairs without a verdict count as 0 in the value, and widen the interval to both sides as
    far as any verdict on them could."""

    pairs: int
    """Pairs of unequal answers."""
    better: int
    """Pairs of which the first answer is better: the one to the row as sent, or the arm's."""
    worse: int
    """Pairs of which the second answer is better."""
    tied: int
    """Pairs of which none is better, those with inconsistent verdicts included."""
    none: int
    """Pairs without a verdict."""


class Judge(Part):
    """A model that was asked, as judge, which of two answers is better by a rubric, in both orders."""

    model: str
    """The model's name."""
    pairs: int
    """Pairs of unequal answers that differences need; where rows have answers, of replies and gold answers."""
    judged: int
    """Pairs with a verdict."""
    inconsistent: int
    """Pairs among these whose two orders gave two verdicts, so that they count as a tie."""
    none: int
    """Pairs of which the judge gave no verdict: it answered otherwise, or refused."""
    open: int
    """Pairs that it has not been asked about, or whose calls failed."""
    shared: int
    """Pairs with a verdict of the judge and one of a person."""
    agreed: float | None
    """Share of the shared pairs on which both say the same; null without such pairs."""
    kappa: Interval | Unmeasured
    """Cohen's kappa between judge and person over the shared pairs: 1 where they agree, 0 where chance would agree as
    often."""
