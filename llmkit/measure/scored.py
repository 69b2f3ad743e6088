"""Scores in [0, 1] beside the verdicts: means, losses and gains, by the statistics of accuracy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Literal, TypeVar

from llmkit.measure import classes
from llmkit.measure.arm_results import ArmResult, ScoreResult
from llmkit.measure.cells import NOISY, STAND, Cell, Cells, Value, each
from llmkit.measure.contrasts import Contrast
from llmkit.measure.run_contrasts import RunContrasts
from llmkit.measure.values import Difference, Estimate, negated
from llmkit.recipe.schema import EvalSection
from llmkit.runs.samples import Sample
from llmkit.types import CLEAN

E = TypeVar("E", bound=Estimate)

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
    scored: dict[str, dict[str, ScoreResult]] = {arm: {} for arm in arms}
    for name in names(samples):
        means = {cell: cells.mean_of(group, _value(name)) for cell, group in cells.samples.items()}
        for arm, result in of_cells(cells.valued(means), section, seed).items():
            scored[arm][name] = result
    if not classes.has_labels(samples):
        return {arm: result.model_copy(update={"scores": scored[arm]}) for arm, result in arms.items()}
    macro = of_cells(classes.macro_f1(cells), section, seed)
    return {
        arm: result.model_copy(
            update={
                "scores": {"macro_f1": macro[arm], **scored[arm]},
                "turned": each(cells.noisy_of(Cell(arm, CLEAN)), partial(classes.flips, cells, arm)),
            }
        )
        for arm, result in arms.items()
    }


def of_cells(cells: Cells, section: EvalSection, seed: int) -> dict[str, ScoreResult]:
    """Measures one value in every cell, by arm; arms without it are left out."""
    level = section.interval.level
    contrasts = RunContrasts(cells, level, section.interval.draws, seed)
    results = {}
    for arm in cells.arms:
        noisy = [*cells.noisy_of(Cell(arm, CLEAN)), NOISY]
        compared = [] if arm == STAND else noisy
        harm = None if arm == STAND else _difference(contrasts, "gain", arm, CLEAN)
        result = ScoreResult(
            conditions=each([*cells.conditions, NOISY], partial(_mean, contrasts, arm)),
            drop=each(noisy, partial(_difference, contrasts, "drop", arm)),
            gain=each(compared, partial(_difference, contrasts, "gain", arm)),
            clean_drop=harm and negated(harm),
        )
        if result.conditions:
            results[arm] = result
    return results


def _mean(contrasts: RunContrasts, arm: str, condition: str) -> Estimate | None:
    found = contrasts.means.get(Contrast("mean", arm, condition))
    return _within(Estimate.from_mean(found), 0.0) if found else None


def _difference(contrasts: RunContrasts, kind: Literal["drop", "gain"], arm: str, condition: str) -> Difference | None:
    found = contrasts.difference(Contrast(kind, arm, condition))
    return found and _within(found, -1.0)


def _within(estimate: E, least: float) -> E:
    """Keeps the ends of an interval where a score can be: rare questions of great weight reach beyond."""
    return estimate.model_copy(update={"low": max(least, estimate.low), "high": min(1.0, estimate.high)})


def _value(name: str) -> Value:
    return lambda sample: sample.outcome.scores.get(name)
