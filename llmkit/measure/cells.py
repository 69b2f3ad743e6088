"""Accuracy of every question in every cell (an arm under a condition), and differences of cells, each by question."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import product
from typing import Any

from llmkit.conditions import Condition
from llmkit.measure import statistics
from llmkit.measure.statistics import Estimate
from llmkit.runs.samples import Sample

NOISY = "noisy"  # the average over all noisy conditions, question by question
STAND = "stand"  # the arm that every other one is compared with
CEILING = "oracle"  # knows the clean text, so it is no competitor and no part of Holm's family

# The order of tables and files: from nothing to everything, the ceiling last. Names that are not here stand before it.
ARMS = (
    STAND, "zero_shot_cot", "few_shot_cot", "self_consistency", "unicode_fold", "spell_fix", "atf",
    "correct_only", "guide_only", "rop_one_call", "rop_selfcorrect", "rop", "oracle",
)  # fmt: skip
PAPER = ("ec", "sc", "woo", "hw", "uic")

Cell = tuple[str, str]  # arm, condition
PairKey = tuple[str, int, int]  # question, noise draw, search seed
Weights = Mapping[Cell, float]


class Cells:
    """(Q, cells) mean correctness over draws and search seeds, NaN where a question was not asked.

    Arms tuned with one kind of noise held out (`meta["holdout"]`) stay out of the main cells where the arm also ran
    tuned on all kinds; where it did not, each kind's cell holds the arm that never saw it.
    """

    def __init__(self, samples: Sequence[Sample]) -> None:
        import numpy as np

        first: dict[str, Sample] = {}
        for sample in samples:
            first.setdefault(sample.outcome.question_id, sample)
        self.questions = sorted(first)
        self.row = {q: i for i, q in enumerate(self.questions)}
        self.clusters = np.array([first[q].outcome.cluster_id for q in self.questions], dtype=object)
        if len(self.questions):
            self.clusters = np.unique(self.clusters.astype(str), return_inverse=True)[1]
        self.samples: dict[Cell, list[Sample]] = defaultdict(list)
        self.held: dict[tuple[str, str, str], list[Sample]] = defaultdict(list)
        complete = {s.outcome.arm for s in samples if s.outcome.meta.get("holdout") is None}
        for sample in samples:
            o = sample.outcome
            out = o.meta.get("holdout")
            if out is not None:
                self.held[o.arm, o.condition, str(out)].append(sample)
            if out is None or (
                o.arm not in complete and (out == (asked := Condition.parse(o.condition)).spec or asked.clean)
            ):
                self.samples[o.arm, o.condition].append(sample)
        self.arms = sorted({arm for arm, _ in self.samples}, key=arm_order)
        self.conditions = sorted({c for _, c in self.samples}, key=_condition_order)
        self.noisy = [c for c in self.conditions if Condition.parse(c).noisy]
        self._means = {cell: self.mean_of(group) for cell, group in self.samples.items()}

    def mean_of(self, samples: Iterable[Sample]) -> Any:
        """(Q,) share of right answers of each question."""
        import numpy as np

        right, asked = np.zeros(len(self.questions)), np.zeros(len(self.questions))
        for sample in samples:
            i = self.row[sample.outcome.question_id]
            right[i] += sample.outcome.correct
            asked[i] += 1
        return np.where(asked > 0, right / np.maximum(asked, 1), np.nan)

    def noisy_of(self, arm: str) -> list[str]:
        """The noisy conditions that this arm was asked under."""
        return [c for c in self.noisy if (arm, c) in self._means]

    def spread(self, weights: Weights) -> dict[Cell, float] | None:
        """`noisy` written out as its conditions; None where a cell is missing."""
        out: dict[Cell, float] = defaultdict(float)
        for (arm, condition), weight in weights.items():
            if condition == NOISY:
                conditions = self.noisy_of(arm)
                if len(conditions) < len(self.noisy) or not conditions:
                    return None
                for c in conditions:
                    out[arm, c] += weight / len(conditions)
            elif (arm, condition) in self._means:
                out[arm, condition] += weight
            else:
                return None
        return dict(out)

    def contrast(self, weights: Weights) -> Any | None:
        """(Q,) weighted sum of cells, NaN where a question lacks one of them; None where a cell is missing."""
        cells = self.spread(weights)
        return None if cells is None else sum(w * self._means[cell] for cell, w in cells.items())

    def accuracy(self, arm: str, condition: str, level: float) -> dict[str, float] | None:
        """Share of right answers with Wilson's interval."""
        import numpy as np

        values = self.contrast({(arm, condition): 1.0})
        if values is None or np.isnan(values).all():
            return None
        here = ~np.isnan(values)
        asked = sum(len(self.samples[arm, c]) for c in (self.noisy_of(arm) if condition == NOISY else [condition]))
        value, low, high = statistics.rate(np.where(here, values, 0), here.astype(float), self.clusters, asked, level)
        return interval(value, low, high)

    def pairs(self, plus: Cell, minus: Cell) -> tuple[int, int, bool]:
        """Pairs of answers right only in `plus`, only in `minus`, and whether every question has just one such pair.

        What was asked fewer times is paired with every repeat: clean has one draw, `stand` has no search seeds. Where
        the sets of instructions of a held-out scheme stand in one cell, each of their answers makes pairs of its own,
        as each has its share in the cell's mean.
        """
        left, right = (self._answers(cell) for cell in (plus, minus))
        better = worse = 0
        asked: list[str] = []
        for q, draw, seed in sorted(left.keys() | right.keys()):
            nearest = ((q, draw, seed), (q, draw, 0), (q, 0, seed), (q, 0, 0))
            one, other = (next((side[k] for k in nearest if k in side), []) for side in (left, right))
            for a, b in product(one, other):
                better += a and not b
                worse += b and not a
                asked.append(q)
        return better, worse, len(asked) == len(set(asked))

    def _answers(self, cell: Cell) -> dict[PairKey, list[bool]]:
        """The verdicts of a cell: one for each key, or one for each kind of noise that was held out."""
        found: dict[PairKey, list[bool]] = defaultdict(list)
        for sample in self.samples[cell]:
            found[pair_key(sample)].append(sample.outcome.correct)
        return found


class Plan:
    """Named contrasts of cells, with their estimates and tests."""

    def __init__(self, cells: Cells) -> None:
        self.cells = cells
        self.columns: dict[Hashable, Any] = {}
        self.bounds: list[tuple[float, float]] = []

    def add(self, name: Hashable, weights: Weights) -> bool:
        """Ask for a contrast; False where one of its cells is missing."""
        column = self.cells.contrast(weights)
        if column is None:
            return False
        least, greatest = (sum(pick(w, 0) for w in weights.values()) for pick in (min, max))
        self.add_column(name, column, (least, greatest))
        return True

    def add_column(self, name: Hashable, column: Any, bounds: tuple[float, float]) -> None:
        """Ask for the mean of (Q,) values that lie within `bounds`."""
        self.columns[name] = column
        self.bounds.append(bounds)

    def solve(self, level: float) -> dict[Hashable, Estimate | None]:
        """Every contrast's estimate, None where no question has all its cells."""
        import numpy as np

        if not self.columns:
            return {}
        values = np.stack(list(self.columns.values()), axis=1)
        found = statistics.contrasts(values, self.cells.clusters, self.bounds, level)
        return dict(zip(self.columns, found, strict=True))

    def flip_p(self, names: Sequence[Hashable], draws: int, seed: int) -> dict[Hashable, float]:
        """Sign-flip p-values of some of the contrasts."""
        import numpy as np

        if not names:
            return {}
        values = np.nan_to_num(np.stack([self.columns[name] for name in names], axis=1))
        sums = np.zeros((int(self.cells.clusters.max()) + 1, len(names)))
        np.add.at(sums, self.cells.clusters, values)
        return dict(zip(names, map(float, statistics.sign_flip(sums, draws, seed)), strict=True))


def pair_key(sample: Sample) -> PairKey:
    """What makes two answers a pair: the same question, noise draw and search seed."""
    return sample.outcome.question_id, sample.outcome.draw, int(sample.outcome.meta.get("search_seed") or 0)


def number(x: float | None) -> float | None:
    """Rounded to six places, so that files are the same on every machine; None for what is not a number."""
    return None if x is None or not math.isfinite(x) else round(float(x), 6) + 0.0


def interval(value: float, low: float, high: float) -> dict[str, float]:
    return {"value": number(value), "low": number(low), "high": number(high)}


def contradicts(p: float, low: float, high: float, level: float) -> bool:
    """Returns whether a test and an interval say different things of a difference. The verdict is the interval's."""
    return (p <= 1 - level) != (low > 0 or high < 0)


def estimate(found: Estimate) -> dict[str, Any]:
    """An estimate as JSON."""
    return interval(found.value, found.low, found.high) | {
        "se": number(found.se),
        "n": found.n,
        "clusters": found.clusters,
    }


def null(reason: str) -> dict[str, Any]:
    """A metric without a value, and why."""
    return {"value": None, "low": None, "high": None, "reason": reason}


def take_out(arm: dict[str, Any], metrics: Iterable[str], condition: str, reason: str) -> None:
    """Puts the reason in the place of an arm's values under a condition that was not measured."""
    for metric in metrics:
        if condition not in arm.get(metric, {}):
            continue
        if metric == "drop":
            arm[metric][condition] = null(reason) | {"relative": null(reason)}
        elif metric == "flips":
            arm[metric][condition] = {way: {"of": 0.0} | null(reason) for way in arm[metric][condition]}
        else:
            arm[metric][condition] = null(reason)


def arm_order(arm: str) -> tuple[int, str]:
    """Sorts arms from nothing to everything."""
    return (ARMS.index(arm) if arm in ARMS else len(ARMS) - 1, arm)


def _condition_order(name: str) -> tuple[bool, int, str, float]:
    condition = Condition.parse(name)
    operator, rate = condition.strength or (name, 0.0)
    return not condition.clean, PAPER.index(operator) if operator in PAPER else len(PAPER), operator, rate
