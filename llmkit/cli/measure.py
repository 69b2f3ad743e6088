"""What `rop` and `eval` share: run, print the summary, apply the gates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from llmkit.cli import common
from llmkit.errors import UsageError

if TYPE_CHECKING:
    from llmkit.recipe import Loaded


def measure(loaded: Loaded, command: Literal["rop", "eval"], *, use_cache: bool, json_: bool) -> None:
    """Runs or resumes `command`, prints its table (or JSON), and raises what its gates decide."""
    from llmkit.evaluate import pipeline

    _demand(loaded, command)
    result = pipeline.run(loaded, command, use_cache=use_cache, quiet=common.settings.quiet)
    print(result.folder)


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
