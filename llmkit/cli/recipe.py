"""`llmkit recipe`: check, show, start."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmkit.cli.common import Json, Set, Source, note, print_json, print_table, unknown_kinds
from llmkit.errors import LlmkitError, RecipeError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmkit.recipe import Fault, Loaded

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Check, show and start recipes.")


@app.command()
def ls(as_json: Json = False) -> None:
    """List the recipes that come with llmkit."""
    from llmkit.recipe import shipped_recipes
    from llmkit.resources import shipped

    rows = [{"name": name, "about": _about(shipped("recipes") / f"{name}.yaml")} for name in shipped_recipes()]
    if as_json:
        print_json(rows)
    else:
        print_table(["recipe", "about"], [[r["name"], r["about"]] for r in rows])


@app.command()
def check(
    sources: Annotated[list[str], typer.Argument(metavar="RECIPE", help="Files, shipped recipes, or `-`.")],
    sets: Set = None,
    as_json: Json = False,
) -> None:
    """Find every fault: file, line and key. Exit 2 if there is any."""
    from llmkit.recipe import Fault, Origin, digest, examine, refuse

    results, faults = [], []
    for source in sources:
        try:
            loaded, here = examine(source, sets or ())
        except RecipeError as error:  # cannot be read at all; the next one may
            message = error.message.removeprefix(f"{source}: ")
            loaded, here = None, [Fault(Origin(0, source), "", f"{message} ({error.hint})" if error.hint else message)]
        if loaded is not None:
            here = _faults_of_meaning(loaded)
        faults += here
        results.append({"recipe": source, "ok": not here, "digest": digest(loaded.recipe) if loaded else None})
        if not (here or as_json):
            print(f"{source}: ok ({results[-1]['digest']})")
    if as_json:
        as_rows = [{"file": f.origin.source, "line": f.origin.line, "key": f.key, "message": f.message} for f in faults]
        print_json({"recipes": results, "faults": as_rows})
        if faults:
            raise typer.Exit(RecipeError.exit_code)
    elif faults:
        raise refuse(faults)


@app.command()
def show(
    source: Source = None,
    sets: Set = None,
    origins: Annotated[bool, typer.Option("--origins", help="Say where each value comes from.")] = False,
    as_json: Json = False,
) -> None:
    """Print a recipe with all defaults filled in."""
    from llmkit.recipe import digest, load, to_yaml, with_origins, without_secrets
    from llmkit.secrets import scrub_values

    loaded = load(source, sets or ())
    if as_json:
        given = {key: str(origin) for key, origin in loaded.origins.items()}
        recipe = scrub_values(loaded.recipe.model_dump(mode="json"))
        print_json({"recipe": recipe, "digest": digest(loaded.recipe), "origins": given})
    else:
        print(without_secrets(with_origins(loaded) if origins else to_yaml(loaded.recipe)), end="")


@app.command()
def schema(as_json: Json = True) -> None:  # --json changes nothing: a schema is JSON anyway
    """Print the JSON Schema of recipes, for editors."""
    from llmkit.recipe import schema as make

    print_json(make())


@app.command()
def init(
    path: Annotated[str, typer.Argument(metavar="FILE", help="Where to write; `-` for stdout.")] = "recipe.yaml",
    extends: Annotated[
        str | None, typer.Option("--extends", metavar="RECIPE", help="Start from this one (`llmkit recipe ls`).")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    as_json: Json = False,
) -> None:
    """Write a recipe with every key, its default and its meaning."""
    from llmkit.recipe import examine, refuse, starter
    from llmkit.recipe.load import base_named

    if extends is not None:
        base_named(extends, Path(path).parent)
    text = starter(extends)
    if path == "-":
        sys.stdout.write(text)
        return
    try:
        with open(path, "w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UsageError(f"{path} exists", "choose another name, or --force to overwrite it") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from None
    if extends is not None and (faults := examine(path)[1]):
        raise refuse(faults)
    if as_json:
        print_json({"path": path})
    else:
        note(f"wrote {path}: every key with its default. Next: edit it, then `llmkit recipe check {path}`")


def _faults_of_meaning(loaded: Loaded) -> list[Fault]:
    """Returns the faults that the format alone does not show: unknown names, and gates that could not pass."""
    from llmkit import judging
    from llmkit.measure import gates, limits
    from llmkit.perturb import Perturber
    from llmkit.perturb.spec import spec_names
    from llmkit.perturb.variants import perturbers
    from llmkit.recipe import Fault, Origin
    from llmkit.rop import arm_of
    from llmkit.tasks import KINDS, SCORERS, TASKS, scorer_of

    recipe, faults = loaded.recipe, unknown_kinds(loaded)

    def attempt(key: str, check: Callable[..., Any], *values: Any) -> None:
        try:
            check(*values)
        except LlmkitError as error:
            message = f"{error.message} ({error.hint})" if error.hint else error.message
            faults.append(Fault(loaded.origin(key) or Origin(0, "default"), key, message))

    if recipe.data.task is not None:
        attempt("data.task", TASKS.__getitem__, recipe.data.task)
    attempt("data.kind", KINDS.__getitem__, recipe.data.kind)
    if not faults:
        attempt("data.json_schema", KINDS[recipe.data.kind].of, recipe.data)
    attempt("eval.scorer", SCORERS.__getitem__, recipe.eval.scorer)
    for i, name in enumerate(recipe.eval.scores):
        attempt(f"eval.scores.{i}", SCORERS.__getitem__, name)
    if not faults:
        attempt("eval.judge" if recipe.eval.pattern is None else "eval.pattern", scorer_of, recipe)
    if not faults:
        attempt("eval.judge", partial(judging.refuse, unlabelled=recipe.data.answer is None), recipe)
    for i, given in enumerate(recipe.perturb.conditions):
        for spec in spec_names(given) or [given]:
            attempt(f"perturb.conditions.{i}", Perturber, spec)
    for rate in recipe.perturb.rate if isinstance(recipe.perturb.rate, tuple) else (recipe.perturb.rate,):
        attempt("perturb.rate", Perturber, "ec", rate)
    attempt("perturb.protect", lambda: Perturber("ec", protect=recipe.perturb.protect))
    attempt("perturb.release", lambda: Perturber("ec", release=recipe.perturb.release))
    attempt("perturb.lang", lambda: Perturber("ec", lang=recipe.perturb.lang))
    for section, arms in (("rop", recipe.rop.arms), ("eval", recipe.eval.arms)):
        for i, arm in enumerate(arms):
            attempt(f"{section}.arms.{i}", arm_of, arm)
    if not faults:  # gates speak of arms and conditions, so those must be right first
        known_arms = list(dict.fromkeys((*recipe.rop.arms, *recipe.eval.arms)))
        conditions = list(perturbers(recipe.perturb, recipe.seed, data_dir=recipe.data.data_dir))
        # A kind of answer may give scores that only the rows name.
        kind = KINDS[recipe.data.kind]
        scores = None if kind.has_scores else {recipe.eval.scorer, *recipe.eval.scores, *kind.of_all}
        for i, gate in enumerate(recipe.eval.gates):
            attempt(
                f"eval.gates.{i}", partial(gates.validate, baseline=True, scores=scores), [gate], known_arms, conditions
            )
            attempt(f"eval.gates.{i}", limits.refuse_idle, [gate])
            if recipe.data.limit is not None:
                level = recipe.eval.interval.level
                attempt(f"eval.gates.{i}", gates.refuse_hopeless, [gate], recipe.data.limit, level)
    return sorted(faults)


def _about(path: Path) -> str:
    """Returns the first comment line of a recipe."""
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    return first.lstrip("# ") if first.startswith("#") else ""
