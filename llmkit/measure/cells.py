"""Accuracy of every question in every cell: what the answers of an arm under a condition come to, by question."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any, TypeVar

from llmkit.conditions import Condition
from llmkit.measure import statistics
from llmkit.measure.values import Interval
from llmkit.runs.samples import Sample

if TYPE_CHECKING:
    from llmkit.measure.statistics import Floats

NOISY = "noisy"  # the average over all noisy conditions, question by question
STAND = "stand"  # the arm that every other one is compared with
CEILING = "oracle"  # knows the clean text, so it is no competitor and no part of Holm's family

# The order of tables and files: from nothing to everything, the ceiling last. Arms that are not listed come before it.
ARM_ORDER = (
    STAND, "zero_shot_cot", "few_shot_cot", "self_consistency", "unicode_fold", "spell_fix", "atf",
    "correct_only", "guide_only", "rop_one_call", "rop_selfcorrect", "rop", "oracle",
)  # fmt: skip
PAPER = ("ec", "sc", "woo", "hw", "uic")


@dataclass(frozen=True, slots=True)
class Cell:
    """One arm under one condition, in one of several runs and with one of several prompts."""

    arm: str
    condition: str
    run: int = 0
    prompt: str = ""

    def under(self, condition: str) -> Cell:
        """Returns the cell of the same arm, run and prompt under another condition."""
        return replace(self, condition=condition)


T = TypeVar("T")
PairKey = tuple[str, int, int]  # question, noise draw, search seed
Weights = Mapping[Cell, float]


Value = Callable[[Sample], float | None]
"""What an answer is worth; None where it is not measured by this value."""


def is_right(sample: Sample) -> float:
    """Returns 1 for a right answer, else 0."""
    return float(bool(sample.outcome.correct))


class Cells:
    """(Q, cells) mean correctness over draws and search seeds, NaN where a question was not asked.

    Several runs share one set of rows, so that differences between them are paired by question.

    Arms tuned with one kind of noise held out (`meta["holdout"]`) are not in the main cells of an arm that also ran
    tuned on all kinds; without such a run, each kind's cell holds the arm that never saw it.
    """

    def __init__(self, *runs: Sequence[Sample]) -> None:
        import numpy as np

        first: dict[str, Sample] = {}
        for samples in runs:
            for sample in samples:
                first.setdefault(sample.outcome.question_id, sample)
        self.questions = sorted(first)
        self.row = {q: i for i, q in enumerate(self.questions)}
        labels = np.array([first[q].outcome.cluster_id for q in self.questions], dtype=object).astype(str)
        # Consecutive numbers: every sum over clusters is a `bincount` by them.
        self.clusters = np.unique(labels, return_inverse=True)[1]
        self.samples: dict[Cell, list[Sample]] = {}
        self.held_out: dict[tuple[Cell, str], list[Sample]] = defaultdict(list)
        """Answers of arms tuned without one kind of noise, by cell and kind."""
        for run, samples in enumerate(runs):
            self._sort(run, samples)
        self.arms = sorted({cell.arm for cell in self.samples}, key=arm_order)
        self.conditions = sorted({cell.condition for cell in self.samples}, key=_condition_order)
        self.noisy = [c for c in self.conditions if Condition.parse(c).noisy]
        self._right = self._means = {cell: self.mean_of(group) for cell, group in self.samples.items()}
        self.reach = 1.0
        """How much one answer changes a mean, as a part of its question: more than 1 where rare ones weigh more."""

    def valued(self, means: Mapping[Cell, Floats], reach: float = 1.0) -> Cells:
        """Returns the same cells with other values: (Q,) one for each question, NaN where it has none."""
        other = copy(self)
        other._means, other.reach = dict(means), reach
        return other

    def _sort(self, run: int, samples: Sequence[Sample]) -> None:
        """Puts the samples of one run into their cells."""
        tuned_on_all = {s.outcome.arm for s in samples if s.outcome.meta.get("holdout") is None}
        places: dict[tuple[str, str, Any], list[list[Sample]]] = {}
        for sample in samples:
            outcome = sample.outcome
            key = outcome.arm, outcome.condition, outcome.meta.get("holdout")
            if key not in places:
                places[key] = list(self._places(Cell(outcome.arm, outcome.condition, run), key[2], tuned_on_all))
            for place in places[key]:
                place.append(sample)

    def _places(self, cell: Cell, kind: str | None, tuned_on_all: Collection[str]) -> Iterator[list[Sample]]:
        """Yields the lists that answers of a cell belong to; `kind` is the noise that its arm was tuned without."""
        if kind is not None:
            yield self.held_out[cell, str(kind)]
        asked = Condition.parse(cell.condition)
        if kind is None or (cell.arm not in tuned_on_all and (kind == asked.spec or asked.clean)):
            yield self.samples.setdefault(cell, [])

    def arms_of(self, run: int) -> list[str]:
        """Returns the arms of one run, in their order."""
        return [arm for arm in self.arms if any(c.arm == arm and c.run == run for c in self.samples)]

    def mean_of(self, samples: Iterable[Sample], value: Value = is_right) -> Floats:
        """(Q,) share of right answers of each question, or the mean of another value of its answers; NaN where it has
        none."""
        import numpy as np

        valued = [(self.row[s.outcome.question_id], worth) for s in samples if (worth := value(s)) is not None]
        rows, size = np.array([row for row, _ in valued], dtype=np.intp), len(self.questions)
        asked, values = np.bincount(rows, minlength=size), [worth for _, worth in valued]
        means: Floats = np.where(asked > 0, np.bincount(rows, values, size) / np.maximum(asked, 1), np.nan)
        return means

    def noisy_of(self, cell: Cell) -> list[str]:
        """Returns the noisy conditions that the arm of a cell was asked under."""
        return [c for c in self.noisy if cell.under(c) in self._means]

    def samples_of(self, cell: Cell) -> list[Sample]:
        """Returns the samples of a cell; those of every noisy condition for `noisy`."""
        conditions = self.noisy_of(cell) if cell.condition == NOISY else [cell.condition]
        return [sample for c in conditions for sample in self.samples.get(cell.under(c), ())]

    def spread(self, weights: Weights) -> dict[Cell, float] | None:
        """Writes `noisy` out as its conditions; None where a cell is missing."""
        single: dict[Cell, float] = defaultdict(float)
        for cell, weight in weights.items():
            if cell.condition == NOISY:
                conditions = self.noisy_of(cell)
                # An average over fewer conditions than another arm's would be compared with a different quantity.
                if len(conditions) < len(self.noisy) or not conditions:
                    return None
                for c in conditions:
                    single[cell.under(c)] += weight / len(conditions)
            elif cell in self._means:
                single[cell] += weight
            else:
                return None
        return dict(single)

    def contrast(self, weights: Weights) -> Floats | None:
        """(Q,) weighted sum of cells, NaN where a question lacks one of them; None where a cell is missing."""
        import numpy as np

        single = self.spread(weights)
        if single is None:
            return None
        total = np.zeros(len(self.questions))
        for cell, weight in single.items():
            total = total + weight * self._means[cell]
        return total

    def accuracy(self, cell: Cell, level: float) -> Interval | None:
        """Computes the share of right answers with Wilson's interval; None where nothing was asked."""
        import numpy as np

        values = self.contrast({cell: 1.0})
        if values is None or np.isnan(values).all():
            return None
        here = ~np.isnan(values)
        answers = len(self.samples_of(cell))
        rate = statistics.rate(np.where(here, values, 0), here.astype(float), self.clusters, answers, level)
        return Interval.of(*rate)

    def pairs(self, plus: Cell, minus: Cell) -> tuple[int, int, bool]:
        """Counts pairs of answers right only in `plus`, and only in `minus`; says whether each question has one pair.

        What was asked fewer times is paired with every repeat: clean has one draw, `stand` has no search seeds. Where
        the sets of instructions of a held-out scheme share one cell, each of their answers makes pairs of its own, as
        each has its share in the cell's mean.
        """
        if self._once(plus) and self._once(minus):
            one, other = self._right[plus], self._right[minus]
            return int((one > other).sum()), int((one < other).sum()), True
        left, right = (self._answers(cell) for cell in (plus, minus))
        better = worse = 0
        paired: list[str] = []
        for key in left.keys() | right.keys():
            for a, b in product(nearest(left, key) or (), nearest(right, key) or ()):
                better += a and not b
                worse += b and not a
                paired.append(key[0])
        return better, worse, len(paired) == len(set(paired))

    def _once(self, cell: Cell) -> bool:
        """Returns whether each question of a cell was asked once, as most are: then its mean is its verdict."""
        import numpy as np

        samples = self.samples.get(cell, [])
        if not samples or len(samples) != np.count_nonzero(~np.isnan(self._right[cell])):
            return False
        return not any(sample.outcome.draw or sample.outcome.meta for sample in samples)

    def _answers(self, cell: Cell) -> dict[PairKey, list[bool]]:
        """Returns the verdicts of a cell: one for each key, or one for each kind of noise that was held out."""
        verdicts: dict[PairKey, list[bool]] = defaultdict(list)
        for sample in self.samples.get(cell, ()):
            verdicts[pair_key(sample)].append(bool(sample.outcome.correct))
        return verdicts


def pair_key(sample: Sample) -> PairKey:
    """Returns what makes two answers a pair: the same question, noise draw and search seed."""
    outcome = sample.outcome
    # Few runs have several searches, and this is asked many times for every answer.
    return outcome.question_id, outcome.draw, int(outcome.meta.get("search_seed") or 0) if outcome.meta else 0


def nearest(answers: Mapping[PairKey, T], key: PairKey) -> T | None:
    """Returns what is paired with a key: what has it, else what was asked fewer times, as clean has one draw and
    `stand` no search seeds. None where there is nothing."""
    if key in answers:
        return answers[key]
    row, draw, seed = key
    return next((answers[one] for one in ((row, draw, 0), (row, 0, seed), (row, 0, 0)) if one in answers), None)


def each(names: Iterable[str], measure: Callable[[str], T | None]) -> dict[str, T]:
    """Measures each arm or condition; those without a value are left out."""
    return {name: value for name in names if (value := measure(name)) is not None}


def arm_order(arm: str) -> tuple[int, str]:
    """Sorts arms from nothing to everything."""
    return (ARM_ORDER.index(arm) if arm in ARM_ORDER else len(ARM_ORDER) - 1, arm)


def _condition_order(name: str) -> tuple[bool, int, str, float]:
    condition = Condition.parse(name)
    operator, rate = condition.strength or (name, 0.0)
    return not condition.clean, PAPER.index(operator) if operator in PAPER else len(PAPER), operator, rate
