"""What people and judges said of the answers of a run, added to its numbers: the only place where both come in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from llmkit.measure.judged import judge_of, with_judge
from llmkit.measure.labelled import LabelledRun, with_labels
from llmkit.measure.referenced import ReferencedRun
from llmkit.measure.results import Metrics
from llmkit.recipe.schema import IntervalSection
from llmkit.runs import labels, verdicts
from llmkit.runs.labels import Judgements
from llmkit.runs.samples import Sample


class Opinions:
    """The labels and the judge's verdicts in a run folder, None where there is no such file."""

    def __init__(self, folder: Path) -> None:
        self.judgements, self.verdicts = labels.judgements(folder), verdicts.read(folder)

    def added(self, measured: Metrics, samples: Sequence[Sample], section: IntervalSection, seed: int) -> Metrics:
        """Returns the metrics with what people and the judge said. Where rows have answers that is the judge's score,
        which the samples have, and how far people agree with it."""
        if self.judgements is None and self.verdicts is None:
            return measured
        if measured.unlabelled is None:
            return self._of_scores(measured, samples, section, seed)
        run = LabelledRun(samples, section, seed)
        if self.judgements is not None:
            measured = with_labels(measured, run, self.judgements)
        if self.verdicts is not None:
            measured = with_judge(measured, run, self.verdicts, self.judgements or Judgements())
        return measured

    def _of_scores(self, measured: Metrics, samples: Sequence[Sample], section: IntervalSection, seed: int) -> Metrics:
        if self.verdicts is None or not any(verdicts.SCORE in sample.outcome.scores for sample in samples):
            return measured
        pairs = ReferencedRun(samples, seed).compared
        judge = judge_of(pairs, self.verdicts, self.judgements or Judgements(), section.level)
        return measured.model_copy(update={"judge": judge})
