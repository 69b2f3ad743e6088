"""Rows without answers: how often an arm's answers change under noise, how often by themselves, and how."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from llmkit.conditions import Condition
from llmkit.measure import bounds, statistics
from llmkit.measure.cells import STAND, Cell
from llmkit.measure.compared import compared, decisive, failed, refused, signature, unequal
from llmkit.measure.matched import Matched
from llmkit.measure.stability_results import Effect, Repair, Stability
from llmkit.measure.statistics import contradicts, mcnemar
from llmkit.measure.values import Difference, Estimate, Interval, number, rounded_p
from llmkit.runs.samples import Sample
from llmkit.types import CLEAN

if TYPE_CHECKING:
    from llmkit.measure.statistics import Labels


_DECISIVE = 0.9  # of the answers: where more are prose, no bound is printed


class Assumed(NamedTuple):
    """The assumption about failed calls: whether an answer of `stand`, and one of a repair, would have changed."""

    stand: bool = True
    arm: bool = True


ASSUMED = Assumed()


@dataclass
class Unlabelled(Matched):
    """Measures the cells of rows without answers."""

    draws: int
    seed: int
    assumed: Assumed = ASSUMED

    def stability(self, arm: str, condition: str) -> Stability | None:
        """Compares an arm's answers under a condition, or under all noisy ones, with those to the rows as sent."""
        pairs = list(self.matched(Cell(arm, condition), Cell(arm, CLEAN)))
        if not pairs:
            return None
        verdicts = [compared(noisy, clean) for noisy, clean in pairs]
        rows = self.rows_of(pairs)
        counted = Counter(kind for verdict in verdicts for kind in verdict.kinds)
        answered = [pair for pair in pairs if not any(map(failed, pair))]
        bounded = sum(decisive(sample) for pair in answered for sample in pair) >= _DECISIVE * 2 * len(answered)
        return Stability(
            n=len(set(rows.tolist())),
            changed=self.share(rows, [self._changed(pair, self.assumed.stand) for pair in pairs]),
            wording=self.share(rows, [verdict.verdict == "wording" for verdict in verdicts]),
            unclear=self.share(rows, [verdict.verdict == "unclear" for verdict in verdicts]),
            kinds=dict(sorted(counted.items(), key=lambda kind: (-kind[1], kind[0]))),
            itself=self.itself(arm, [CLEAN, *self.conditions(arm, condition)]),
            effect=self._effect(arm, condition),
            lost_at_most=self._lost_at_most(rows, pairs) if bounded else None,
            agreement=_agreement([(signature(noisy), signature(clean)) for noisy, clean in answered]),
        )

    def itself(self, arm: str, conditions: Sequence[str]) -> Interval | None:
        """Computes the share of texts under these conditions of which two answers to the same text differ."""
        pairs = [
            pair
            for condition in conditions
            for pair in self.matched(Cell(arm, str(Condition.parse(condition).again)), Cell(arm, condition))
        ]
        return self.share(self.rows_of(pairs), [self._changed(pair, True) for pair in pairs]) if pairs else None

    def repair(self, arm: str, condition: str) -> Repair | None:
        """Compares an arm's answers under a condition with those of `stand` to the same texts and to the rows as sent.

        None where one of the three was not asked.
        """
        noisy, stand = Cell(arm, condition), Cell(STAND, condition)
        triples = list(self.matched(noisy, stand, stand.under(CLEAN)))
        if not triples:
            return None
        turned = [self._changed((before, clean), self.assumed.stand) for _, before, clean in triples]
        away = [self._changed((after, clean), self.assumed.arm) for after, _, clean in triples]
        restored = [t and not a for t, a in zip(turned, away, strict=True)]
        broken = [a and not t for t, a in zip(turned, away, strict=True)]
        rows = self.rows_of(triples)
        return Repair(
            n=len(set(rows.tolist())),
            restored=self.share(rows, restored),
            broken=self.share(rows, broken),
            net=self._net(rows, restored, broken),
        )

    def touched(self, arm: str) -> Interval | None:
        """Computes the share of rows as sent to which an arm and `stand` answer differently."""
        pairs = list(self.matched(Cell(arm, CLEAN), Cell(STAND, CLEAN)))
        return self.share(self.rows_of(pairs), [self._changed(p, self.assumed.arm) for p in pairs]) if pairs else None

    def commonest(self, cell: Cell) -> tuple[float, float] | None:
        """Computes the share of the commonest answer of a cell, and that of refusals; None where nothing answered."""
        answered = [sample for sample in self.cells.samples_of(cell) if not failed(sample)]
        if not answered:
            return None
        (_, most), *_ = Counter(map(signature, answered)).most_common(1)
        return most / len(answered), sum(map(refused, answered)) / len(answered)

    def _changed(self, pair: Sequence[Sample], if_failed: bool) -> bool:
        return if_failed if any(map(failed, pair)) else compared(pair[0], pair[1]).changed

    def _lost_at_most(self, rows: Labels, pairs: Sequence[Sequence[Sample]]) -> Interval:
        flags = [self.assumed.stand if any(map(failed, pair)) else unequal(*pair) for pair in pairs]
        hits, of = self.means(rows, flags)
        return Interval.of(*bounds.at_most(hits, of, self.cells.clusters, len(flags), self.level))

    def _effect(self, arm: str, condition: str) -> Effect | None:
        """Tests for any effect, on rows of which all four calls answered."""
        values: list[float] = []
        groups: list[Sequence[Sample]] = []
        clean = Cell(arm, CLEAN)
        for noisy in self.conditions(arm, condition):
            again = str(Condition.parse(noisy).again)
            repeated = str(Condition.parse(CLEAN).again)
            for four in self.matched(clean.under(again), clean.under(noisy), clean, clean.under(repeated)):
                if not any(map(failed, four)):
                    second, first, sent, sent_again = four
                    across, within = (first, sent), [(second, first), (sent_again, sent)]
                    groups.append(four)
                    values.append(2 * compared(*across).changed - sum(compared(*p).changed for p in within))
        if not groups:
            return None
        mean, p, _ = self._tested(self.rows_of(groups), values, 2.0)
        return Effect(**dict(mean), p=rounded_p(p / 2 if mean.value > 0 else 1 - p / 2))

    def _net(self, rows: Labels, restored: Sequence[bool], broken: Sequence[bool]) -> Difference:
        mean, p, lone = self._tested(rows, [r - b for r, b in zip(restored, broken, strict=True)], 1.0)
        better, worse = sum(restored), sum(broken)
        p = mcnemar(better, worse) if lone else p
        return Difference(
            **dict(mean),
            better=better,
            worse=worse,
            p=rounded_p(p),
            test="mcnemar" if lone else "sign_flip",
            undecided=contradicts(p, mean.low, mean.high, self.level),
        )

    def _tested(self, rows: Labels, values: Sequence[float], bound: float) -> tuple[Estimate, float, bool]:
        """Computes mean and interval of values in [-bound, bound], the two-sided p of sign flips, and whether each row
        has one value and stands alone."""
        import numpy as np

        clusters = self.cells.clusters
        means, there = self.means(rows, values)
        column = np.where(there > 0, means, np.nan)
        mean = statistics.contrasts(column[:, None], clusters, [(-bound, bound)], self.level)[0]
        assert mean is not None, "no row has a value"
        sums = np.bincount(clusters, means)
        sums = sums[sums != 0]  # a cluster that sums to 0 does so whatever its sign
        p = float(statistics.sign_flip(sums[:, None], self.draws, self.seed)[0]) if len(sums) else 1.0
        lone = len(rows) == int(there.sum()) and len(set(clusters.tolist())) == len(self.cells.questions)
        return Estimate.from_mean(mean), p, lone


def _agreement(pairs: Sequence[tuple[str, str]]) -> float | None:
    """Computes Gwet's AC1 (2008) of two raters: agreement beyond what raters who guess would reach.

    (a - e) / (1 - e), where a is the share of equal pairs and e = sum p (1 - p) / (q - 1) over the q categories seen,
    p being a category's mean share. 1 where there is one category.
    """
    if not pairs:
        return None
    counts = Counter(category for pair in pairs for category in pair)
    if len(counts) == 1:
        return 1.0
    shares = [count / (2 * len(pairs)) for count in counts.values()]
    by_chance = sum(share * (1 - share) for share in shares) / (len(counts) - 1)
    agreed = sum(one == other for one, other in pairs) / len(pairs)
    return number((agreed - by_chance) / (1 - by_chance))


def unlabelled(samples: Iterable[Sample]) -> bool:
    """Returns whether the rows of a run have no answers, so that nothing in it is right or wrong."""
    return any(s.outcome.gold is None for s in samples)
