"""The end of every run, merge and rescoring: metrics, gates and report from its answers, written to its folder."""

from __future__ import annotations

from collections.abc import Sequence

from llmkit import report
from llmkit.measure import by_prompt, metrics, missing
from llmkit.measure.opinions import Opinions
from llmkit.measure.results import EngineFacts, Metrics
from llmkit.measure.stability import ASSUMED, Assumed
from llmkit.recipe import Recipe
from llmkit.runs import Run, RunFolder, names
from llmkit.runs.generations import mixed
from llmkit.runs.samples import Sample

_MIXED = {
    **dict.fromkeys(("value", "low", "high")),
    "verdict": "undecided",
    "reason": "two models answered this run (--keep): its numbers are of neither",
}


def conclude(recipe: Recipe, samples: list[Sample], folder: RunFolder) -> Metrics:
    """Writes metrics.json and the report; returns the metrics, with the gates' verdicts in them.

    Raises EngineError where not one answer came.
    """
    failed = missing.failures(samples)
    missing.refuse_all_failed(failed)
    stored = list(Run(recipe.eval.baseline).samples()) if recipe.eval.baseline else None
    run = Run(folder.path)
    opinions = Opinions(folder.path)

    def measure(filled: Sequence[Sample], baseline: Sequence[Sample] | None, assumed: Assumed = ASSUMED) -> Metrics:
        found = metrics(filled, recipe.eval, recipe.seed, baseline, assumed)
        return opinions.added(found, filled, recipe)

    prompted = by_prompt.by_prompt(samples, [prompt.name for prompt in recipe.prompts], measure, stored)
    measured = by_prompt.together(prompted)
    verdicts = by_prompt.decide(recipe.eval.gates, prompted, measure)
    if mixed(folder.path):
        verdicts = [verdict.model_copy(update=_MIXED) for verdict in verdicts]
    engine = EngineFacts(kind=run.facts.get("engine"), dtype=run.dtype)
    measured = measured.model_copy(update={"engine": engine, "failed": failed, "gates": tuple(verdicts)})
    folder.write_json(names.METRICS, measured.as_dict())
    report.write(folder.path, samples, measured)
    return measured
