"""The end of every run, merge and rescoring: metrics, gates and report from its answers, written to its folder."""

from __future__ import annotations

from collections.abc import Sequence

from llmkit import report
from llmkit.evaluate.generations import judged
from llmkit.measure import metrics, missing, restoration
from llmkit.measure.results import EngineFacts, Metrics
from llmkit.recipe import Recipe
from llmkit.runs import RunFolder
from llmkit.runs.samples import Sample, facts_of, read_samples


def conclude(recipe: Recipe, samples: list[Sample], folder: RunFolder) -> Metrics:
    """Writes metrics.json and the report; returns the metrics, with the gates' verdicts in them.

    Raises EngineError where not one answer came.
    """
    failed = missing.failures(samples)
    missing.refuse_all_failed(failed)
    stored = list(read_samples(recipe.eval.baseline)) if recipe.eval.baseline else None
    facts = facts_of(folder.path)
    measured = restoration.marked(metrics(samples, recipe.eval, recipe.seed, stored), samples)

    def again(filled: Sequence[Sample], baseline: Sequence[Sample] | None) -> Metrics:
        return metrics(filled, recipe.eval, recipe.seed, baseline)

    verdicts = judged(missing.decide(recipe.eval.gates, measured, samples, stored, again), folder.path)
    engine = EngineFacts(kind=facts.get("engine"), dtype=facts.get("dtype"))
    measured = measured.model_copy(update={"engine": engine, "failed": failed, "gates": tuple(verdicts)})
    folder.write_json("metrics.json", measured.as_dict())
    report.write(folder.path, samples, measured.as_dict(), verdicts)
    return measured
