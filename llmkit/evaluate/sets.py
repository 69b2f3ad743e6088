"""One recipe over several question sets (`data.tasks`): a run for each, one token budget, and the mean over all."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from llmkit.evaluate.estimate import Estimate, estimate
from llmkit.evaluate.plan import Command, Shard, plan
from llmkit.evaluate.run import Result, run
from llmkit.measure import gates, missing
from llmkit.measure.results import Metrics
from llmkit.recipe import Loaded, Recipe
from llmkit.runs.generations import IfChanged


@dataclass(frozen=True)
class Means:
    """Plain means over sets, each of which counts the same: the last column of Table 1 in arXiv 2506.03627.

    `accuracy` is by arm and condition, `changed` the share of questions that noise changed, by condition. None where no
    set has the condition.
    """

    sets: int
    conditions: list[str]
    accuracy: dict[str, dict[str, float | None]]
    changed: dict[str, float | None]
    dtypes: list[str | None]
    """The dtypes of the runs, each once; None for a server, which does not state its own."""


def recipes_of(loaded: Loaded) -> list[Loaded]:
    """Returns a recipe for each of `data.tasks`; the recipe itself where it names no such list."""
    return [_with_task(loaded, task) for task in loaded.recipe.data.tasks] or [loaded]


def _with_task(loaded: Loaded, task: str) -> Loaded:
    # `data.tasks` stays in the recipe, because it is part of the digest that names the runs of earlier releases.
    data = loaded.recipe.data.model_copy(update={"task": task})
    return replace(loaded, recipe=loaded.recipe.model_copy(update={"data": data}))


def run_each(
    loaded: Loaded,
    command: Command,
    *,
    use_cache: bool = True,
    quiet: bool = False,
    shard: Shard | None = None,
    if_changed: IfChanged = "stop",
) -> Iterator[Result]:
    """Runs, or resumes, one set after the other, and yields each result as soon as it is there.

    The sets share the budget `eval.max_tokens_total`: each run begins with the tokens that those before it used.
    """
    tokens = 0
    for one in recipes_of(loaded):
        if one is not loaded and not quiet:
            print(f"{one.recipe.data.task}:", file=sys.stderr, flush=True)
        result = run(one, command, use_cache=use_cache, quiet=quiet, shard=shard, tokens=tokens, if_changed=if_changed)
        tokens = result.tokens
        yield result


def estimate_each(loaded: Loaded, command: Command) -> list[tuple[Recipe, Estimate]]:
    """Returns what each set will cost, with its recipe. Asks no model."""
    return [(one.recipe, estimate(plan(one.recipe, command))) for one in recipes_of(loaded)]


def means(results: Sequence[Result]) -> Means:
    """Returns the means over the finished runs of several sets. All have the arms of the first."""
    measured = [result.metrics for result in results if result.metrics]
    conditions = list(measured[0].conditions)
    accuracy = {arm: {c: _mean_accuracy(measured, arm, c) for c in conditions} for arm in measured[0].arms}
    changed = {c: _mean([m.noise[c].share for m in measured if c in m.noise]) for c in conditions}
    dtypes = list(dict.fromkeys(m.engine.dtype if m.engine else None for m in measured))
    return Means(len(results), conditions, accuracy, changed, dtypes)


def enforce(results: Sequence[Result], recipe: Recipe) -> None:
    """Raises what the runs come to: Incomplete where too many answers failed, else what their gates decide."""
    for result in results:
        missing.refuse_too_many(missing.failures(result.samples), recipe.eval.max_errors)
    gates.enforce([verdict for result in results for verdict in result.gates])


def _mean_accuracy(measured: Sequence[Metrics], arm: str, condition: str) -> float | None:
    cells = [metrics.arms[arm].conditions.get(condition) for metrics in measured]
    return _mean([cell.accuracy.value for cell in cells if cell and cell.accuracy])


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
