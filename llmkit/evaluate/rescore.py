"""Scores a finished run again from what was said: after a better extractor, or for other gates. Only the scorer
`judge` asks a model, about the replies that it has not seen."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path

from llmkit import judging
from llmkit.errors import DataError
from llmkit.evaluate.conclusion import conclude
from llmkit.measure import limits, looks
from llmkit.measure.results import GateResult, Metrics
from llmkit.recipe import Loaded
from llmkit.runs import Run, RunFolder, names
from llmkit.runs.samples import Compact
from llmkit.tasks import scorer_of
from llmkit.types import Question


@dataclass(frozen=True)
class Rescored:
    """New metrics, and how many verdicts differ from the last ones in the journal."""

    folder: Path
    metrics: Metrics
    gates: list[GateResult]
    changed: int
    outcomes: int


def rescore(run: Path, loaded: Loaded, *, use_cache: bool = True, quiet: bool = True) -> Rescored:
    """Extracts and scores every reply in a run's journal again, and rewrites its metrics and report.

    Verdicts that changed are added to the journal, so that comparisons with this run count the same ones. DataError
    where the folder holds no outcomes or the run is unfinished, UsageError where another process works in it. Of the
    budget only what judges use counts.
    """
    limits.refuse_idle(loaded.recipe.eval.gates)
    with RunFolder.reopen_finished(run) as folder:
        return _rescore(folder, loaded, use_cache, quiet)


def _rescore(folder: RunFolder, loaded: Loaded, use_cache: bool, quiet: bool) -> Rescored:
    run = Run(folder.path)
    scorer = scorer_of(loaded.recipe)
    if loaded.recipe.eval.judge is not None:
        judging.refuse(loaded.recipe, unlabelled=any(row["gold"] is None for row in run.outcomes()))
    samples, changed, compact = [], 0, Compact()
    for row in run.outcomes():
        before = compact.sample(row)
        if before.hidden:  # its reply is not there to be read again
            samples.append(before)
            continue
        if missing := [name for name in ("question", "question_kind", "options", "said") if name not in row]:
            raise DataError(
                f"{folder.path}: the answer {row['key']!r} in samples.jsonl has no `{missing[0]}`",
                "it cannot be scored again; the same llmkit command asks it again",
            )
        about = row["question_id"], row["question"], row["gold"], row["question_kind"], tuple(row["options"])
        question = Question(*about, labels=tuple(row.get("labels") or ()))
        # Older journals lack what the arm knew; their replies say the same.
        after = replace(before.outcome, **asdict(scorer.judge(row["said"], row.get("arm_parsed"), question)))
        changed += after.correct != before.outcome.correct
        # A line more, not another journal: what the run said at first stays readable.
        if after != before.outcome:
            verdict = {name: getattr(after, name) for name in names.SCORED}
            folder.append({"kind": names.VERDICT, "key": row["key"], **verdict})
        samples.append(replace(before, outcome=after))
    samples, _ = judging.judged(loaded.recipe, samples, folder.path, use_cache=use_cache, quiet=quiet)
    measured_by = looks.measured_by(run, samples, loaded.recipe.seed)
    measured = conclude(loaded.recipe, measured_by[0], folder, measured_by[1])
    return Rescored(folder.path, measured, list(measured.gates), changed, len(samples))
