"""What `rop` and `eval` share: run, print the summary, apply the gates."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from llmkit.cli import common
from llmkit.errors import UsageError

if TYPE_CHECKING:
    from llmkit.evaluate.pipeline import Result
    from llmkit.recipe import Loaded

Gates = Annotated[
    list[str] | None,
    typer.Option("--gate", metavar="GATE", help='e.g. "rop.gain@ec >= 0.05 low". May be repeated. Exit 3 or 5.'),
]
Baseline = Annotated[
    str | None, typer.Option("--baseline", metavar="RUN", help="A run folder that gates compare with.")
]


def gate_list(gates: list[str] | None) -> list[dict] | None:
    """`--gate` flags as the recipe holds them; None where there are none."""
    if not gates:
        return None
    from llmkit.evaluate.gates import parse

    return [parse(g) for g in gates]


def measure(loaded: Loaded, command: Literal["rop", "eval"], *, use_cache: bool, json_: bool) -> None:
    """Runs or resumes `command`, prints its tables (or JSON), and raises what its gates decide."""
    _demand(loaded, command)
    from llmkit.evaluate import gates, pipeline

    result = pipeline.run(loaded, command, use_cache=use_cache, quiet=common.settings.quiet)
    if json_:
        common.print_json({"run": str(result.folder), "model_calls": result.model_calls, **result.metrics})
    else:
        _print(result, command)
    gates.enforce(result.gates)


def _print(result: Result, command: str) -> None:
    from rich.console import Console

    from llmkit.evaluate.report import summary
    from llmkit.evaluate.report.terminal import WIDTH

    console = Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)
    console.print(summary(result.metrics, result.gates))
    if command == "rop":
        for found in result.instructions:
            label = (
                "" if found.trained_on == "pooled" and not found.seed else f" ({found.trained_on}, search {found.seed})"
            )
            console.print(f"\ncorrection{label}: {found.correction.best}", markup=False)
            console.print(f"guidance{label}: {found.guidance.best}", markup=False)
    asked = (
        f"{result.model_calls:,} calls to the model" if result.model_calls else "no call to the model: all was known"
    )
    print(f"\n{asked}\nreport: {result.folder / 'report.html'}\nrun:    {result.folder}")


def _demand(loaded: Loaded, command: str) -> None:
    """UsageError where the recipe does not say which model or which questions."""
    recipe = loaded.recipe
    missing = []
    if recipe.model.path is None:
        missing.append("a model (`--model smollm2-135m`, or `model.path` in the recipe)")
    if recipe.data.task is None and recipe.data.path is None:
        missing.append("questions (`--task gsm8k`, or `data.task` or `data.path` in the recipe)")
    if missing:
        raise UsageError(f"`llmkit {command}` needs {' and '.join(missing)}", f"try `llmkit {command} demo`")
