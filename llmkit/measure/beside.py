"""Several runs in one table, every arm of each a row: which repair is worth it, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from llmkit.conditions import REPLICATE, Condition
from llmkit.engines.model_paths import adapter_folder
from llmkit.errors import DataError, UsageError
from llmkit.measure import changed, flags
from llmkit.measure.cells import NOISY, Cell, Cells
from llmkit.measure.compare import run_names, same_questions
from llmkit.measure.contrasts import Contrasts
from llmkit.measure.results import Copies
from llmkit.measure.values import Estimate, Interval, Part, number
from llmkit.recipe.schema import IntervalSection
from llmkit.runs import Run
from llmkit.runs.samples import Sample, named_apart
from llmkit.types import CLEAN


class Training(Part):
    """The cost of an adapter's training; null where its metrics.json does not say."""

    method: str | None = None
    """The finetuning method."""
    seconds: float | int | None = None
    """Seconds of training."""
    trainable_parameters: int | None = None
    """Parameters that were trained."""
    steps: int | None = None
    """Optimizer steps."""


class BesideRow(Part):
    """One arm of one run. Inner keys are `clean` and `noisy`, for rows without answers `clean#2` and `noisy`."""

    OMITTED = frozenset({"changed"})

    run: str
    """The name of the run."""
    arm: str
    """The arm."""
    accuracy: dict[str, Interval | None]
    """Accuracy; null where it was not asked. Empty where rows have no answers."""
    changed: dict[str, Interval | None] = Field(default_factory=dict)
    """Of rows without answers: share of answers that say something else than as sent; null where it was not asked."""
    change: dict[str, Estimate | None]
    """The paired change of one of these against the first row; null for the first row itself."""
    tokens_per_answer: float | None
    """Prompt and completion tokens of all calls, for one answer."""
    training: Training | None
    """What the run's adapter cost to train; null without adapter."""


@dataclass(frozen=True, slots=True)
class Beside:
    """One row for each run and arm; changes are against the first row, on the questions that all runs share."""

    questions: int
    conditions: list[str]
    rows: list[BesideRow]
    noise: dict[str, dict[str, Copies]]
    """By run, then condition: how many of the shared questions noise changed."""
    dtypes: dict[str, str] = field(default_factory=dict)
    """The dtype of each run, in words."""

    def json(self) -> dict[str, Any]:
        """Returns the table as JSON."""
        return {
            "questions": self.questions,
            "conditions": self.conditions,
            "noise": changed.as_json(self.noise),
            "dtypes": self.dtypes,
            "rows": [row.as_dict() for row in self.rows],
        }


def beside(runs: Sequence[Path | str], section: IntervalSection | None = None) -> Beside:
    """Measures accuracy, change against the first run's first arm, tokens and training time of every run and arm.

    Noisy accuracy averages the conditions that all runs have. Training time is the adapter's own. UsageError for fewer
    than two runs, DataError where no question is shared.
    """
    section = section or IntervalSection()
    if len(runs) < 2:
        raise UsageError("a comparison needs two runs", "llmkit runs compare RUN_A RUN_B")
    paths = [Path(run) for run in runs]
    read = [named_apart(Run(path).samples()) for path in paths]
    names, trainings = run_names(paths), [_training(path) for path in paths]
    whole = dict(zip(names, read, strict=True))
    same, _ = same_questions(whole)
    counted = changed.of_runs(whole, same)
    by_changes = flags.only_changes(whole)
    first = REPLICATE if by_changes else CLEAN
    read = list(flags.flagged(whole).values()) if by_changes else read
    shared = set.intersection(
        *({s.outcome.condition for s in samples if Condition.parse(s.outcome.condition).noisy} for samples in read)
    )
    cells = Cells(
        *(
            [s for s in samples if s.outcome.question_id in same and s.outcome.condition in {first, *shared}]
            for samples in read
        )
    )
    arms = [Cell(arm, first, run) for run in range(len(paths)) for arm in cells.arms_of(run)]
    contrasts: Contrasts[Cell] = Contrasts(cells)
    for arm in arms[1:]:
        for cell in (arm, arm.under(NOISY)):
            contrasts.add(cell, {cell: 1.0, arms[0].under(cell.condition): -1.0})
    changes = contrasts.solve(section.level)
    rows = []
    for arm in arms:
        both = {first: arm, NOISY: arm.under(NOISY)}
        answers = [s for cell, group in cells.samples.items() if cell.under(first) == arm for s in group]
        shares = {name: cells.accuracy(cell, section.level) for name, cell in both.items()}
        rows.append(
            BesideRow(
                run=names[arm.run],
                arm=arm.arm,
                accuracy={} if by_changes else shares,
                changed=shares if by_changes else {},
                change={
                    name: Estimate.from_mean(mean) if (mean := changes.get(cell)) else None
                    for name, cell in both.items()
                },
                tokens_per_answer=_tokens(answers),
                training=trainings[arm.run],
            )
        )
    dtypes = {name: Run(path).dtype_in_words for name, path in zip(names, paths, strict=True)}
    return Beside(len(same), [c for c in cells.conditions if c in shared], rows, counted, dtypes)


def _tokens(samples: Sequence[Sample]) -> float | None:
    """Counts prompt and completion tokens of all calls, for one answer."""
    used = [s.outcome.usage.prompt + s.outcome.usage.completion for s in samples]
    return number(sum(used) / len(used)) if used else None


def _training(run: Path) -> Training | None:
    """Reads what the run's adapter cost to train from the metrics.json beside it or in it; None without adapter."""
    adapter = Run(run).section("model").get("adapter")
    if not adapter:
        return None
    folder = adapter_folder(adapter)
    try:
        return Training.model_validate(_metrics(folder.parent) or _metrics(folder) or {})
    except ValidationError:  # a file of another kind is no reason to refuse a comparison
        return Training()


def _metrics(folder: Path) -> dict[str, Any] | None:
    """Returns the measurements of a training; None where there are none to read, which spoils no comparison."""
    try:
        return Run(folder).metrics
    except DataError:
        return None
