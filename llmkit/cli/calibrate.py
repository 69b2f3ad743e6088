"""`llmkit calibrate`: a repair with a guarantee, from a run or a recipe and rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmkit.cli import common, flags
from llmkit.cli.measure import FLAGS, Anew, DryRun, takes
from llmkit.errors import DataError, UsageError

if TYPE_CHECKING:
    from llmkit.recipe import Loaded, Override, Recipe
    from llmkit.runs import Run

Source = Annotated[
    str, typer.Argument(metavar="RUN|RECIPE", help="A finished run (its model, prompt and instructions), or a recipe.")
]
Rows = Annotated[
    str | None, typer.Option("--rows", metavar="FILE", help="Your traffic: a .csv, .jsonl or .parquet file.")
]
Clean = Annotated[
    str | None, typer.Option("--clean", metavar="FILE", help="Rows without noise, by your word: harm is counted there.")
]
Harm = Annotated[
    float, typer.Option("--harm", metavar="SHARE", help="The limit: the share of texts that may be harmed.")
]
Confidence = Annotated[
    float, typer.Option("--confidence", metavar="SHARE", help="How often such a guarantee has to be right.")
]
Chains = Annotated[
    str | None, typer.Option("--chains", metavar="A,B", help="Chains to choose from, the cheapest first: fold+spell.")
]
Detectors = Annotated[
    str | None, typer.Option("--detectors", metavar="A,B", help="The gate's detectors. Default: all that ask no model.")
]
Labels = Annotated[
    list[Path] | None,
    typer.Option("--labels", metavar="FILE", help="Use the labels.jsonl of another run, too. May be repeated."),
]
Output = Annotated[
    Path | None, typer.Option("-o", "--output", metavar="FILE", help="Default: repair.json in the run folder.")
]

_NOT_ITS_OWN = {"path", "gates", "baseline", "draws", "split", "target", "task"}
_FLAGS = {name: flag for name, flag in FLAGS.items() if name not in _NOT_ITS_OWN} | {"corrector": flags.Corrector}


@takes(_FLAGS)
def calibrate(
    source: Source,
    rows: Rows = None,
    clean: Clean = None,
    harm: Harm = 0.005,
    confidence: Confidence = 0.95,
    chains: Chains = None,
    detectors: Detectors = None,
    labels: Labels = None,
    output: Output = None,
    set_: common.Set = None,
    anew: Anew = False,
    dry_run: DryRun = False,
    no_cache: common.NoCache = False,
    json_: common.Json = False,
    **given: Any,
) -> None:
    """Choose a repair and bound the harm it does.

    Writes repair.json with its guarantee. Asks only the rows on which the gate fires. The same command resumes an
    interrupted calibration. Exit code 3 where no chain wins anything or the harm is above the limit, 5 where the rows
    do not show that it is below.
    """
    if rows is None and clean is None:
        raise UsageError("`llmkit calibrate` needs rows: --rows FILE, --clean FILE, or both")
    if output and (output.is_dir() or not output.parent.is_dir()):
        why = "is a folder" if output.is_dir() else f"cannot be written: there is no folder {output.parent}"
        raise UsageError(f"{output} {why}", "name a file in a folder that is there: -o repair.json")
    loaded = _loaded(source, rows, flags.overrides(set_, **given), given)
    from llmkit import calibrate as room
    from llmkit.repair.document import write

    claim = room.Claim(
        harm,
        confidence,
        tuple(flags.split_list(chains or "")),
        tuple(flags.split_list(detectors or "")),
        clean,
        tuple(labels or ()),
    )
    if dry_run:
        return _estimate(loaded.recipe, claim, json_)
    calibration = room.calibrate(
        loaded,
        claim,
        use_cache=not no_cache,
        quiet=common.settings.quiet,
        if_changed="anew" if anew else "stop",
    )
    path = output or calibration.folder / "repair.json"
    document = write(room.repair_file(calibration), path)
    if json_:
        return common.print_json(room.as_json(calibration, document, path))
    print(*room.lines(calibration), f"\nrepair: {path}", f"run:    {calibration.folder}", sep="\n")
    return None


def _estimate(recipe: Recipe, claim: Any, json_: bool) -> None:
    from llmkit import calibrate as room
    from llmkit.calibrate.estimate import lines

    planned = room.plan(recipe, claim)
    cost = room.estimate(planned)
    if json_:
        return common.print_json(cost.json())
    print(*planned.remarks(), *lines(cost), sep="\n")
    return None


def _loaded(source: str, rows: str | None, overrides: list[str | Override], given: dict[str, Any]) -> Loaded:
    """Loads the recipe, or that of a run with its instructions, with the rows in the place of its questions."""
    from llmkit.recipe import Override, load
    from llmkit.runs import names

    run = _run_of(source, given.get("runs_dir") or "runs")
    before = load(run.recipe_file if run else source).recipe
    keys: dict[str, Any] = {
        "data.path": rows,
        "data.task": None,
        "data.tasks": [],
        "data.split": "all",
        "data.limit": None,
        "data.answer": None,
        "data.kind": _kind(before),
        "eval.gates": [],
        "eval.baseline": None,
    }
    if run and run.command == "rop" and (run.folder / names.INSTRUCTIONS).is_file():
        keys["rop.instructions"] = str(run.folder / names.INSTRUCTIONS)
    if run and run.folder.parent != Path():
        keys["output.dir"] = str(run.folder.parent)
        keys["output.name"] = None
    replaced = [Override(key, value, "llmkit calibrate") for key, value in keys.items()]
    return common.load_trusted(str(run.recipe_file) if run else source, [*replaced, *overrides])


def _kind(recipe: Recipe) -> str:
    """Returns the kind of answer that a recipe's questions have."""
    from llmkit.tasks import TASKS

    return TASKS[recipe.data.task].kind if recipe.data.task else recipe.data.kind


def _run_of(source: str, folder: str) -> Run | None:
    """Returns the finished run that an argument names; None where it names a recipe. DataError for one that cannot be
    calibrated."""
    from llmkit.recipe import shipped_recipes
    from llmkit.runs import Run
    from llmkit.runs.listing import find

    if source == "-" or Path(source).is_file() or source in shipped_recipes():
        return None
    run = Run(source)
    if not run.exists:
        try:
            run = find(source, Path(folder))
        except DataError as error:
            hint = "`llmkit runs ls` lists runs, `llmkit recipe ls` recipes"
            raise DataError(f"{source} is neither a run nor a recipe ({error.message})", hint) from None
    if run.state == "unfinished":
        raise DataError(f"the run in {run.folder} is unfinished", "the command that began it finishes it")
    if run.command not in ("rop", "eval"):
        raise UsageError(f"{run.folder} is not a run of `rop` or `eval`", "name such a run, or a recipe")
    return run
