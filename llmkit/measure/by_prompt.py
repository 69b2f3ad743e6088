"""Several prompts in one run: each measured as a run of its own, and paired with the first, question by question."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from llmkit.measure import gates, missing, restoration
from llmkit.measure.missing import Measure
from llmkit.measure.results import GateResult, Metrics, PromptResult
from llmkit.measure.stability import ASSUMED
from llmkit.recipe.schema import Gate, Recipe
from llmkit.runs.samples import Sample


@dataclass(frozen=True)
class Prompted:
    """The answers under one prompt, and what they are compared with: the stored run's, else those under the first."""

    name: str
    samples: list[Sample]
    baseline: list[Sample] | None
    metrics: Metrics


def by_prompt(
    samples: Sequence[Sample], prompts: Sequence[str], measure: Measure, stored: Sequence[Sample] | None = None
) -> list[Prompted]:
    """Measures the answers under each prompt, in the order of the names; all of them as one without names."""
    made: list[Prompted] = []
    for name in prompts or [""]:
        own = [sample for sample in samples if sample.outcome.prompt == name] if prompts else list(samples)
        first = made[0].samples if made else None
        baseline = first if stored is None else _like(stored, name)
        measured = restoration.marked(measure(own, baseline, ASSUMED), own)
        made.append(Prompted(name, own, baseline, measured))
    return made


def _like(stored: Sequence[Sample], name: str) -> list[Sample]:
    """Returns a stored run's answers under the prompt of the same name; all where it had only one, or none."""
    named = {sample.outcome.prompt for sample in stored}
    return [s for s in stored if s.outcome.prompt == name] if len(named) > 1 and name in named else list(stored)


def together(prompted: Sequence[Prompted]) -> Metrics:
    """Returns the metrics of the first prompt, with what the others come to beside it."""
    first, *others = prompted
    results = {
        one.name: PromptResult(arms=one.metrics.arms, holm=one.metrics.holm, changes=one.metrics.baseline)
        for one in others
    }
    return first.metrics.model_copy(update={"prompt": first.name or None, "prompts": results})


def split(gate: Gate, prompts: Iterable[str]) -> tuple[str | None, Gate]:
    """Returns the prompt that a gate names before its arm, and the gate without it. `b.stand.accuracy` is about the
    prompt b; a gate that names none is about the first."""
    for name in sorted(prompts, key=len, reverse=True):
        rest = gate.metric.removeprefix(f"{name}.")
        if rest != gate.metric and "." in rest:
            return name, gate.model_copy(update={"metric": rest})
    return None, gate


def validate(recipe: Recipe, arms: Sequence[str], conditions: Sequence[str], **rows: Any) -> list[Gate]:
    """Raises UsageError for a gate on what a run will not have; returns the gates without the names of prompts. `rows`
    is what else `gates.validate` asks about."""
    prompts = [section.name for section in recipe.prompts]
    judged = []
    for declared in recipe.eval.gates:
        name, gate = split(declared, prompts)
        compared = bool(recipe.eval.baseline) or name in prompts[1:]
        gates.validate([gate], arms, conditions, baseline=compared, **rows)
        judged.append(gate)
    return judged


def decide(declared: Sequence[Gate], prompted: Sequence[Prompted], measure: Measure) -> list[GateResult]:
    """Judges every gate by the prompt that it is about."""
    by_name = {one.name: one for one in prompted}
    results: list[GateResult] = []
    for declared_gate in declared:
        name, gate = split(declared_gate, by_name)
        one = by_name[name] if name else prompted[0]
        for result in missing.decide([gate], one.metrics, one.samples, one.baseline, measure):
            before = f"{name}." if name else ""
            named = {"gate": f"{before}{result.gate}", "metric": f"{before}{result.metric}"}
            results.append(result.model_copy(update=named))
    return results
