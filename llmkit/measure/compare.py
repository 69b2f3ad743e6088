"""Two or more runs, paired question by question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from llmkit.errors import DataError, UsageError
from llmkit.measure import changed, flags, statistics
from llmkit.measure.cells import NOISY, Cell, Cells, Weights
from llmkit.measure.contrasts import Contrasts
from llmkit.measure.results import Baseline, BaselineArm, Copies
from llmkit.measure.statistics import Mean
from llmkit.measure.values import Change, Interval, Part, number, rounded_p
from llmkit.recipe.schema import IntervalSection
from llmkit.runs import Run
from llmkit.runs.samples import Sample, as_samples, named_apart
from llmkit.seeds import derive
from llmkit.types import CLEAN, Outcome


class ComparedRow(Part):
    """One metric of one arm under one condition, in the first run and in a later one."""

    run: str
    """The name of the later run."""
    arm: str
    """The arm."""
    condition: str
    """The condition; `noisy` for the average over all noisy ones."""
    metric: Literal["accuracy", "drop", "changed"]
    """What is compared: of rows without answers, the share of answers that say something else than as sent."""
    before: float | None
    """Its mean in the first run, over the questions that both runs have."""
    after: float | None
    """Its mean in the later run, over the same questions."""
    change: Change
    """After minus before."""


class _Name(NamedTuple):
    """The name of a change: the number of the later run, and what is compared."""

    run: int
    arm: str
    metric: Literal["accuracy", "drop", "changed"]
    condition: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """What changed from the first run to each other one, on the questions that they share."""

    runs: list[str]
    questions: int
    left_out: int
    rows: list[ComparedRow]
    noise: dict[str, dict[str, Copies]]
    """By run, then condition: how many of the shared questions noise changed."""
    dtypes: dict[str, str] = field(default_factory=dict)
    """The dtype of each run, in words."""

    def json(self) -> dict[str, Any]:
        """Returns the comparison as JSON: one row for each run after the first, arm, condition and metric."""
        return {
            "runs": self.runs,
            "questions": self.questions,
            "left_out": self.left_out,
            "noise": changed.as_json(self.noise),
            "dtypes": self.dtypes,
            "rows": [row.as_dict() for row in self.rows],
        }


def compare(runs: Sequence[Path | str], section: IntervalSection | None = None, seed: int = 7) -> Comparison:
    """Pairs run folders question by question; the first is what the others are measured against.

    Questions with the same id but another clean text are left out and counted. UsageError for fewer than two runs,
    DataError where no question is shared.
    """
    if len(runs) < 2:
        raise UsageError("a comparison needs two runs", "llmkit runs compare RUN_A RUN_B")
    names = run_names([Path(run) for run in runs])
    compared = _compared(
        dict(zip(names, (named_apart(Run(run).samples()) for run in runs), strict=True)), section, seed
    )
    return replace(compared, dtypes={name: Run(run).dtype_in_words for name, run in zip(names, runs, strict=True)})


def against(
    outcomes: Sequence[Outcome | Sample],
    baseline: Sequence[Outcome | Sample],
    section: IntervalSection | None = None,
    seed: int = 7,
) -> Baseline:
    """Measures what changed from a stored run to this one, for gates."""
    compared = _compared({"baseline": as_samples(baseline), "now": as_samples(outcomes)}, section, seed)
    changes: dict[str, dict[str, dict[str, Change]]] = {}
    for row in compared.rows:
        changes.setdefault(row.arm, {}).setdefault(f"{row.metric}_change", {})[row.condition] = row.change
    arms = {arm: BaselineArm.model_validate(by_metric) for arm, by_metric in changes.items()}
    return Baseline(questions=compared.questions, left_out=compared.left_out, arms=arms)


def _compared(runs: Mapping[str, list[Sample]], section: IntervalSection | None, seed: int) -> Comparison:
    section = section or IntervalSection()
    names = list(runs)
    same, left_out = same_questions(runs)
    noise = changed.of_runs(runs, same)
    by_changes = flags.only_changes(runs)
    judged = flags.flagged(runs) if by_changes else runs
    cells = Cells(*([s for s in samples if s.outcome.question_id in same] for samples in judged.values()))
    contrasts: Contrasts[_Name] = Contrasts(cells)
    ends = {
        name: (before, after)
        for name, (before, after) in _ends(cells, len(names), by_changes).items()
        if contrasts.add(name, {**{cell: -weight for cell, weight in before.items()}, **after})
    }
    means = contrasts.solve(section.level)
    flips = contrasts.flip_p([n for n in ends if means[n]], section.draws, derive(seed, "compare", "sign_flip"))
    rows = []
    for name, mean in means.items():
        if mean is None:
            continue
        old, new = ends[name]
        change = _change(cells, name, mean, flips[name], section.level)
        compared = {"run": names[name.run], "arm": name.arm, "condition": name.condition, "metric": name.metric}
        rows.append(ComparedRow(**compared, before=_mean(cells, old, new), after=_mean(cells, new, old), change=change))
    unmeasured = {c for counted in noise.values() for c in changed.unmeasured(counted)}
    rows = [row for row in rows if row.metric == "accuracy" or row.condition not in unmeasured]
    return Comparison(names, len(same), left_out, rows, noise)


def _ends(cells: Cells, runs: int, by_changes: bool) -> dict[_Name, tuple[Weights, Weights]]:
    """Returns what every later run is compared in: the weights of the first run's side, and of its own."""
    ends: dict[_Name, tuple[Weights, Weights]] = {}
    for run in range(1, runs):
        for arm in cells.arms_of(0):
            for condition in [*cells.conditions, NOISY]:
                old, new = Cell(arm, condition), Cell(arm, condition, run)
                ends[_Name(run, arm, "changed" if by_changes else "accuracy", condition)] = {old: 1.0}, {new: 1.0}
            for condition in [] if by_changes else [*cells.noisy, NOISY]:
                before, after = ({Cell(arm, CLEAN, r): 1.0, Cell(arm, condition, r): -1.0} for r in (0, run))
                ends[_Name(run, arm, "drop", condition)] = before, after
    return ends


def _change(cells: Cells, name: _Name, mean: Mean, flip_p: float, level: float) -> Change:
    p, better, worse = flip_p, None, None
    if name.metric != "drop" and name.condition != NOISY:
        old, new = Cell(name.arm, name.condition), Cell(name.arm, name.condition, name.run)
        # An answer that no longer changes is the better one.
        better, worse, single = cells.pairs(old, new) if name.metric == "changed" else cells.pairs(new, old)
        if single and mean.clusters == mean.n:
            p = statistics.mcnemar(better, worse)
    return Change(
        **dict(Interval.of(mean.value, mean.low, mean.high)),
        n=mean.n,
        clusters=mean.clusters,
        better=better,
        worse=worse,
        p=rounded_p(p),
        undecided=statistics.contradicts(p, mean.low, mean.high, level),
    )


def same_questions(runs: Mapping[str, list[Sample]]) -> tuple[set[str], int]:
    """Returns the questions that all runs have with the same clean text, and how many have another.

    DataError if there is none.
    """
    texts = [{s.outcome.question_id: s.question for s in samples} for samples in runs.values()]
    shared = set.intersection(*(set(t) for t in texts))
    same = {q for q in shared if len({t[q] for t in texts if t[q]}) <= 1}
    if not same:
        raise DataError(f"{' and '.join(runs)} share no question", "compare runs on the same task and split")
    return same, len(shared) - len(same)


def _mean(cells: Cells, end: Weights, other: Weights) -> float | None:
    """Computes one end's mean over the questions that both ends have; None where there is no such question."""
    import numpy as np

    own, compared = cells.contrast(end), cells.contrast(other)
    if own is None or compared is None:
        return None
    both = ~np.isnan(own) & ~np.isnan(compared)
    return number(float(own[both].mean())) if both.any() else None


def run_names(paths: Sequence[Path]) -> list[str]:
    """Returns folder names, with as much of their paths as tells them apart.

    Runs of one recipe, whose folders differ by their digest alone, are named by what answered: adapter or model.
    """
    if len(paths) > 1 and len({path.resolve().name.rpartition("-")[0] for path in paths} - {""}) == 1:
        names = [_answering(path) for path in paths]
        if all(names) and len(set(names)) == len(names):
            return names
    for depth in range(1, 20):
        names = ["/".join(path.resolve().parts[-depth:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    raise UsageError("the same run is named twice")


def _answering(run: Path) -> str:
    """Returns the name of the adapter that answered in a run, or of the model; "" where it is not known."""
    model = Run(run).section("model")
    if adapter := model.get("adapter"):
        folder = Path(adapter)
        return folder.parent.name if folder.name == "adapter" else folder.name
    return Path(model.get("path") or "").name
