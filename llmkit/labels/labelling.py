"""One run whose answers a person labels: its pairs, its labels and those of earlier runs, and its numbers anew."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from llmkit.errors import DataError, UsageError
from llmkit.evaluate.conclusion import conclude
from llmkit.labels.session import Session
from llmkit.measure import limits, looks
from llmkit.measure.answers import Pair
from llmkit.measure.labelled import LabelledRun
from llmkit.measure.referenced import ReferencedRun
from llmkit.measure.results import Labelled, Looked, Metrics
from llmkit.measure.stability import unlabelled
from llmkit.recipe import Recipe
from llmkit.runs import Run, RunFolder, names
from llmkit.runs.labels import Judgements, Label, append, read
from llmkit.runs.listing import runs_in
from llmkit.runs.samples import Sample
from llmkit.runs.verdicts import SCORE


class Labelling:
    """The labelling of one run. It holds the run's folder, so no other process changes it meanwhile."""

    def __init__(self, folder: RunFolder, recipe: Recipe, samples: list[Sample], looked: Looked | None = None) -> None:
        self.folder, self.recipe, self.samples, self.looked = folder, recipe, samples, looked
        self.file = folder.path / names.LABELS
        self.run: LabelledRun | ReferencedRun = (
            LabelledRun(samples, recipe.eval.interval, recipe.seed)
            if unlabelled(samples)
            else ReferencedRun(samples, recipe.seed)
        )

    @property
    def judgements(self) -> Judgements:
        """The judgements so far."""
        return Judgements(read(self.file))

    def counts(self) -> Labelled:
        """Returns how far the labelling has come."""
        return self.run.counts(self.judgements)

    def open_pairs(self, rows: int | None = None) -> list[Pair]:
        """Returns the pairs without a label, in their random order; with `rows`, those of the first so many rows."""
        known = self.judgements
        drawn = {row.id for row in self.run.judged_rows[:rows]}
        return [p for p in self.run.pairs if p.row.id in drawn and self.run.state(p, known) is None]

    def behind(self) -> int:
        """Returns how many rows with every label do not count, because a row before them in the random order has
        none."""
        return self.run.behind(self.judgements)

    def session(self, pairs: Sequence[Pair]) -> Session:
        """Returns the way of a person through these pairs."""
        return Session(pairs, self.file, self.folder.path.name)

    def adopt(self, files: Iterable[Path]) -> int:
        """Adds labels of other files that speak of this run's answers, and returns how many. DataError for a file that
        is damaged or not there."""
        needed = {
            (row.digest, digest)
            for row in self.run.judged_rows
            for place in range(len(row.answers))
            for digest in row.digests(place)
        }
        known = set(read(self.file))
        adopted: list[Label] = []
        for file in files:
            if not file.is_file():
                raise DataError(f"there is no file {file}", "labels are in the labels.jsonl of a run folder")
            for label in Judgements(read(file)).pairs.values():
                speaks = needed & {(label.text, label.first), (label.text, label.second)}
                if speaks and label not in known:
                    known.add(label)
                    adopted.append(label)
        append(self.file, adopted)
        return len(adopted)

    def conclude(self) -> Metrics:
        """Measures the run again with its labels, and writes metrics, report and junit.xml. Returns the metrics, with
        the verdicts of the gates in them."""
        append(self.file, [])  # without a file, nobody was asked
        return conclude(self.recipe, self.samples, self.folder, self.looked)


@contextmanager
def labelling(run: Run, recipe: Recipe) -> Iterator[Labelling]:
    """Opens a finished run for labelling. UsageError where its rows have answers and no judge was asked, it does not
    hold its texts, or another process works in it; DataError where it is unfinished."""
    limits.refuse_idle(recipe.eval.gates)
    with RunFolder.reopen_finished(run.folder) as folder:
        samples, looked = looks.measured_by(run, list(run.samples()), recipe.seed)
        if not unlabelled(samples) and not any(SCORE in sample.outcome.scores for sample in samples):
            raise UsageError(
                f"the rows of `{run.name}` have answers, so there is nothing to label",
                "label is for rows without answers (llmkit eval ROWS.csv --field NAME), and for a judge's verdicts "
                "(llmkit judge)",
            )
        if recipe.output.texts != "full":
            raise UsageError(
                f"`{run.name}` does not hold its texts (output.texts: {recipe.output.texts}), so nobody can read them",
                "run it with output.texts: full where the texts may be kept, and label there",
            )
        yield Labelling(folder, recipe, samples, looked)


def files_of_earlier_runs(run: Run) -> list[Path]:
    """Returns the labels.jsonl of the runs beside this one that have its name and another digest: the same command on
    the same file, with other settings."""
    name, dash, _ = run.folder.resolve().name.rpartition("-")
    if not dash:
        return []
    beside = (other.folder for other in runs_in(run.folder.resolve().parent))
    same = sorted(folder for folder in beside if folder.name.rpartition("-")[0] == name)
    files = (folder / names.LABELS for folder in same if folder.name != run.folder.resolve().name)
    return [file for file in files if file.is_file()]
