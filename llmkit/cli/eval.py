"""`llmkit eval`: measures a model on clean and noisy questions; `score` and `export` work on a finished run."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from llmkit.cli import common, flags
from llmkit.cli.measure import FLAGS, Anew, DryRun, Keep, Shard, measure, takes


class _RunByDefault(TyperGroup):
    """`llmkit eval RECIPE` means `llmkit eval run RECIPE`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in ("-h", "--help")):
            args = ["run", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_RunByDefault,
    add_completion=False,
    rich_markup_mode=None,
    help="Measure a model on clean and noisy questions: `llmkit eval [RECIPE] [FLAGS]`. Flags: `llmkit eval run -h`.",
)


@app.command()
@takes(FLAGS | {"eval_arms": flags.EvalArms})
def run(
    source: common.RecipeOrRows = None,
    set_: common.Set = None,
    shard: Shard = None,
    anew: Anew = False,
    keep: Keep = False,
    dry_run: DryRun = False,
    no_cache: common.NoCache = False,
    json_: common.Json = False,
    **given: Any,
) -> None:
    """Measure a model on clean and noisy questions. This is what `llmkit eval` does without a subcommand."""
    measure(
        source,
        flags.overrides(set_, **given),
        "eval",
        use_cache=not no_cache,
        json_=json_,
        shard=shard,
        dry_run=dry_run,
        anew=anew,
        keep=keep,
    )


@app.command()
def score(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run folder.")],
    gate: flags.Gates = None,
    set_: common.Set = None,
    no_cache: common.NoCache = False,
    json_: common.Json = False,
) -> None:
    """Extract and score a finished run's replies again. Only the scorer `judge` asks a model."""
    from llmkit.evaluate.rescore import rescore
    from llmkit.measure import gates, missing
    from llmkit.recipe import code_in_files, load, refuse
    from llmkit.report import summary
    from llmkit.report.terminal import console
    from llmkit.runs import Run

    folder = Run(run)
    loaded = load(folder.recipe_file, flags.overrides(set_, gates=gate))
    if loaded.recipe.eval.judge is not None:  # it may have to ask, and a run folder may come from elsewhere
        if faults := [fault for fault in code_in_files(loaded) if fault.key != "engine.kind"]:
            raise refuse(faults)
        common.trusted(loaded)
    rescored = rescore(folder.folder, loaded, use_cache=not no_cache, quiet=common.settings.quiet)
    if json_:
        common.print_json({"run": run, "changed": rescored.changed, **rescored.metrics.as_dict()})
    else:
        console().print(summary(rescored.metrics))
        print(f"\n{rescored.changed} of {rescored.outcomes} verdicts changed\nrun: {run}")
    missing.refuse_too_many(rescored.metrics.failed, loaded.recipe.eval.max_errors)
    gates.enforce(rescored.gates)


@app.command()
def export(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run folder.")],
    form: Annotated[str, typer.Option("--format", metavar="FORMAT", help="lm-eval or inspect.")],
    arm: Annotated[str, typer.Option("--arm", help="Whose prompts to write.")] = "stand",
    out: Annotated[str | None, typer.Option("--out", metavar="DIR", help="Default: RUN/FORMAT.")] = None,
    json_: common.Json = False,
) -> None:
    """Write a run's questions and prompts as a task for lm-eval or Inspect."""
    from llmkit.report.export import export as written

    paths = written(run, form, out, arm)
    if json_:
        common.print_json([str(path) for path in paths])
    else:
        print("\n".join(map(str, paths)))
