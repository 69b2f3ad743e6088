"""One recipe over several question sets (`data.tasks`): a run for each, under one token budget."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from llmkit.evaluate.estimate import Estimate, estimate
from llmkit.evaluate.plan import Command, Shard, plan
from llmkit.evaluate.run import Result, run
from llmkit.measure import gates, missing
from llmkit.recipe import Loaded, Recipe
from llmkit.runs.generations import IfChanged


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
    for one in loaded.by_task():
        if one is not loaded and not quiet:
            print(f"{one.recipe.data.task}:", file=sys.stderr, flush=True)
        result = run(one, command, use_cache=use_cache, quiet=quiet, shard=shard, tokens=tokens, if_changed=if_changed)
        tokens = result.tokens
        yield result


def estimate_each(loaded: Loaded, command: Command) -> list[tuple[Recipe, Estimate]]:
    """Returns what each set will cost, with its recipe. Asks no model."""
    return [(one.recipe, estimate(plan(one.recipe, command))) for one in loaded.by_task()]


def enforce(results: Sequence[Result], recipe: Recipe) -> None:
    """Raises what the runs come to: Incomplete where too many answers failed, else what their gates decide."""
    for result in results:
        missing.refuse_too_many(missing.failures(result.samples), recipe.eval.max_errors)
    gates.enforce([verdict for result in results for verdict in result.gates])
