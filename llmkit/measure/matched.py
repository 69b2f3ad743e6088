"""Answers of several cells to the same rows, and shares of rows, each of which weighs the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmkit.measure import statistics
from llmkit.measure.cells import NOISY, Cell, Cells, PairKey, nearest, pair_key
from llmkit.measure.values import Interval
from llmkit.runs.samples import Sample
from llmkit.types import CLEAN

if TYPE_CHECKING:
    from llmkit.measure.statistics import Floats, Labels


@dataclass
class Matched:
    """Puts answers to the same row beside each other. Each row weighs the same, however many copies of it were
    asked."""

    cells: Cells
    level: float

    def conditions(self, arm: str, condition: str) -> list[str]:
        """Returns the conditions that a name means: all noisy ones of the arm for `noisy`, else itself."""
        return self.cells.noisy_of(Cell(arm, CLEAN)) if condition == NOISY else [condition]

    def matched(self, lead: Cell, *others: Cell) -> Iterator[tuple[Sample, ...]]:
        """Yields the answers of a cell, each with those of other cells to the same row, draw and search seed.

        An answer to a row that was asked fewer times is paired with every repeat. A row that a cell lacks is left out.
        """
        for condition in self.conditions(lead.arm, lead.condition):
            samples_by_key = [
                _by_key(self.cells.samples.get(cell.under(condition) if cell.condition == NOISY else cell, ()))
                for cell in others
            ]
            for sample in self.cells.samples.get(lead.under(condition), ()):
                key = pair_key(sample)
                partners = [nearest(by, key) for by in samples_by_key]
                present = [partner for partner in partners if partner]
                if len(present) == len(partners):
                    yield sample, *present

    def rows_of(self, matched: Iterable[Sequence[Sample]]) -> Labels:
        """(P,) row of each group of answers."""
        import numpy as np

        return np.array([self.cells.row[samples[0].outcome.question_id] for samples in matched], dtype=np.intp)

    def means(self, rows: Labels, values: Sequence[float]) -> tuple[Floats, Floats]:
        """(Q,) mean of the values of each row, and (Q,) whether it has any."""
        import numpy as np

        size = len(self.cells.questions)
        sums, counts = np.bincount(rows, values, size), np.bincount(rows, minlength=size)
        return sums / np.maximum(counts, 1), (counts > 0).astype(float)

    def share(self, rows: Labels, values: Sequence[float], most: float | None = None) -> Interval:
        """Computes the mean of values in [0, 1] with its interval. `most` is the number of hits and misses that the
        values are made of: one each, unless given."""
        hits, of = self.means(rows, values)
        behind = len(values) if most is None else most
        return Interval.of(*statistics.rate(hits, of, self.cells.clusters, behind, self.level))


def _by_key(samples: Iterable[Sample]) -> dict[PairKey, Sample]:
    return {pair_key(sample): sample for sample in samples}
