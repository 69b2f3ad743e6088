"""Scores in [0, 1] beside the verdicts: means, losses and gains, by the statistics of accuracy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Literal, TypeVar

from llmkit.measure import classes, statistics
from llmkit.measure.arm_results import ArmResult, ScoreResult
from llmkit.measure.cells import NOISY, STAND, Cell, Cells, Value, each
from llmkit.measure.contrasts import Contrast, Contrasts
from llmkit.measure.statistics import Mean
from llmkit.measure.values import Difference, Estimate, negated, rounded_p
from llmkit.recipe.schema import EvalSection
from llmkit.runs.samples import Sample
from llmkit.types import CLEAN

E = TypeVar("E", bound=Estimate)

Ends = tuple[str, Contrast, int]
"""A contrast of a score: 0 for its values, -1 and 1 for those with everything unknown as low and as high as can be."""

OF_ALL = ("macro_f1",)
"""Scores of all answers together, which no answer has by itself."""
MOST = 40  # scores of a run: fields of JSON answers may be many, and each is measured in every cell


def names(samples: Sequence[Sample]) -> list[str]:
    """Returns the names of a run's scores: the commonest, and in the order of their first answer."""
    found = Counter(name for s in samples for name, value in s.outcome.scores.items() if value is not None)
    kept = {name for name, _ in found.most_common(MOST)}
    return [name for name in found if name in kept]


def with_scores(
    arms: Mapping[str, ArmResult], cells: Cells, samples: Sequence[Sample], section: EvalSection, seed: int
) -> dict[str, ArmResult]:
    """Returns the arms with what each score comes to."""
    views: dict[str, Cells] = {}
    labelled = classes.has_labels(samples)
    if labelled:
        views["macro_f1"] = classes.macro_f1(cells)
    for name in names(samples):
        views[name] = cells.valued({cell: cells.mean_of(group, _value(name)) for cell, group in cells.samples.items()})
    if not views:
        return dict(arms)
    open_ends = {
        name: cells.valued({cell: cells.mean_of(group, _reach(name)) for cell, group in cells.samples.items()})
        for name in {name for sample in samples for name in sample.unknown}
    }
    measured = _Measured(cells, views, open_ends, section, seed)
    results = {}
    for arm, result in arms.items():
        scores = each(views, partial(measured.score, arm))
        noisy = cells.noisy_of(Cell(arm, CLEAN)) if labelled else []
        turned = each(noisy, partial(classes.flips, cells, arm))
        results[arm] = result.model_copy(update={"scores": scores, "turned": turned})
    return results


class _Measured:
    """The contrasts of all scores, solved and tested together: the random signs of a test are drawn once."""

    def __init__(
        self,
        cells: Cells,
        views: Mapping[str, Cells],
        open_ends: Mapping[str, Cells],
        section: EvalSection,
        seed: int,
    ) -> None:
        self.cells, self.level = cells, section.interval.level
        contrasts: Contrasts[Ends] = Contrasts(cells)
        for name, view in views.items():
            for contrast, weights in _wanted(cells).items():
                if (column := view.contrast(weights)) is None:
                    continue
                least = 0.0 if contrast.kind == "mean" else -view.reach
                contrasts.add_column((name, contrast, 0), column, (least, view.reach))
                if name not in open_ends:
                    continue
                # On whichever side of a difference it is, what is unknown may move it up or down.
                reach = open_ends[name].contrast({cell: abs(weight) for cell, weight in weights.items()})
                assert reach is not None, "it has the cells of the score"
                for end in (-1, 1):
                    contrasts.add_column((name, contrast, end), column + end * reach, (least, view.reach))
        self.means = contrasts.solve(self.level)
        tested = [name for name, mean in self.means.items() if mean and name[1].kind != "mean"]
        self.p = contrasts.flip_p(tested, section.interval.draws, seed)

    def mean(self, name: str, contrast: Contrast) -> Mean | None:
        """Returns the mean of a contrast. Its interval holds whatever the unknown values are."""
        mean = self.means.get((name, contrast, 0))
        low, high = (self.means.get((name, contrast, end)) for end in (-1, 1))
        if mean is None or low is None or high is None:
            return mean
        return replace(mean, low=min(mean.low, low.low), high=max(mean.high, high.high))

    def p_of(self, name: str, contrast: Contrast, value: float) -> float:
        """Returns the p-value of a difference, with everything unknown as it speaks against the difference most."""
        end = -1 if value > 0 else 1
        worst = self.means.get((name, contrast, end))
        if worst is None:
            return self.p[name, contrast, 0]
        return self.p[name, contrast, end] if worst.value * value > 0 else 1.0

    def score(self, arm: str, name: str) -> ScoreResult | None:
        """Returns what a score of an arm comes to; None where no answer has it."""
        noisy = [*self.cells.noisy_of(Cell(arm, CLEAN)), NOISY]
        harm = self._difference(name, "gain", arm, CLEAN)
        result = ScoreResult(
            conditions=each([*self.cells.conditions, NOISY], partial(self._mean, name, arm)),
            drop=each(noisy, partial(self._difference, name, "drop", arm)),
            gain=each(noisy, partial(self._difference, name, "gain", arm)),
            clean_drop=harm and negated(harm),
        )
        return result if result.conditions else None

    def _mean(self, name: str, arm: str, condition: str) -> Estimate | None:
        mean = self.mean(name, Contrast("mean", arm, condition))
        return _within(Estimate.from_mean(mean), 0.0) if mean else None

    def _difference(self, name: str, kind: Literal["drop", "gain"], arm: str, condition: str) -> Difference | None:
        contrast = Contrast(kind, arm, condition)
        mean = self.mean(name, contrast)
        if mean is None:
            return None
        p = self.p_of(name, contrast, mean.value)
        contradicted = statistics.contradicts(p, mean.low, mean.high, self.level)
        shown = Difference(**dict(Estimate.from_mean(mean)), p=rounded_p(p), test="sign_flip", undecided=contradicted)
        return _within(shown, -1.0)


def _wanted(cells: Cells) -> dict[Contrast, dict[Cell, float]]:
    """Returns the mean of every cell, and the differences between them that are measured."""
    wanted: dict[Contrast, dict[Cell, float]] = {}
    for arm in cells.arms:
        for condition in [*cells.conditions, NOISY]:
            cell = Cell(arm, condition)
            wanted[Contrast("mean", arm, condition)] = {cell: 1.0}
            if condition == NOISY or condition in cells.noisy:
                wanted[Contrast("drop", arm, condition)] = {cell.under(CLEAN): 1.0, cell: -1.0}
            if arm != STAND and condition in (CLEAN, NOISY, *cells.noisy):
                wanted[Contrast("gain", arm, condition)] = {cell: 1.0, Cell(STAND, condition): -1.0}
    return wanted


def _within(estimate: E, least: float) -> E:
    """Keeps the ends of an interval where a score can be: rare questions of great weight reach beyond."""
    return estimate.model_copy(update={"low": max(least, estimate.low), "high": min(1.0, estimate.high)})


def _value(name: str) -> Value:
    return lambda sample: sample.outcome.scores.get(name)


def _reach(name: str) -> Value:
    """Returns how far a score may be from its value: nothing, but for one that is unknown, the middle of [0, 1]."""
    return lambda sample: None if sample.outcome.scores.get(name) is None else 0.5 * (name in sample.unknown)
