"""Looks at the gates while a run is under way (`eval.looks`), so that it stops once all of them are decided.

Each look judges by intervals at a higher level than the recipe's (`spending`), and all of them hold at once with that
level. So a run may stop at any look, for any reason, and its verdicts err as rarely as those of a run that never stops.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from llmkit.errors import UsageError
from llmkit.measure import spending
from llmkit.measure.gates import AGAINST_BASELINE, DIFFERENCES, limit_of
from llmkit.measure.results import GateResult, Looked, Metrics
from llmkit.measure.statistics import worth
from llmkit.seeds import derive

if TYPE_CHECKING:
    from llmkit.recipe.schema import EvalSection, Gate, IntervalSection
    from llmkit.runs import Run
    from llmkit.runs.samples import Sample
    from llmkit.types import Question

_DISAGREE = 0.2  # share of questions on which two arms or conditions are taken to disagree before anything is known


@dataclass(frozen=True)
class Look:
    """One look: the clusters whose questions are asked for it, and what a stop there would be."""

    clusters: frozenset[str]
    looked: Looked

    @property
    def last(self) -> bool:
        """True for the look at all questions."""
        return not self.looked.stopped


def schedule(questions: Sequence[Question], section: EvalSection, seed: int) -> list[Look]:
    """Returns the looks of a run, each with the clusters that are new in it: whole clusters, in a seeded order.

    The k-th of K looks comes after the cluster with which a share k/K of the questions is reached. Clusters that are
    larger than such a share make fewer looks.
    """
    sizes = Counter(question.cluster_id for question in questions)
    order = in_order(sizes, seed)
    asked = list(accumulate(sizes[cluster] for cluster in order))
    planned = len(questions)
    wanted = [planned * number / section.looks for number in range(1, section.looks + 1)]
    # Rounding of a share must not ask for a question more than there is.
    ends = sorted({next(i for i, count in enumerate(asked, 1) if count >= least - 1e-9) for least in wanted})
    shares = [asked[end - 1] / planned for end in ends]
    levels = spending.levels(shares, section.interval.level)
    looks = []
    for number, (begin, end) in enumerate(zip([0, *ends], ends, strict=False), 1):
        looked = Looked(
            of=len(ends),
            shares=tuple(shares[:number]),
            asked=asked[end - 1],
            planned=planned,
            nominal=levels[number - 1],
        )
        looks.append(Look(frozenset(order[begin:end]), looked))
    return looks


def in_order(clusters: Iterable[str], seed: int) -> list[str]:
    """Returns clusters in the order in which they are asked: by a hash, so that it depends on no other cluster."""
    return sorted(clusters, key=lambda cluster: (derive(seed, "look", cluster), cluster))


def at_level(section: EvalSection, looked: Looked | None) -> EvalSection:
    """Returns the settings with which the numbers of a look are computed."""
    if looked is None or looked.of == 1:
        return section
    # Anew from the shares: after the run, `llmkit eval score` may be given another level.
    nominal = spending.levels(looked.shares, section.interval.level)[-1]
    return section.model_copy(update={"interval": section.interval.model_copy(update={"level": nominal})})


def as_looked(measured: Metrics, interval: IntervalSection, looked: Looked | None) -> Metrics:
    """Returns metrics that say which look they are of. Their level is the one that all looks together hold with."""
    if looked is None or looked.of == 1:
        return measured
    stated = looked.model_copy(update={"nominal": round(measured.level, 9)})
    return measured.model_copy(update={"level": interval.level, "looks": stated})


def careful(gates: Iterable[Gate]) -> list[Gate]:
    """Returns gates as a look before the last one judges them: decided only where the whole interval is on one side of
    the limit, whatever end of it the gate names."""
    return [gate.model_copy(update={"bound": "low" if gate.min is not None else "high"}) for gate in gates]


def decided(verdicts: Sequence[GateResult]) -> bool:
    """Returns whether a run may stop: every gate passes or fails."""
    return all(result.verdict != "undecided" for result in verdicts)


def progress(looked: Looked, verdicts: Sequence[GateResult]) -> str:
    """Returns a look before the last one in a line."""
    known = sum(result.verdict != "undecided" for result in verdicts)
    return (
        f"look {looked.number} of {looked.of}: {looked.asked:,} of {looked.planned:,} questions asked, "
        f"{known} of {len(verdicts)} gates decided"
    )


def refuse(section: EvalSection, shard: tuple[int, int] | None) -> None:
    """Raises UsageError for looks that could not be: without gates, or of a run in shards."""
    if section.looks == 1:
        return
    if not section.gates:
        raise UsageError(
            f"eval.looks: {section.looks} needs gates: a run stops early where all of them are decided",
            "name what has to hold (`--gate`), or leave eval.looks at 1",
        )
    if shard:
        raise UsageError(
            f"eval.looks: {section.looks} does not go with --shard: a shard knows nothing of the others' answers",
            "leave eval.looks at 1 for a run in shards",
        )


def refuse_stopped(run: Run) -> None:
    """Raises UsageError for a run that stopped early, because its numbers lean towards what made it stop."""
    if run.stopped:
        raise UsageError(
            f"{run.folder} stopped at {run.stopped}, so it cannot be a baseline: it lacks questions, and what it "
            "measured leans towards what made it stop",
            "its own command with `--set eval.looks=1` asks the remaining questions",
        )


def measured_by(run: Run, samples: Sequence[Sample], seed: int) -> tuple[list[Sample], Looked | None]:
    """Returns the answers that a finished run's numbers are of, and the look that they are of.

    The journal may hold more: a run that had asked everything stops at the same look when it is run with looks.
    """
    metrics = Metrics.read(run.metrics) if run.metrics else None
    if metrics is None or metrics.looks is None:
        return list(samples), None
    kept = set(in_order({sample.outcome.cluster_id for sample in samples}, seed)[: metrics.clusters])
    return [sample for sample in samples if sample.outcome.cluster_id in kept], metrics.looks


def final_level(questions: Sequence[Question], section: EvalSection, seed: int) -> float:
    """Returns the level of an interval at the last look, or the recipe's where there is one look only."""
    return schedule(questions, section, seed)[-1].looked.nominal


def expected(questions: Sequence[Question], section: EvalSection, seed: int) -> str:
    """Says how many questions the looks ask at most, and about what share of them where nothing has changed: every
    difference that a gate is about is 0, and a fifth of the pairs disagree. "" for one look."""
    looks = [look.looked for look in schedule(questions, section, seed)]
    if len(looks) == 1:
        return ""
    shares = looks[-1].shares
    ends = spending.boundaries(shares, (1 - section.interval.level) / 2)
    size = worth(len(questions), len({question.cluster_id for question in questions}))
    differences = [gate for gate in section.gates if gate.metric.rpartition(".")[2] in DIFFERENCES]
    words = f"{len(looks)} looks: at most {len(questions):,} questions"
    if len(differences) < len(section.gates) or not differences:
        return f"{words}; fewer where all gates are decided early"
    # The gate that takes longest decides; others may take longer by chance, so this is a low estimate for several.
    share = max(
        sum(
            chance * share
            for chance, share in zip(spending.stops(shares, ends, _drift(gate, size)), shares, strict=True)
        )
        for gate in differences
    )
    return f"{words}; about {share:.2f} of them where nothing has changed and a fifth of the pairs disagree"


def _drift(gate: Gate, size: int) -> float:
    """Returns the expected deviate of a gate's limit from a difference of 0, with all of `size` lone questions."""
    pairs = 2 if gate.metric.rpartition(".")[2] in AGAINST_BASELINE[1:] else 1
    return float(abs(limit_of(gate)) / (pairs * _DISAGREE / size) ** 0.5)
