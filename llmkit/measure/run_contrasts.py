"""All contrasts of one run, each with its interval and its test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from llmkit.measure import curves, statistics
from llmkit.measure.cells import NOISY, STAND, Cell, Cells
from llmkit.measure.contrasts import Contrast, Contrasts
from llmkit.measure.values import Difference, Estimate, rounded_p
from llmkit.types import CLEAN


@dataclass(frozen=True, slots=True)
class PairedTest:
    """A test of a difference against 0; how many single pairs got better and worse, where there are single pairs."""

    p: float
    method: Literal["mcnemar", "sign_flip"]
    better: int | None = None
    worse: int | None = None


class RunContrasts:
    """Drops and gains of every arm, with their means and tests; of right and wrong answers also areas under curves and
    held-out gains."""

    def __init__(self, cells: Cells, level: float, draws: int, seed: int) -> None:
        self.cells, self.level = cells, level
        contrasts: Contrasts[Contrast] = Contrasts(cells)
        tested: dict[Contrast, tuple[Cell, Cell]] = {}
        for arm in cells.arms:
            for condition in [*dict.fromkeys([CLEAN, *cells.conditions]), NOISY]:
                cell = Cell(arm, condition)
                if not cells.verdicts:
                    contrasts.add(Contrast("mean", arm, condition), {cell: 1.0})
                if condition not in (CLEAN, NOISY, *cells.noisy):
                    continue
                if condition != CLEAN:
                    tested[Contrast("drop", arm, condition)] = (cell.under(CLEAN), cell)
                if arm != STAND:
                    tested[Contrast("gain", arm, condition)] = (cell, Cell(STAND, condition))
            if not cells.verdicts:
                continue
            for operator, weights in curves.areas(cells, arm).items():
                contrasts.add(Contrast("area", arm, operator), weights)
            for (held_out, condition), gains in curves.holdout_gains(cells, arm).items():
                contrasts.add_column(Contrast("holdout", arm, condition, held_out), gains, (-1.0, 1.0))
        tested = {
            name: (plus, minus)
            for name, (plus, minus) in tested.items()
            if contrasts.add(name, {plus: 1.0, minus: -1.0})
        }
        self.means = contrasts.solve(level)
        self.tests = self._test(contrasts, tested, draws, seed)

    def _test(
        self, contrasts: Contrasts[Contrast], tested: dict[Contrast, tuple[Cell, Cell]], draws: int, seed: int
    ) -> dict[Contrast, PairedTest]:
        """Tests each difference: McNemar where every question is one independent pair, else flips of clusters' signs.

        McNemar's test takes pairs as independent, which repeats, averages and questions of one template are not, and as
        right or wrong, which scores are not.
        """
        independent = len(set(self.cells.clusters.tolist())) == len(self.cells.questions)
        pairs: dict[Contrast, tuple[int, int]] = {}
        single: set[Contrast] = set()
        for name, (plus, minus) in tested.items():
            if not self.cells.verdicts or NOISY in (plus.condition, minus.condition):
                continue
            better, worse, one_each = self.cells.pairs(plus, minus)
            pairs[name] = better, worse
            if one_each and independent:
                single.add(name)
        flipped = contrasts.flip_p([name for name in tested if name not in single], draws, seed)
        return {
            name: PairedTest(statistics.mcnemar(*pairs[name]), "mcnemar", *pairs[name])
            if name in single
            else PairedTest(flipped[name], "sign_flip", *pairs.get(name, (None, None)))
            for name in tested
        }

    def difference(self, name: Contrast) -> Difference | None:
        """Returns a difference as metrics.json has it; None where no question has both of its cells."""
        mean = self.means.get(name)
        if mean is None:
            return None
        test = self.tests[name]
        return Difference(
            **dict(Estimate.from_mean(mean)),
            better=test.better,
            worse=test.worse,
            p=rounded_p(test.p),
            test=test.method,
            undecided=statistics.contradicts(test.p, mean.low, mean.high, self.level),
        )
