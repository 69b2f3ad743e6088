"""What `rop` and `eval` share: plan, run, print the summary, apply the gates."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from llmkit.cli import common
from llmkit.errors import UsageError

if TYPE_CHECKING:
    from llmkit.evaluate import Result
    from llmkit.evaluate.estimate import Estimate
    from llmkit.recipe import Loaded

Command = Literal["rop", "eval"]
F = TypeVar("F", bound=Callable[..., None])

Gates = Annotated[
    list[str] | None,
    typer.Option("--gate", metavar="GATE", help='e.g. "rop.gain@ec >= 0.05 low". May be repeated. Exit 3 or 5.'),
]
Baseline = Annotated[str | None, typer.Option("--baseline", metavar="RUN", help="A run that gates compare with.")]
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
    "model": common.Model,
    "adapter": common.Adapter,
    "task": common.Task,
    "path": common.Path,
    "data_dir": common.DataDir,
    "limit": common.Limit,
    "split": common.Split,
    "conditions": common.Conditions,
    "rate": common.Rate,
    "target": common.Target,
    "draws": common.Draws,
    "instructions": common.Instructions,
    "engine": common.EngineKind,
    "dtype": common.Dtype,
    "base_url": common.BaseUrl,
    "model_id": common.ModelId,
    "seed": common.Seed,
    "out": common.Out,
    "name": common.Name,
    "max_tokens_total": common.MaxTokens,
    "gates": Gates,
    "baseline": Baseline,
}
"""The flags that set recipe keys in both commands, by their names in `common.KEYS`."""


def takes(flags: Mapping[str, Any]) -> Callable[[F], F]:
    """Gives a command these flags where it says `**flags`; None where one is not given."""

    def give(command: F) -> F:
        signature = inspect.signature(command, eval_str=True)
        first, *own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        only = inspect.Parameter.KEYWORD_ONLY
        more = [inspect.Parameter(name, only, default=None, annotation=flag) for name, flag in flags.items()]
        command.__signature__ = signature.replace(parameters=[first, *more, *(p.replace(kind=only) for p in own)])
        return command

    return give


def profile_overrides(profile: str | None) -> list[Any]:
    """The keys that a shipped profile sets, as overrides that come before all others."""
    if profile is None:
        return []
    from llmkit.recipe import Override, load, shipped_recipes
    from llmkit.registry import unknown

    prefix = "base/profile-"
    known = [name.removeprefix(prefix) for name in shipped_recipes() if name.startswith(prefix)]
    if profile not in known:
        raise unknown("profile", profile, known)
    tree = load(f"{prefix}{profile}").tree

    def leaves(value: Any, key: str) -> list[Any]:
        if isinstance(value, dict):
            return [leaf for k, v in value.items() for leaf in leaves(v, f"{key}.{k}" if key else k)]
        return [Override(key, value, f"--profile {profile}")]

    return leaves({k: v for k, v in tree.items() if k not in ("version", "extends")}, "")


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
    from llmkit.recipe import Override, load

    if anew and keep:
        raise UsageError("--anew and --keep exclude each other", "--anew asks everything again, --keep nothing")
    if_changed = "anew" if anew else "keep" if keep else "stop"
    part = _shard(shard)
    loaded = common.load_trusted(source, overrides)
    _demand(loaded, command)
    tasks = loaded.recipe.data.tasks
    each = [load(source, [*overrides, Override("data.task", t, "data.tasks")]) for t in tasks] or [loaded]
    if dry_run:
        return _dry(each, command, json_)
    from llmkit import evaluate
    from llmkit.measure import gates, missing

    results = []
    for one in each:
        if tasks:
            common.note(f"{one.recipe.data.task}:")
        quiet = common.settings.quiet
        used = results[-1].tokens if results else 0
        results.append(
            evaluate.run(one, command, use_cache=use_cache, quiet=quiet, shard=part, tokens=used, if_changed=if_changed)
        )
        if not json_:
            _print(results[-1], command)
    if json_:
        shown = [
            {"run": str(r.folder), "model_calls": r.model_calls, **(r.metrics.as_dict() if r.metrics else {})}
            for r in results
        ]
        common.print_json(shown if tasks else shown[0])
    elif len(results) > 1 and not part:
        _print_means(results)
    for result in results:
        missing.refuse_too_many(missing.failures(result.samples), loaded.recipe.eval.max_errors)
    gates.enforce([verdict for r in results for verdict in r.gates])
    return None


def _shard(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise UsageError(f"--shard {text}: not a part of a whole", "write it like 2/8: the second of eight")
    return int(found[1]), int(found[2])


def _dry(each: list[Loaded], command: Command, json_: bool) -> None:
    from llmkit.evaluate import plan
    from llmkit.evaluate.estimate import estimate

    made = [(one.recipe, estimate(plan(one.recipe, command))) for one in each]
    if json_:
        shown = [e.json() for _, e in made]
        return common.print_json(shown if len(shown) > 1 else shown[0])
    for recipe, found in made:
        print(f"{recipe.data.task or recipe.data.path}: ", end="")
        _print_estimate(found)
    return None


def _print_estimate(found: Estimate) -> None:
    print(f"{found.questions} questions, {', '.join(found.conditions)}")
    rows = [[a.arm, a.answers, a.calls, a.prompt_tokens, a.most_completion_tokens] for a in found.arms]
    if found.search:
        spent = found.search
        rows.insert(0, ["(search, at most)", "", spent.calls, spent.prompt_tokens, spent.most_completion_tokens])
    if found.noise_calls:
        rows.insert(0, ["(noise, at most)", "", found.noise_calls, "", ""])
    columns = ["arm", "answers", "calls", "prompt tokens, about", "new tokens, at most"]
    common.print_table(columns, rows, right=tuple(columns[1:]))
    if found.effect is None:
        print("\nNo gain could be told from chance with so few questions.")
    else:
        print(f"\nA gain below {found.effect:.3f} would go unseen in more than one of five such runs.")
    for arm in found.arms:
        for number, prompt in enumerate(arm.first, 1):
            print(f"\n--- {arm.arm}, call {number}")
            print("\n".join(f"[{m.role}] {m.content}" for m in prompt))


def _print(result: Result, command: Command) -> None:
    from llmkit.report import summary
    from llmkit.report.terminal import console
    from llmkit.rop.instructions import shown

    out = console()
    if result.metrics:
        out.print(summary(result.metrics.as_dict(), result.gates))
    if command == "rop":
        for found in result.instructions:
            label = f" ({found.trained_on}, search {found.seed})" if len(result.instructions) > 1 else ""
            out.print()
            for search in (found.correction, found.guidance):
                out.print(f"{search.stage}{label}: {shown(search.best)}", markup=False)
                if search.why:
                    out.print(f"  {search.why}", markup=False)
    asked = f"{result.model_calls:,} calls" if result.model_calls else "no call: every answer was known"
    print(f"\nmodel:  {asked}")
    if result.metrics:
        print(f"report: {result.folder / 'report.html'}")
    print(f"run:    {result.folder}")


def _print_means(results: list[Result]) -> None:
    """Accuracy by arm and condition, as the plain mean over sets: the last column of the paper's Table 1."""
    sets = [r.metrics for r in results if r.metrics]
    arms, conditions = list(sets[0].arms), sets[0].conditions

    def mean(arm: str, condition: str) -> str:
        cells = [m.arms[arm].conditions.get(condition) for m in sets]
        values = [c.accuracy.value for c in cells if c and c.accuracy]
        return f"{sum(values) / len(values):.3f}" if values else ""

    print(f"\nMean accuracy over {len(results)} sets")
    rows = [[a, *(mean(a, c) for c in conditions)] for a in arms]
    shares = [[m.noise[c].share for m in sets if c in m.noise] for c in conditions]
    if any(shares):
        rows.append(["questions changed", *(f"{sum(s) / len(s):.3f}" if s else "" for s in shares)])
    common.print_table(["arm", *conditions], rows, tuple(conditions))
    dtypes = dict.fromkeys((m.engine and m.engine.dtype) or "not stated by the server" for m in sets)
    print(f"\ndtype: {', '.join(dtypes)}")


def _demand(loaded: Loaded, command: str) -> None:
    """UsageError where the recipe does not say which model or which questions."""
    recipe = loaded.recipe
    missing = []
    if recipe.model.path is None:
        missing.append("a model (`--model smollm2-135m`, or `model.path` in the recipe)")
    if recipe.data.task is None and recipe.data.path is None and not recipe.data.tasks:
        missing.append("questions (`--task gsm8k`, or `data.task` or `data.path` in the recipe)")
    if missing:
        raise UsageError(f"`llmkit {command}` needs {' and '.join(missing)}", f"try `llmkit {command} demo`")
