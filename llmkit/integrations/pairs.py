"""The results of another harness on clean and noisy text, as llmkit's paired statistics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from llmkit.errors import DataError
from llmkit.measure import statistics
from llmkit.measure.values import Difference, Estimate, Interval, rounded_p
from llmkit.seeds import derive

_DRAWS = 10_000  # random sign flips, as `eval.interval.draws` has by default


@dataclass(frozen=True, slots=True)
class Score:
    """One result in [0, 1], and the name of the unit that it belongs to: the question's own, or its template's."""

    value: float
    cluster: str


@dataclass(frozen=True, slots=True)
class Paired:
    """A metric on clean and noisy text, paired by id. `drop` is clean minus noisy.

    `changed` is the share of texts that the noise changed, `level` that of all intervals. `str` writes three lines.
    """

    metric: str
    changed: float
    clean: Interval
    noisy: Interval
    drop: Difference
    level: float

    def __str__(self) -> str:
        drop = self.drop
        units = "" if drop.clusters == drop.n else f" from {drop.clusters:,} clusters"
        return (
            f"{self.metric}: {drop.n:,} questions{units}, paired by id; noise changed {self.changed:.3f} of them\n"
            f"clean {_written(self.clean)}, noisy {_written(self.noisy)}\n"
            f"drop {_written(drop, '+')} at {self.level:.0%}; "
            f"{drop.worse} worse, {drop.better} better, p = {drop.p:.3g}"
        )


def _written(measured: Interval, sign: str = "") -> str:
    return f"{measured.value:{sign}.3f} [{measured.low:{sign}.3f}, {measured.high:{sign}.3f}]"


def pair(
    metric: str, clean: Mapping[str, Score], noisy: Mapping[str, Score], changed: float, level: float = 0.95
) -> Paired:
    """Pairs both sides by id, over the ids that both have. DataError where they share none, or where a value is
    outside [0, 1]: without bounds there is no interval that holds."""
    import numpy as np

    shared = [id for id in clean if id in noisy]
    if not shared:
        raise DataError("the two sides share no question", "give the results of one task, clean and noisy")
    sides = [np.array([side[id].value for id in shared], dtype=float) for side in (clean, noisy)]
    for values in sides:
        if not ((values >= 0) & (values <= 1)).all():
            raise DataError(f"`{metric}` has values outside 0..1, so no paired interval", "name another metric")
    labels = np.unique([clean[id].cluster for id in shared], return_inverse=True)[1].reshape(-1)
    ones, lost = np.ones(len(shared)), sides[0] - sides[1]
    before, after = (Interval.of(*statistics.rate(side, ones, labels, len(shared), level)) for side in sides)
    mean = statistics.difference(lost, labels, level)
    worse, better = int((lost > 0).sum()), int((lost < 0).sum())
    # McNemar's test takes pairs as independent and as right or wrong; anything else is tested by flips of signs.
    lone = mean.clusters == mean.n and bool(np.isin(lost, (-1, 0, 1)).all())
    if lone:
        p = statistics.mcnemar(better, worse)
    else:
        sums = np.bincount(labels, lost).astype(float)[:, None]
        p = float(statistics.sign_flip(sums, _DRAWS, derive(7, "pair", metric))[0])
    drop = Difference(
        **dict(Estimate.from_mean(mean)),
        better=better,
        worse=worse,
        p=rounded_p(p),
        test="mcnemar" if lone else "sign_flip",
        undecided=statistics.contradicts(p, mean.low, mean.high, level),
    )
    return Paired(metric, changed, before, after, drop, level)
