"""The view of the runs in a folder, the newest first: state, verdict, main numbers, and how they got there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from os.path import relpath
from pathlib import Path
from urllib.parse import quote

from llmkit.errors import DataError
from llmkit.measure.cells import NOISY
from llmkit.measure.results import Metrics
from llmkit.measure.values import Interval
from llmkit.report.elements import Cell, Column, Emphasis, Point, Table
from llmkit.report.tables import accuracy_of
from llmkit.report.view import main_arms
from llmkit.report.written import count, difference, rate
from llmkit.runs import Run
from llmkit.runs.listing import Listing
from llmkit.types import CLEAN

_SEVERITY = ("fail", "undecided", "pass")  # the worst verdict of a run's gates is the run's
_CURRENT = 1  # colour of the run itself in its history


@dataclass(frozen=True, slots=True)
class RunsView:
    """One table of runs."""

    title: str
    lead: str
    runs: Table


@dataclass(frozen=True, slots=True)
class MeasuredRun:
    """A run as listed, and its measurements, if it has any of arms."""

    listing: Listing
    metrics: Metrics | None

    @property
    def recipe(self) -> str:
        """The name without the digest, which runs of one recipe have in common."""
        return self.listing.run.rpartition("-")[0] or self.listing.run


def measured(listings: Sequence[Listing]) -> list[MeasuredRun]:
    """Reads the measurements of listed runs. Those of a damaged or unfinished run, or of a training, are None."""
    return [MeasuredRun(listing, _metrics(Run(listing.path))) for listing in listings]


def _metrics(run: Run) -> Metrics | None:
    try:
        content = run.metrics
        return Metrics.read(content) if content and "arms" in content else None
    except DataError:
        return None


def runs(listed: Sequence[MeasuredRun], home: Path, beside: Path) -> RunsView:
    """Builds the view of runs, given from the oldest to the newest. `beside` is the folder that the page will be in."""
    rows, so_far = [], defaultdict[str, list[Interval]](list)  # accuracies under noise, by recipe
    for run in listed:
        accuracies = so_far[run.recipe]
        accuracies += _noisy(run.metrics)
        rows.append(_row(run, accuracies, beside))
    columns = (
        Column("run"),
        Column("state", left=True),
        Column("gates", left=True),
        Column("clean", interval="below"),
        Column("noisy", interval="below"),
        Column("gain under noise", interval="below"),
        Column("noisy so far", drawing="history"),
        Column("task, model", left=True, words=True),
    )
    lead = (
        "The newest first. Clean and noisy are the accuracy of the model without a repair, or, where rows have no "
        "answers, the share of answers that noise changed; the gain is that of the repair named below it. A line is "
        "the accuracy under noise, with that repair, of the runs of one recipe so far."
    )
    return RunsView(f"Runs in {home}", lead, Table(f"{len(rows)} runs", columns, tuple(reversed(rows))))


def _row(run: MeasuredRun, so_far: Sequence[Interval], beside: Path) -> tuple[Cell, ...]:
    listing, metrics = run.listing, run.metrics
    report = Path(listing.path) / "report.html"
    link = quote(Path(relpath(report, beside)).as_posix()) if report.is_file() else ""
    state: Emphasis = "" if listing.state == "finished" else "muted"
    answers = "" if listing.outcomes is None else f"{count(listing.outcomes)} answers"
    return (
        Cell(listing.run, note=listing.changed, link=link),
        Cell(listing.state, note=answers, emphasis=state),
        _verdict(metrics),
        *_main_numbers(metrics),
        Cell(drawn=_history(so_far) if metrics else ()),
        Cell(listing.task or "", note=Path(listing.model).name if listing.model else ""),
    )


def _verdict(metrics: Metrics | None) -> Cell:
    """Returns the worst verdict of a run's gates, and how many have it."""
    verdicts = [gate.verdict for gate in metrics.gates] if metrics else []
    worst = next((verdict for verdict in _SEVERITY if verdict in verdicts), None)
    if worst is None:
        return Cell()
    return Cell(worst, note=f"{verdicts.count(worst)} of {len(verdicts)}", emphasis=worst)


def _main_numbers(metrics: Metrics | None) -> tuple[Cell, Cell, Cell]:
    base, repair = main_arms(metrics) if metrics else (None, None)
    if metrics is None or base is None:
        return Cell(), Cell(), Cell()
    if metrics.unlabelled:
        stable = metrics.arms[base].stability.get(NOISY)
        return Cell(), rate(stable.changed, note="answers changed") if stable else Cell(), Cell()
    gain = difference(metrics.arms[repair].gain.get(NOISY), note=repair) if repair else Cell()
    return rate(accuracy_of(metrics, base, CLEAN)), rate(accuracy_of(metrics, base, NOISY)), gain


def _noisy(metrics: Metrics | None) -> list[Interval]:
    """Returns the accuracy of a run under noise, with its repair if it has one; nothing where it was not measured."""
    base, repair = main_arms(metrics) if metrics else (None, None)
    arm = repair or base
    accuracy = accuracy_of(metrics, arm, NOISY) if metrics and arm else None
    return [accuracy] if accuracy else []


def _history(accuracies: Sequence[Interval]) -> tuple[Point, ...]:
    """Returns the accuracies of the runs of one recipe up to one of them; nothing if it is the first."""
    if len(accuracies) < 2:
        return ()
    steps = ", ".join(f"{accuracy.value:.3f}" for accuracy in accuracies)
    words = f"Accuracy under noise of {len(accuracies)} runs of this recipe: {steps}"
    return tuple(Point(accuracy.value, accuracy.low, accuracy.high, _CURRENT, words=words) for accuracy in accuracies)
