"""Retrieved documents: how far those of a row as sent and under noise agree, and whether answers change with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from llmkit.conditions import Condition
from llmkit.measure import statistics
from llmkit.measure.cells import NOISY, Cell, Cells, each
from llmkit.measure.compared import compared, failed
from llmkit.measure.matched import Matched
from llmkit.measure.retrieval_results import ChangedAmong, Overlap, Retrieval
from llmkit.measure.values import Estimate, Interval
from llmkit.runs.samples import Sample
from llmkit.types import CLEAN

if TYPE_CHECKING:
    from llmkit.measure.statistics import Labels

DEPTHS: dict[str, int | None] = {"1": 1, "3": 3, "10": 10, "all": None}
"""The depths at which two lists are compared: what a user sees, what fits a prompt, a page of results, and all."""

Group = tuple[Sample, ...]
Lists = Sequence[tuple[tuple[str, ...], ...]]
Compared: TypeAlias = "tuple[Labels, Lists]"


def overlap(one: Sequence[str], other: Sequence[str], depth: int | None) -> float:
    """Computes overlap@k of two lists of different documents: what both have among their first k, over the longer.

    >>> overlap("abcd", "axbd", 3), overlap("ab", "a", 3), overlap("", "", 1)
    (0.6666666666666666, 0.5, 1.0)
    """
    longer = _longer(one, other, depth)
    return len(set(one[:depth]) & set(other[:depth])) / longer if longer else 1.0


def _longer(one: Sequence[str], other: Sequence[str], depth: int | None) -> int:
    return max(len(one[:depth]), len(other[:depth]))


def of_arm(cells: Cells, arm: str, level: float) -> dict[str, Retrieval]:
    """Compares what an arm's application retrieved under each noise with that for the rows as sent.

    Nothing where it named no document in any reply: then it retrieves none, or nobody said where they are.
    """
    clean = Cell(arm, CLEAN)
    noisy = cells.noisy_of(clean)
    mine = (sample for condition in [CLEAN, *noisy] for sample in cells.samples_of(clean.under(condition)))
    if not any(sample.documents for sample in mine):
        return {}
    lists = _Lists(cells, level)
    return each([*noisy, *([NOISY] if noisy else [])], lambda condition: lists.retrieval(arm, condition))


class _Lists(Matched):
    """Compares lists of documents, of calls that did not fail."""

    def retrieval(self, arm: str, condition: str) -> Retrieval | None:
        noisy, clean = Cell(arm, condition), Cell(arm, CLEAN)
        pairs = self._answered(noisy, clean)
        if not pairs:
            return None
        asked = [CLEAN, *self.conditions(arm, condition)]
        again = [pair for one in asked for pair in self._answered(clean.under(_again(one)), clean.under(one))]
        triples = self._answered(noisy, clean, clean.under(_again(CLEAN)))
        once, twice, thrice = ((self.rows_of(groups), _lists(groups)) for groups in (pairs, again, triples))
        rows, lists = once
        same = [one == other for one, other in lists]
        return Retrieval(
            n=len(set(rows.tolist())),
            overlap={name: self._overlap(once, twice, thrice, depth) for name, depth in DEPTHS.items()},
            same=self.share(rows, same),
            none=self.share(rows, [not noisy for noisy, _ in lists]),
            changed_same=self._changed([pair for pair, alike in zip(pairs, same, strict=True) if alike]),
            changed_other=self._changed([pair for pair, alike in zip(pairs, same, strict=True) if not alike]),
        )

    def _answered(self, *cells: Cell) -> list[Group]:
        return [group for group in self.matched(*cells) if not any(map(failed, group))]

    def _overlap(self, once: Compared, twice: Compared, thrice: Compared, depth: int | None) -> Overlap:
        return Overlap(
            noise=self._mean(*once, depth),
            itself=self._mean(*twice, depth) if twice[1] else None,
            lost=self._lost(*thrice, depth) if thrice[1] else None,
        )

    def _mean(self, rows: Labels, lists: Lists, depth: int | None) -> Interval:
        documents = sum(max(_longer(one, other, depth), 1) for one, other in lists)
        return self.share(rows, [overlap(one, other, depth) for one, other in lists], documents)

    def _lost(self, rows: Labels, lists: Lists, depth: int | None) -> Estimate:
        import numpy as np

        values = [overlap(clean, second, depth) - overlap(clean, noisy, depth) for noisy, clean, second in lists]
        means, there = self.means(rows, values)
        column = np.where(there > 0, means, np.nan)[:, None]
        mean = statistics.contrasts(column, self.cells.clusters, [(-1.0, 1.0)], self.level)[0]
        assert mean is not None, "no row has a value"
        return Estimate.from_mean(mean)

    def _changed(self, pairs: Sequence[Group]) -> ChangedAmong:
        changed = [compared(one, other).changed for one, other in pairs]
        return ChangedAmong(pairs=len(pairs), changed=self.share(self.rows_of(pairs), changed) if pairs else None)


def _lists(groups: Sequence[Group]) -> Lists:
    return [tuple(sample.documents for sample in group) for group in groups]


def _again(condition: str) -> str:
    return str(Condition.parse(condition).again)
