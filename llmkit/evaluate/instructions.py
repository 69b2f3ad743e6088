"""The instructions that a run uses: given ones, or those that a journalled search finds; instructions.json."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from llmkit.conditions import POOLED, Condition
from llmkit.engines import Engine
from llmkit.evaluate import jobs, pools
from llmkit.evaluate.journal import search_row
from llmkit.evaluate.plan import Plan, instructions_given
from llmkit.perturb.spec import spec_names
from llmkit.recipe import Recipe
from llmkit.repair import document
from llmkit.rop import Instructions, gated, provenance, search_both, to_json
from llmkit.runs import Progress, RunFolder, Runner
from llmkit.runs.names import INSTRUCTIONS, REPAIR
from llmkit.runs.roles import are_local
from llmkit.types import Ask, Role, Steps


def settle(planned: Plan, runner: Runner, folder: RunFolder, quiet: bool) -> list[Instructions]:
    """Returns the instructions given, or found by a search whose every call is journalled."""
    if not planned.searches:
        # A server's identity is known only after a request, and only a search has made one by now.
        return write_given(planned.recipe, folder, runner.engines if are_local(runner.engines) else None)

    def ask(jobs: Iterable[tuple[str, Steps]]) -> Iterator[tuple[str, Any]]:
        for done in runner.run(jobs):
            # Failures are journalled as well: the calls before them were paid for, and count against the budget.
            name = str(done.key)
            folder.append(search_row(name, done.calls, done.error))
            yield name, None if done.error else done.result

    with Progress("searching instructions", quiet=quiet) as runner.progress:
        found = _search(planned, ask)
    _write_found(found, planned, folder, runner.engines)
    return found


def write_given(recipe: Recipe, folder: RunFolder, engines: Mapping[Role, Engine] | None = None) -> list[Instructions]:
    """Writes instructions.json of a run without a search, and returns the instructions. Those of an earlier run keep
    what is known of them, beside who uses them now."""
    given, origin = instructions_given(recipe)
    if recipe.rop.instructions:
        kept = recipe.output.texts == "full"
        origin = {key: value for key, value in origin.items() if kept or key != "tuned_on"}
        told = provenance.of_use(origin, recipe, folder.path.name)
    else:
        told = provenance.of_search(recipe, folder.path.name, [], [], engines)
    folder.write_json(INSTRUCTIONS, to_json(given, told))
    return given


def _write_found(found: list[Instructions], planned: Plan, folder: RunFolder, engines: Mapping[Role, Engine]) -> None:
    recipe, run = planned.recipe, folder.path.name
    told = provenance.of_search(recipe, run, planned.train, planned.dev, engines)
    folder.write_json(INSTRUCTIONS, to_json(found, told))
    shots = jobs.demos(recipe, planned.needs, planned.train, planned.ask)[1]
    if repair := gated.searched_repair(found, recipe, run, shots):
        document.write(repair, folder.path / REPAIR)


def _search(planned: Plan, ask: Ask) -> list[Instructions]:
    """Makes one search for each search seed and each set of noise kinds that the scope or the held-out scheme asks
    for."""
    recipe = planned.recipe
    kinds = spec_names(recipe.perturb.conditions)
    if recipe.rop.holdout == "one-out":
        sets = {str(Condition(POOLED, held_out=kind)): [k for k in kinds if k != kind] for kind in kinds}
    elif recipe.rop.scope == "per_type":
        sets = {kind: [kind] for kind in kinds}
    else:
        sets = {POOLED: kinds}
    found = []
    for name, chosen in sets.items():
        tuning = pools.noisy_pools(planned.train, planned.dev, chosen, recipe, planned.ask)
        for number in range(recipe.rop.search_seeds):
            # Every search names its calls alike; the journal holds them all, so each gets a prefix of its own.

            def named(jobs: Iterable[tuple[str, Steps]], prefix: str = f"{name}/{number}") -> Iterator[tuple[str, Any]]:
                for key, value in ask((f"{prefix}/{key}", steps) for key, steps in jobs):
                    yield key.removeprefix(f"{prefix}/"), value

            found.append(
                search_both(
                    recipe.rop,
                    tuning,
                    named,
                    planned.scorer,
                    trained_on=name,
                    seed=recipe.seed,
                    number=number,
                    likelihood=recipe.eval.answer == "likelihood",
                    prompt=next(iter(planned.prompts), None),
                )
            )
    return found
