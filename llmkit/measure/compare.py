"""Two or more runs, paired question by question."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.errors import DataError, UsageError
from llmkit.measure import changed, statistics
from llmkit.measure.cells import NOISY, Cell, Cells, Plan, arm_order, contradicts, interval, number
from llmkit.recipe.schema import IntervalSection
from llmkit.runs import Run
from llmkit.runs.samples import Sample, as_samples
from llmkit.seeds import derive
from llmkit.terminal import literal
from llmkit.types import CLEAN, Outcome

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True, slots=True)
class Comparison:
    """What changed from the first run to each other one, on the questions that they share."""

    runs: list[str]
    questions: int
    left_out: int
    rows: list[dict[str, Any]]
    noise: dict[str, dict[str, dict[str, Any]]]
    """By run, then condition: how many of the shared questions noise changed."""
    dtypes: dict[str, str] = field(default_factory=dict)
    """The dtype of each run, in words."""

    @property
    def _below(self) -> list[str]:
        """Returns what is said below the table."""
        return [*changed.lines(self.noise), *(f"{run}: dtype {dtype}" for run, dtype in self.dtypes.items())]

    def json(self) -> dict[str, Any]:
        """As JSON: one row for each run after the first, arm, condition and metric."""
        facts = {"runs": self.runs, "questions": self.questions, "left_out": self.left_out}
        return {**facts, "noise": self.noise, "dtypes": self.dtypes, "rows": self.rows}

    def table(self) -> Table:
        """As a Rich table."""
        from rich import box
        from rich.table import Table

        several = len(self.runs) > 2
        title = literal(" against ".join([", ".join(self.runs[1:]), self.runs[0]]))
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left")
        table.caption, table.caption_justify = literal("\n".join(self._below)), "left"
        for name in [*(["run"] if several else []), "arm", "accuracy"]:
            table.add_column(name, no_wrap=True)
        for name in ("before", "after", "change", "interval", "better", "worse", "p"):
            table.add_column(name, justify="right", no_wrap=True)
        for row in self.rows:
            if row["metric"] == "drop" and row["condition"] != NOISY:
                continue  # clean and noisy accuracy say it already
            change = row["change"]
            table.add_row(
                *([literal(row["run"])] if several else []),
                literal(row["arm"]),
                literal(row["condition"] if row["metric"] == "accuracy" else f"drop, {row['condition']}"),
                *(f"{row[key]:.3f}" for key in ("before", "after")),
                f"{change['value']:+.3f}",
                f"[{change['low']:+.3f}, {change['high']:+.3f}]",
                *("" if change.get(key) is None else str(change[key]) for key in ("better", "worse")),
                (f"{change['p']:.3f}" if change["p"] >= 0.001 else "<0.001")
                + ("\nundecided" if change["undecided"] else ""),
            )
        return table


def compare(runs: Sequence[Path | str], section: IntervalSection | None = None, seed: int = 7) -> Comparison:
    """Pairs run folders question by question; the first is what the others are measured against.

    Questions with the same id but another clean text are left out and counted. UsageError for fewer than two runs,
    DataError where no question is shared.
    """
    if len(runs) < 2:
        raise UsageError("a comparison needs two runs", "llmkit runs compare RUN_A RUN_B")
    names = run_names([Path(run) for run in runs])
    found = _compared(dict(zip(names, (list(Run(run).samples()) for run in runs), strict=True)), section, seed)
    return replace(found, dtypes={name: Run(run).dtype_in_words for name, run in zip(names, runs, strict=True)})


def against(
    outcomes: Sequence[Outcome | Sample],
    baseline: Sequence[Outcome | Sample],
    section: IntervalSection | None = None,
    seed: int = 7,
) -> dict[str, Any]:
    """Change of accuracy, and of the drop under noise, from a stored run to this one, for gates.

    {"questions", "left_out", "arms": {arm: {"accuracy_change": {condition: …}, "drop_change": {condition: …}}}}
    """
    found = _compared({"baseline": as_samples(baseline), "now": as_samples(outcomes)}, section, seed)
    arms: dict[str, Any] = {}
    for row in found.rows:
        changes = arms.setdefault(row["arm"], {}).setdefault(f"{row['metric']}_change", {})
        changes[row["condition"]] = row["change"]
    return {"questions": found.questions, "left_out": found.left_out, "arms": arms}


def _compared(runs: Mapping[str, list[Sample]], section: IntervalSection | None, seed: int) -> Comparison:
    section = section or IntervalSection()
    names = list(runs)
    same, left_out = same_questions(runs)
    tagged = [
        replace(s, outcome=replace(s.outcome, arm=f"{i}/{s.outcome.arm}"))
        for i, samples in enumerate(runs.values())
        for s in samples
        if s.outcome.question_id in same
    ]
    cells = Cells(tagged)
    plan = Plan(cells)
    arms = sorted((arm.partition("/")[2] for arm in cells.arms if arm.startswith("0/")), key=arm_order)
    ends: dict[Hashable, tuple[dict[Cell, float], dict[Cell, float]]] = {}
    for i in range(1, len(names)):
        for arm in arms:
            old, new = f"0/{arm}", f"{i}/{arm}"
            for condition in [*cells.conditions, NOISY]:
                ends[i, arm, "accuracy", condition] = {(old, condition): 1.0}, {(new, condition): 1.0}
            for condition in [*cells.noisy, NOISY]:
                before, after = ({(a, CLEAN): 1.0, (a, condition): -1.0} for a in (old, new))
                ends[i, arm, "drop", condition] = before, after
    ends = {name: e for name, e in ends.items() if plan.add(name, {**{c: -w for c, w in e[0].items()}, **e[1]})}
    estimates = plan.solve(section.level)
    flips = plan.flip_p([n for n in ends if estimates[n]], section.draws, derive(seed, "compare", "sign_flip"))
    rows = []
    for name, found in estimates.items():
        if found is None:
            continue
        i, arm, metric, condition = name
        change = interval(found.value, found.low, found.high) | {"n": found.n, "clusters": found.clusters}
        if metric == "accuracy" and condition != NOISY:
            better, worse, single = cells.pairs((f"{i}/{arm}", condition), (f"0/{arm}", condition))
            lone = single and found.clusters == found.n
            change |= {"better": better, "worse": worse}
            change |= {"p": statistics.mcnemar(better, worse) if lone else flips[name]}
        else:
            change |= {"p": flips[name]}
        change["undecided"] = contradicts(change["p"], found.low, found.high, section.level)
        change["p"] = float(f"{change['p']:.4g}")
        before, after = (_mean(cells, ends[name], k) for k in (0, 1))
        rows.append(
            {"run": names[i], "arm": arm, "condition": condition, "metric": metric, "before": before, "after": after}
            | {"change": change}
        )
    noise = changed.of_runs(runs, same)
    unmeasured = {c for counted in noise.values() for c in changed.unmeasured(counted)}
    rows = [row for row in rows if row["metric"] != "drop" or row["condition"] not in unmeasured]
    return Comparison(names, len(same), left_out, rows, noise)


def same_questions(runs: Mapping[str, list[Sample]]) -> tuple[set[str], int]:
    """Questions that all runs have with the same clean text, and how many have another. DataError if there is none."""
    texts = [{s.outcome.question_id: s.question for s in samples} for samples in runs.values()]
    shared = set.intersection(*(set(t) for t in texts))
    same = {q for q in shared if len({t[q] for t in texts if t[q]}) <= 1}
    if not same:
        raise DataError(f"{' and '.join(runs)} share no question", "compare runs on the same task and split")
    return same, len(shared) - len(same)


def _mean(cells: Cells, ends: tuple[dict[Cell, float], dict[Cell, float]], which: int) -> float | None:
    """One end's mean over the questions that both ends have."""
    import numpy as np

    columns = [cells.contrast(end) for end in ends]
    both = ~np.isnan(columns[0]) & ~np.isnan(columns[1])
    return number(float(columns[which][both].mean()))


def run_names(paths: Sequence[Path]) -> list[str]:
    """Folder names, with as much of their paths as tells them apart.

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
    """The name of the adapter that answered in a run, of the model where there was none; "" where it is not known."""
    model = Run(run).section("model")
    if adapter := model.get("adapter"):
        folder = Path(adapter)
        return folder.parent.name if folder.name == "adapter" else folder.name
    return Path(model.get("path") or "").name
