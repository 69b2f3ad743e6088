"""The end of every run, merge and rescoring: metrics, gates and report from its answers, written to its folder."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from llmkit import report
from llmkit.measure import by_prompt, looks, metrics, missing, stored
from llmkit.measure.opinions import Opinions
from llmkit.measure.results import EngineFacts, Looked, Metrics
from llmkit.measure.stability import ASSUMED, Assumed
from llmkit.recipe import Recipe
from llmkit.recipe.schema import Gate
from llmkit.runs import Run, RunFolder, names
from llmkit.runs.generations import mixed
from llmkit.runs.samples import Sample

_MIXED = {
    **dict.fromkeys(("value", "low", "high")),
    "verdict": "undecided",
    "reason": "two models answered this run (--keep): its numbers are of neither",
}


def conclude(recipe: Recipe, samples: list[Sample], folder: RunFolder, looked: Looked | None = None) -> Metrics:
    """Writes metrics.json and the report; returns the metrics, with the gates' verdicts in them.

    `looked` says at which look a run stopped. Raises EngineError where not one answer came.
    """
    measured = judge(recipe, samples, folder, recipe.eval.gates, looked)
    folder.write_json(names.METRICS, measured.as_dict())
    report.write(folder.path, samples, measured)
    return measured


def judge(
    recipe: Recipe, samples: list[Sample], folder: RunFolder, gates: Sequence[Gate], looked: Looked | None
) -> Metrics:
    """Returns the metrics of a run, or of one look at it, with the verdicts of these gates. Raises as `conclude`."""
    failed = missing.failures(samples)
    missing.refuse_all_failed(failed)
    baseline_answers = stored.answers(recipe, samples)
    run = Run(folder.path)
    opinions = Opinions(folder.path)
    section = looks.at_level(recipe.eval, looked)

    def measure(filled: Sequence[Sample], baseline: Sequence[Sample] | None, assumed: Assumed = ASSUMED) -> Metrics:
        found = metrics(filled, section, recipe.seed, baseline, assumed)
        return opinions.added(found, filled, section.interval, recipe.seed)

    prompted = by_prompt.by_prompt(samples, [prompt.name for prompt in recipe.prompts], measure, baseline_answers)
    measured = stored.marked(by_prompt.together(prompted), recipe)
    measured = looks.as_looked(measured, recipe.eval.interval, looked)
    verdicts = by_prompt.decide(gates, prompted, measure)
    if mixed(folder.path):
        verdicts = [verdict.model_copy(update=_MIXED) for verdict in verdicts]
    engine = EngineFacts(kind=run.facts.get("engine"), dtype=run.dtype)
    return measured.model_copy(update={"engine": engine, "failed": failed, "gates": tuple(verdicts)})


def stops(recipe: Recipe, samples: list[Sample], folder: RunFolder, looked: Looked, quiet: bool) -> bool:
    """Returns whether a run stops at a look: all its gates are decided by what was asked so far."""
    verdicts = judge(recipe, samples, folder, looks.careful(recipe.eval.gates), looked).gates
    if not quiet:
        print(looks.progress(looked, verdicts), file=sys.stderr)
    return looks.decided(verdicts)
