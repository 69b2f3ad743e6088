"""Losses and gains of a run whose rows have no answers, from a person's labels of the rows that changed.

Where two answers are equal they are right or wrong together and cancel, so only rows with unequal answers need a label.
Each difference is then what it would be in a labelled run, by the same formulas; where only the first of the changed
rows are labelled, in their random order, it is estimated from these (`two_phase`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmkit.measure import answers, changed, statistics, two_phase, unread
from llmkit.measure.answers import RIGHT, ChangedRow
from llmkit.measure.arm_results import ArmResult
from llmkit.measure.cells import NOISY, STAND, Cell, Cells, pair_key
from llmkit.measure.contrasts import Contrast
from llmkit.measure.results import Metrics
from llmkit.measure.statistics import Mean
from llmkit.measure.to_label import PairsToLabel
from llmkit.measure.values import Difference, Drop, Estimate, Unmeasured, UnmeasuredDrop, negated, rounded_p
from llmkit.runs.labels import Judgements
from llmkit.runs.samples import Sample
from llmkit.seeds import derive
from llmkit.types import CLEAN

if TYPE_CHECKING:
    from llmkit.measure.statistics import Floats
    from llmkit.recipe.schema import IntervalSection

_PLANNED = (1.0, 0.0, 1.0, -1.0, 1.0, 0.0)  # differences of changed rows, to plan with
_RELATIVE = Unmeasured(reason="only changed rows were labelled, so accuracy is not known")


@dataclass(frozen=True)
class Known:
    """One difference by its labels: (Q,) `values`, NaN where it does not exist, and its changed rows, labelled and not,
    as places among the questions and in their random order."""

    values: Floats
    labelled: Sequence[int]
    unlabelled: Sequence[int]


class LabelledRun(PairsToLabel):
    """The changed rows of a run without answers, the pairs to label, and the differences that labels give."""

    def __init__(self, samples: Sequence[Sample], interval: IntervalSection, seed: int) -> None:
        ordered = sorted(samples, key=_order)
        self.cells, self.interval, self.seed = Cells(ordered), interval, seed
        self.contrasts = answers.contrasts(self.cells)
        self.rows = answers.changed_rows(self.cells, seed)
        self.judged_rows = [row for row in self.rows if self.needed(row)]
        self.pairs = answers.pairs(self.rows, self.contrasts.values(), seed)

    def known(self, name: Contrast, judgements: Judgements) -> Known:
        """Returns what labels say of a difference.

        An answer of which the person could not tell counts as it hurts: right where that raises a loss or lowers a
        gain, else wrong. Rows behind the first one without a label are not at random, so they count as unlabelled,
        unless all are labelled.
        """
        import numpy as np

        single = self.contrasts[name]
        values = np.where(np.isnan(self._asked(single)), np.nan, 0.0)
        labelled: list[int] = []
        unlabelled: list[int] = []
        for row in self.rows:
            if not row.has(single) or not (weights := row.weights(single)):
                continue
            place = self.cells.row[row.id]
            value = _value(row, weights, judgements, raises=name.kind == "drop")
            if value is None or unlabelled:
                unlabelled.append(place)
            else:
                labelled.append(place)
                values[place] = value
        return Known(values, labelled, unlabelled)

    def _asked(self, single: Mapping[Cell, float]) -> Floats:
        asked = self.cells.contrast(single)
        assert asked is not None, "a contrast has all its cells"
        return asked

    def difference(self, name: Contrast, judgements: Judgements) -> Difference | Unmeasured:
        """Returns a difference with its interval and test, or why there is none."""
        known = self.known(name, judgements)
        if known.unlabelled and not known.labelled:
            return Unmeasured(reason=f"none of the {len(known.unlabelled)} rows that changed is labelled")
        level = self.interval.level
        mean = two_phase.difference(known.values, known.labelled, known.unlabelled, self.cells.clusters, level)
        return self._tested(name, known, mean)

    def _tested(self, name: Contrast, known: Known, mean: Mean) -> Difference:
        """Tests a difference against 0 by the rows that are known, as a labelled run tests it.

        Rows whose answers are equal say nothing of it, and those without a label are missing at random.
        """
        import numpy as np

        here = known.values[list(known.labelled)]
        better, worse = int((here > 0).sum()), int((here < 0).sum())
        one_each = self._one_each(name)
        if one_each and len(set(self.cells.clusters.tolist())) == len(self.cells.questions):
            p, method = statistics.mcnemar(better, worse), "mcnemar"
        else:
            sums = np.zeros((int(self.cells.clusters.max()) + 1, 1))
            np.add.at(sums, self.cells.clusters[list(known.labelled)], here[:, None])
            seed = derive(self.seed, "sign_flip")
            p, method = float(statistics.sign_flip(sums, self.interval.draws, seed)[0]), "sign_flip"
        counted = {"better": better, "worse": worse} if one_each and not known.unlabelled else {}
        return Difference(
            **dict(Estimate.from_mean(mean)),
            **counted,
            p=rounded_p(p),
            test=method,
            undecided=statistics.contradicts(p, mean.low, mean.high, self.interval.level),
        )

    def _one_each(self, name: Contrast) -> bool:
        """Returns whether every row has one answer in each cell, so that it is one pair."""
        groups = [self.cells.samples[cell] for cell in self.contrasts[name]]
        return name.condition != NOISY and all(
            len(group) == len({s.outcome.question_id for s in group}) for group in groups
        )

    def arms(self, judgements: Judgements) -> dict[str, dict[str, object]]:
        """Returns by arm the fields of an `ArmResult` that labels give a value to."""
        found = {name: self.difference(name, judgements) for name in self.contrasts}
        fields: dict[str, dict[str, object]] = {}
        for arm in self.cells.arms:
            mine = {name: value for name, value in found.items() if name.arm == arm}
            gains = {name.condition: value for name, value in mine.items() if name.kind == "gain"}
            harm = gains.pop(CLEAN, None)
            fields[arm] = {
                "drop": {name.condition: _drop(value) for name, value in mine.items() if name.kind == "drop"},
                "gain": gains,
                "clean_drop": negated(harm) if isinstance(harm, Difference) else harm,
            }
        return fields

    def main(self) -> Contrast | None:
        """Returns the difference that comes first: the loss of `stand`, or of the first arm, under all noise; without
        noise, the gain of the first repair on the rows as sent. None where there is nothing to compare."""
        arm = STAND if STAND in self.cells.arms else self.cells.arms[0]
        noisy = self.cells.noisy_of(Cell(arm, CLEAN))
        if not noisy:
            return next(iter(self.contrasts), None)
        return Contrast("drop", arm, NOISY if len(noisy) > 1 else noisy[0])

    def expected(self, name: Contrast, rows: int | None = None) -> float | None:
        """Returns half the width that an interval would have if the first so many rows were labelled; None for no row.

        It is planned with what changed rows often come to: half of them lose a right answer, a sixth win one.
        """
        import numpy as np

        single = self.contrasts[name]
        values = np.where(np.isnan(self._asked(single)), np.nan, 0.0)
        places: list[int] = []
        drawn = 0
        for number, row in enumerate(self.judged_rows):
            if row.has(single) and (weights := row.weights(single)):
                most = max(sum(w for w in weights.values() if w > 0), -sum(w for w in weights.values() if w < 0))
                values[self.cells.row[row.id]] = _PLANNED[len(places) % len(_PLANNED)] * most
                places.append(self.cells.row[row.id])
                drawn += rows is None or number < rows
        if places and not drawn:
            return None
        level = self.interval.level
        mean = two_phase.difference(values, places[:drawn], places[drawn:], self.cells.clusters, level)
        return (mean.high - mean.low) / 2

    def needed(self, row: ChangedRow) -> set[int]:
        """Returns the answers to a row that any difference needs."""
        weights = (row.weights(single) for single in self.contrasts.values() if row.has(single))
        return {place for weight in weights for place in weight if place >= 0}


def with_labels(measured: Metrics, run: LabelledRun, judgements: Judgements) -> Metrics:
    """Adds to the metrics of a run without answers the losses and gains that labels give. What noise hardly changed and
    replies that could not be read stay unmeasured, as in a labelled run."""
    arms: dict[str, ArmResult] = {
        arm: measured.arms[arm].model_copy(update=fields) for arm, fields in run.arms(judgements).items()
    }
    unchanged, unreadable = changed.unmeasured(measured.noise), unread.unmeasured(arms)
    arms = unread.without_unmeasured(changed.without_unmeasured(arms, unchanged), unreadable)
    return measured.model_copy(update={"arms": arms, "labels": run.counts(judgements)})


def _drop(value: Difference | Unmeasured) -> Drop | UnmeasuredDrop:
    if isinstance(value, Unmeasured):
        return UnmeasuredDrop(reason=value.reason, relative=_RELATIVE)
    return Drop(**dict(value), relative=_RELATIVE)


def _value(row: ChangedRow, weights: Mapping[int, float], judgements: Judgements, *, raises: bool) -> float | None:
    """Returns a row's difference; None where an answer that counts in it has not been looked at."""
    total = 0.0
    for place, weight in weights.items():
        state = "right" if place == RIGHT else judgements.state(row.digest, row.digests(place))
        if state is None:
            return None
        right = (weight > 0) == raises if state == "skipped" else state == "right"
        total += weight * right
    return total


def _order(sample: Sample) -> tuple[str, str, str, int, int, str]:
    outcome = sample.outcome
    held_out = str(outcome.meta.get("holdout") or "")
    return outcome.question_id, outcome.condition, outcome.arm, *pair_key(sample)[1:], held_out
