"""Losses and gains of a run whose rows have no answers, by a model as judge of the pairs of unequal answers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from llmkit.measure import statistics
from llmkit.measure.agreement import kappa
from llmkit.measure.answers import ChangedRow, Pair
from llmkit.measure.arm_results import ArmResult
from llmkit.measure.cells import NOISY, Cell
from llmkit.measure.compared import failed
from llmkit.measure.contrasts import Contrast
from llmkit.measure.judged_results import Judge, Preferred
from llmkit.measure.labelled import LabelledRun
from llmkit.measure.results import Metrics
from llmkit.measure.values import Interval, Unmeasured, number
from llmkit.runs.labels import Judgements, pair_digest
from llmkit.runs.verdicts import Judged, Verdicts

if TYPE_CHECKING:
    from llmkit.measure.statistics import Floats

_COUNTED = {1: "better", -1: "worse", 0: "tied", None: "none"}
Weighed = Iterator[tuple[int, int, float]]
"""Two places of a row's answers, of the first side and of the second, and the weight of that pair."""


class JudgedRun:
    """The pairs of a run for a judge, and the differences that its verdicts give."""

    def __init__(self, run: LabelledRun) -> None:
        self.run = run
        # The average over all noise compares no answers of its own: it is that of the single conditions.
        self.contrasts = {name: single for name, single in run.contrasts.items() if name.condition != NOISY}

    def pairs(self) -> list[Pair]:
        """Returns every pair of unequal answers on both sides of a difference, once, in the random order of the rows.

        A person's verdict on one pair says something of both answers by themselves. A preference does not, so that
        there are more pairs than a person is shown.
        """
        pairs: dict[str, Pair] = {}
        for row in self.run.rows:
            for single in self.contrasts.values():
                for one, other, _ in _weighed(row, single):
                    if one >= 0 and other >= 0:
                        # In the order of the difference, so that a judge that always prefers answers as sent agrees
                        # with people no better than chance. It is asked in both orders anyway.
                        pair = Pair(row, (one, other))
                        pairs.setdefault(pair_digest(*pair.digests), pair)
        return list(pairs.values())

    def difference(self, name: Contrast, verdicts: Verdicts) -> Preferred:
        """Returns the preference of the judge for the first side of a difference."""
        import numpy as np

        singles = [single for single in self.contrasts if single == name]
        if name.condition == NOISY:
            noisy = self.run.cells.noisy
            singles = [s for s in self.contrasts if (s.kind, s.arm) == (name.kind, name.arm) and s.condition in noisy]
        columns, weights, numbers = zip(*(self._values(single, verdicts) for single in singles), strict=True)
        values, unknown = np.mean(columns, axis=0), np.mean(weights, axis=0)
        counts = {word: sum(number[word] for number in numbers) for word in _COUNTED.values()}
        ends = (self._mean(values - unknown).low, self._mean(values + unknown).high)
        mean = self._mean(values)
        shown = Interval.of(mean.value, min(ends[0], mean.low), max(ends[1], mean.high))
        return Preferred(**dict(shown), pairs=sum(counts.values()), **counts)

    def _values(self, name: Contrast, verdicts: Verdicts) -> tuple[Floats, Floats, dict[str, int]]:
        """Returns by question the preference in [-1, 1], NaN where a question lacks a cell, and the weight of pairs
        without a verdict; and how many pairs there are of each verdict."""
        import numpy as np

        single = self.contrasts[name]
        asked = self.run.cells.contrast(single)
        assert asked is not None, "a contrast has all its cells"
        values = np.where(np.isnan(asked), np.nan, 0.0)
        unknown, counts = np.zeros(len(values)), dict.fromkeys(_COUNTED.values(), 0)
        for row in self.run.rows:
            place = self.run.cells.row[row.id]
            for one, other, weight in _weighed(row, single):
                prefers = _preference(row, one, other, verdicts)
                if prefers is None:
                    unknown[place] += weight
                else:
                    values[place] += weight * prefers
                counts[_COUNTED[prefers]] += 1
        return values, unknown, counts

    def _mean(self, values: Floats) -> statistics.Mean:
        return statistics.difference(values, self.run.cells.clusters, self.run.interval.level)

    def arms(self, verdicts: Verdicts) -> dict[str, dict[str, object]]:
        """Returns by arm the fields of an `ArmResult` that a judge gives a value to."""
        fields: dict[str, dict[str, object]] = {}
        for arm in self.run.cells.arms:
            mine = [name for name in self.run.contrasts if name.arm == arm]
            fields[arm] = {
                f"judged_{kind}": {n.condition: self.difference(n, verdicts) for n in mine if n.kind == kind}
                for kind in ("drop", "gain")
            }
        return fields


def judge_of(pairs: Sequence[Pair], verdicts: Verdicts, judgements: Judgements, level: float) -> Judge:
    """Returns how far a judge has come with these pairs, and how far people agree with it."""
    given = [verdict(pair, verdicts) for pair in pairs]
    both = [
        (said.verdict, person)
        for pair, said in zip(pairs, given, strict=True)
        if said and said.verdict != "none" and (person := _person(pair, said, judgements))
    ]
    agreement = kappa(both, level) if both else None
    if agreement is None:
        found: Interval | Unmeasured = Unmeasured(reason="no pair has a verdict of the judge and of a person")
    elif agreement.value is None or agreement.low is None or agreement.high is None:
        found = Unmeasured(reason="judge and person gave every pair one and the same verdict")
    else:
        found = Interval.of(agreement.value, agreement.low, agreement.high)
    said_none = sum(said is not None and said.verdict == "none" for said in given)
    unasked = given.count(None)
    return Judge(
        model=verdicts.model,
        pairs=len(pairs),
        judged=len(pairs) - said_none - unasked,
        inconsistent=sum(said is not None and said.inconsistent for said in given),
        none=said_none,
        open=unasked,
        shared=len(both),
        agreed=number(agreement.observed) if agreement else None,
        kappa=found,
    )


def verdict(pair: Pair, verdicts: Verdicts) -> Judged | None:
    """Returns what the judge said of a pair; None where it was not asked."""
    one, other = pair.groups
    return verdicts.of(pair.row.digest, pair.row.digests(one), pair.row.digests(other))


def with_judge(measured: Metrics, run: LabelledRun, verdicts: Verdicts, judgements: Judgements) -> Metrics:
    """Adds to the metrics of a run without answers what a judge prefers. What noise hardly changed stays unmeasured."""
    judged = JudgedRun(run)
    judge = judge_of(judged.pairs(), verdicts, judgements, run.interval.level)
    arms: dict[str, ArmResult] = {}
    for arm, fields in judged.arms(verdicts).items():
        kept = {
            name: {c: value for c, value in by_condition.items() if c not in measured.unmeasured}
            for name, by_condition in fields.items()
            if isinstance(by_condition, dict)
        }
        arms[arm] = measured.arms[arm].model_copy(update=kept)
    return measured.model_copy(update={"arms": arms, "judge": judge})


def _weighed(row: ChangedRow, single: Mapping[Cell, float]) -> Weighed:
    """Yields the pairs of unequal answers on the two sides of a difference; their weights add up to 1 where no answer
    is on both sides."""
    if not row.has(single):
        return
    total: dict[int, float] = defaultdict(float)
    for cell, weight in single.items():
        for place in row.places[cell]:
            total[place] += weight / len(row.places[cell])
    above = {place: weight for place, weight in total.items() if weight > 1e-9}
    below = {place: -weight for place, weight in total.items() if weight < -1e-9}
    whole = sum(above.values())
    for one, weight in above.items():
        for other, against in below.items():
            yield one, other, weight * against / whole


def _preference(row: ChangedRow, one: int, other: int, verdicts: Verdicts) -> int | None:
    """Returns 1 where the first answer is better, -1 where the second is, 0 for a tie, None without a verdict.

    A reply that holds no answer is worse than one that does. A failed call could have been anything.
    """
    if one < 0 or other < 0:
        if any(failed(sample) for sample in row.unread):
            return None
        return 1 if one >= 0 else -1
    said = verdicts.of(row.digest, row.digests(one), row.digests(other))
    if said is None or said.verdict == "none":
        return None
    if said.verdict == "tie":
        return 0
    better = said.first if said.verdict == "first" else said.second
    return 1 if better in row.digests(one) else -1


def _person(pair: Pair, said: Judged, judgements: Judgements) -> str | None:
    """Returns a person's verdict on a pair in the judge's words: "tie" where both answers are right, or both wrong.
    None where the person has not looked at both, or could not tell."""
    states = {}
    for group in pair.groups:
        state = judgements.state(pair.row.digest, pair.row.digests(group))
        if state is None or state == "skipped":
            return None
        states[group] = state == "right"
    first = next(group for group in pair.groups if said.first in pair.row.digests(group))
    (second,) = set(pair.groups) - {first}
    if states[first] == states[second]:
        return "tie"
    return "first" if states[first] else "second"
