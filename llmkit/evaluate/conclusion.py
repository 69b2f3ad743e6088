"""The end of every run, merge and rescoring: metrics, gates and report from its answers, written to its folder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llmkit import report
from llmkit.evaluate.generations import judged
from llmkit.measure import metrics, missing, restoration
from llmkit.measure.gates import GateResult
from llmkit.recipe import Recipe
from llmkit.runs import Run, RunFolder, names
from llmkit.runs.samples import Sample


def conclude(recipe: Recipe, samples: list[Sample], folder: RunFolder) -> tuple[dict[str, Any], list[GateResult]]:
    """Writes metrics.json and the report; returns the metrics and the gates' verdicts.

    Raises EngineError where not one answer came.
    """
    failed = missing.failures(samples)
    missing.refuse_all_failed(failed)
    stored = list(Run(recipe.eval.baseline).samples()) if recipe.eval.baseline else None
    run = Run(folder.path)
    measured = metrics(samples, recipe.eval, recipe.seed, stored)
    restoration.mark(measured, samples)
    measured["engine"] = {"kind": run.facts.get("engine"), "dtype": run.dtype}
    measured["failed"] = failed

    def again(filled: Sequence[Sample], baseline: Sequence[Sample] | None) -> dict[str, Any]:
        return metrics(filled, recipe.eval, recipe.seed, baseline)

    verdicts = judged(missing.decide(recipe.eval.gates, measured, samples, stored, again), folder.path)
    measured["gates"] = [v.row() for v in verdicts]
    folder.write_json(names.METRICS, measured)
    report.write(folder.path, samples, measured, verdicts)
    return measured, verdicts
