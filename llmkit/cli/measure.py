"""The body of `rop` and `eval`: their flags, one call of `evaluate`, and its results printed."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from llmkit.cli import common, flags, rows
from llmkit.errors import UsageError

if TYPE_CHECKING:
    from llmkit.evaluate import Estimate, Result
    from llmkit.measure.means import Means
    from llmkit.recipe import Loaded, Recipe

Command = Literal["rop", "eval"]
F = TypeVar("F", bound=Callable[..., None])

Profile = Annotated[
    str | None, typer.Option("--profile", metavar="NAME", help="paper or paper-text: the settings of the paper.")
]
Shard = Annotated[
    str | None, typer.Option("--shard", metavar="I/N", help="Only part I of N; join them with `llmkit runs merge`.")
]
Anew = Annotated[
    bool, typer.Option("--anew", help="Ask everything again; the run's old answers stay in its journal, marked.")
]
Keep = Annotated[
    bool, typer.Option("--keep", help="Go on although a server's model has changed; gates stay undecided.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show calls, tokens and prompts; ask no model.")]

FLAGS = {
    "model": flags.Model,
    "adapter": flags.Adapter,
    "task": flags.Task,
    "path": flags.Path,
    "question": flags.QuestionField,
    "answer": flags.AnswerField,
    "kind": flags.Kind,
    "prompt": flags.Prompt,
    "data_dir": flags.DataDir,
    "limit": flags.Limit,
    "split": flags.Split,
    "conditions": flags.Conditions,
    "rate": flags.Rate,
    "target": flags.Target,
    "draws": flags.Draws,
    "instructions": flags.Instructions,
    "repair": flags.Repair,
    "engine": flags.EngineKind,
    "dtype": flags.Dtype,
    "base_url": flags.BaseUrl,
    "revision": flags.Revision,
    "model_id": flags.ModelId,
    "temperature": flags.Temperature,
    "seed": flags.Seed,
    "runs_dir": flags.RunsDir,
    "out": flags.Out,
    "name": flags.Name,
    "max_tokens_total": flags.MaxTokens,
    "gates": flags.Gates,
    "baseline": flags.Baseline,
}
"""The flags that set recipe keys in both commands, by their names in `flags.KEYS`."""


def takes(options: Mapping[str, Any]) -> Callable[[F], F]:
    """Gives a command these flags where it says `**given`; one that was not given is None."""

    def give(command: F) -> F:
        signature = inspect.signature(command, eval_str=True)
        first, *own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        only = inspect.Parameter.KEYWORD_ONLY
        more = [inspect.Parameter(name, only, default=None, annotation=option) for name, option in options.items()]
        taken = signature.replace(parameters=[first, *more, *(p.replace(kind=only) for p in own)])
        vars(command)["__signature__"] = taken  # what `inspect`, and so Typer, takes for the command's own
        return command

    return give


def measure(
    source: str | None,
    overrides: list[Any],
    command: Command,
    *,
    use_cache: bool,
    json_: bool,
    shard: str | None,
    dry_run: bool,
    anew: bool,
    keep: bool,
) -> None:
    """Runs or resumes `command`, prints its tables (or JSON), and raises what its gates decide."""
    if anew and keep:
        raise UsageError("--anew and --keep exclude each other", "--anew asks everything again, --keep nothing")
    loaded = _loaded(source, overrides, command)
    _demand(loaded, command)
    from llmkit import evaluate
    from llmkit.perturb.shards import parse_shard

    if dry_run:
        return _print_estimates(evaluate.estimate_each(loaded, command), json_)
    _ask_above(loaded, command)
    part = parse_shard(shard) if shard else None
    results = []
    for result in evaluate.run_each(
        loaded,
        command,
        use_cache=use_cache,
        quiet=common.settings.quiet,
        shard=part,
        if_changed="anew" if anew else "keep" if keep else "stop",
    ):
        results.append(result)
        if not json_:
            _print(result, command)
    if json_:
        shown = [
            {"run": str(r.folder), "model_calls": r.model_calls, **(r.metrics.as_dict() if r.metrics else {})}
            for r in results
        ]
        common.print_json(shown if loaded.recipe.data.tasks else shown[0])
    elif len(results) > 1 and not part:
        from llmkit.measure.means import means

        _print_means(means([result.metrics for result in results if result.metrics]))
    return evaluate.enforce(results, loaded.recipe)


def _ask_above(loaded: Loaded, command: Command) -> None:
    """Asks once, on a terminal only, before a run that may cost more than the recipe says (`eval.ask_above`)."""
    most = loaded.recipe.eval.ask_above
    if most is None or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return
    from llmkit import evaluate

    price = sum(estimate.price or 0 for _, estimate in evaluate.estimate_each(loaded, command))
    if price > most and not typer.confirm(f"This run may cost {price:,.2f}, more than {most:g}. Start it?", err=True):
        raise UsageError("the run was not started", "--limit asks fewer questions, --dry-run shows what it would cost")


def _loaded(source: str | None, overrides: list[Any], command: Command) -> Loaded:
    """Loads a recipe, or makes one of a file of rows and the flags."""
    if source is None or not rows.is_rows(source):
        return common.load_trusted(source, overrides)
    from llmkit.evaluate import tunes

    given = [*rows.defaults(source), *overrides]
    loaded = common.load_trusted(None, given)
    changes = rows.noise_in_their_language(loaded, source)
    if tunes(loaded.recipe, command):
        changes += rows.keep_a_pool(loaded, source)
    return common.load_trusted(None, [*given, *changes]) if changes else loaded


def _print_estimates(estimates: list[tuple[Recipe, Estimate]], json_: bool) -> None:
    if json_:
        shown = [estimate.json() for _, estimate in estimates]
        return common.print_json(shown if len(shown) > 1 else shown[0])
    for recipe, estimate in estimates:
        print(f"{recipe.data.task or recipe.data.path}: ", end="")
        _print_estimate(estimate)
    return None


def _print_estimate(estimate: Estimate) -> None:
    print(f"{estimate.questions} questions, {', '.join(estimate.conditions)}")
    lines = [[a.arm, a.answers, a.calls, a.prompt_tokens, a.most_completion_tokens] for a in estimate.arms]
    if estimate.search:
        spent = estimate.search
        lines.insert(0, ["(search, at most)", "", spent.calls, spent.prompt_tokens, spent.most_completion_tokens])
    if estimate.noise_calls:
        lines.insert(0, ["(noise, at most)", "", estimate.noise_calls, "", ""])
    if estimate.judge_calls:
        lines.append(["(judge, at most)", "", estimate.judge_calls, "", ""])
    columns = ["arm", "answers", "calls", "prompt tokens, about", "new tokens, at most"]
    common.print_table(columns, lines, right=tuple(columns[1:]))
    _print_price(estimate)
    if estimate.shows:
        print(f"\n{estimate.shows}")
    elif estimate.effect is None:
        print("\nNo gain could be told from chance with so few questions.")
    else:
        print(f"\nA gain below {estimate.effect:.3f} would go unseen in more than one of five such runs.")
    if estimate.looks:
        print(f"\n{estimate.looks}.")
    for arm in estimate.arms:
        for number, prompt in enumerate(arm.first, 1):
            print(f"\n--- {arm.arm}, call {number}")
            print("\n".join(f"[{m.role}] {m.content}" for m in prompt))


def _print_price(estimate: Estimate) -> None:
    """Prints money, time and the rows that are not asked, as far as anything is known of them."""
    known = [f"at most {estimate.price:,.2f} by the recipe's prices"] if estimate.price is not None else []
    if estimate.minutes is not None:
        known.append(f"{estimate.minutes:,.1f} minutes or more at engine.rps")
    if known:
        print(f"\n{estimate.calls:,} calls: {', '.join(known)}")
    if estimate.aside:
        aside = ", ".join(f"{count:,} in `{split}`" for split, count in sorted(estimate.aside.items()))
        print(f"Rows set aside: {aside} (data.split: all asks every row)")


def _print(result: Result, command: Command) -> None:
    from llmkit.repair import describe, document
    from llmkit.report import summary
    from llmkit.report.terminal import console
    from llmkit.rop.instructions import shown
    from llmkit.runs import names

    out = console()
    if result.metrics:
        out.print(summary(result.metrics))
    if command == "rop":
        for instructions in result.instructions:
            label = f" ({instructions.trained_on}, search {instructions.seed})" if len(result.instructions) > 1 else ""
            out.print()
            for search in (instructions.correction, instructions.guidance):
                out.print(f"{search.stage}{label}: {shown(search.best)}", markup=False)
                if search.why:
                    out.print(f"  {search.why}", markup=False)
    asked = f"{result.model_calls:,} calls" if result.model_calls else "no call: every answer was known"
    print(f"\nmodel:  {asked}")
    if result.metrics:
        print(f"report: {result.folder / 'report.html'}")
    print(f"run:    {result.folder}")
    if (path := result.folder / names.REPAIR).exists():
        print(f"repair: {path} ({describe.guarantee(document.read(path))})")


def _print_means(means: Means) -> None:
    """Prints accuracy by arm and condition, as the mean over sets."""
    print(f"\nMean accuracy over {means.sets} sets")
    lines = [[arm, *map(_number, by_condition.values())] for arm, by_condition in means.accuracy.items()]
    if any(share is not None for share in means.changed.values()):
        lines.append(["questions changed", *map(_number, means.changed.values())])
    common.print_table(["arm", *means.conditions], lines, tuple(means.conditions))
    print(f"\ndtype: {', '.join(dtype or 'not stated by the server' for dtype in means.dtypes)}")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _demand(loaded: Loaded, command: str) -> None:
    """Raises UsageError where the recipe does not say which model or which questions."""
    from llmkit.engines import is_application

    recipe = loaded.recipe
    missing = []
    if recipe.model.path is None and not is_application(recipe.engine):
        missing.append("a model (`--model smollm2-135m`, or `model.path` in the recipe)")
    if recipe.data.task is None and recipe.data.path is None and not recipe.data.tasks:
        missing.append("questions (`--task gsm8k`, or `data.task` or `data.path` in the recipe)")
    if missing:
        raise UsageError(f"`llmkit {command}` needs {' and '.join(missing)}", f"try `llmkit {command} demo`")
