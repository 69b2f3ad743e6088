"""A run as a test sees it: the verdicts of its gates, its numbers and its folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmkit.errors import UsageError
from llmkit.measure import gates as judged
from llmkit.measure import missing
from llmkit.measure.results import GateResult, Metrics, Verdict
from llmkit.recipe import Override, load, names_from_elsewhere
from llmkit.recipe.faults import all_keys
from llmkit.registry import unknown
from llmkit.terminal import visible

_SHORT = {"model": "model.path", "engine": "engine.kind", "arms": "eval.arms"}
"""The keywords that are no last name of one key alone, and are flags of `llmkit eval`."""


@dataclass(frozen=True, repr=False)
class Gates:
    """The gates of a run. `passed` is False where one failed, where one is undecided, and where there are none."""

    results: tuple[GateResult, ...]

    @property
    def passed(self) -> bool:
        """True where there are gates and every one of them passed."""
        return bool(self.results) and not self.failed and not self.undecided

    @property
    def failed(self) -> list[GateResult]:
        """The gates that failed."""
        return self._with("fail")

    @property
    def undecided(self) -> list[GateResult]:
        """The gates that so few questions, or answers that are missing, could not decide."""
        return self._with("undecided")

    def _with(self, verdict: Verdict) -> list[GateResult]:
        return [result for result in self.results if result.verdict == verdict]

    def __repr__(self) -> str:
        """Returns the verdicts on one line, those that did not pass first: pytest cuts a long one at its middle."""
        if not self.results:
            return "<no gates: the recipe demands nothing (eval.gates)>"
        order = [*self.failed, *self.undecided, *self._with("pass")]
        return f"<{'; '.join(f'{result.verdict}: {described(result)}' for result in order)}>"


@dataclass(frozen=True)
class CheckedRun:
    """A finished run."""

    gates: Gates
    """The verdicts."""
    metrics: Metrics
    """The numbers, as metrics.json has them."""
    folder: Path
    """The run folder, with report.html and junit.xml in it."""


def described(result: GateResult) -> str:
    """Returns a gate and what was measured for it, on one line."""
    if result.value is None:
        measured = "not measured"
    else:
        measured = f"{result.value:.3f} [{result.low:.3f}, {result.high:.3f}]"
    return visible(f"{result.gate}, {measured}{f' ({result.reason})' if result.reason else ''}")


def checked(recipe: str | Path | None, settings: Mapping[str, Any]) -> CheckedRun:
    """Runs a recipe, or resumes its run, and prints the verdicts. Raises what `llmkit eval` would end with, but for
    gates, which are the caller's to judge."""
    from llmkit import evaluate

    loaded = load(recipe, [Override(key_of(name), _value(name, value), name) for name, value in settings.items()])
    if elsewhere := names_from_elsewhere(loaded, Path.cwd()):
        raise UsageError(
            f"the recipe {next(iter(elsewhere))} comes from elsewhere, and names {', '.join(*elsewhere.values())}",
            "copy what you need of it into a recipe in this repository",
        )
    if loaded.recipe.data.tasks:
        raise UsageError("a test runs one set at a time, and the recipe has `data.tasks`", "call it once for each task")
    result = evaluate.run(loaded, "eval", quiet=True)
    assert result.metrics is not None, "only a shard has no metrics"
    missing.refuse_too_many(result.metrics.failed, loaded.recipe.eval.max_errors)
    for verdict in result.gates:
        print(f"{verdict.verdict}: {described(verdict)}")
    print(f"report: {result.folder / 'report.html'}")
    return CheckedRun(Gates(tuple(result.gates)), result.metrics, result.folder)


def key_of(name: str) -> str:
    """Returns the recipe key that a keyword sets: a dotted key itself, else the one key with this last name.

    >>> key_of("limit"), key_of("rop.temperature")
    ('data.limit', 'rop.temperature')
    """
    if name in _SHORT:
        return _SHORT[name]
    keys = list(all_keys())
    if name in keys:
        return name
    fitting = [key for key in keys if key.rpartition(".")[2] == name]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        example = f'**{{"{fitting[0]}": ...}}'
        raise UsageError(f"`{name}` is a part of {', '.join(fitting)}", f"name the whole key: {example}")
    raise unknown("recipe key", name, [*keys, *(key.rpartition(".")[2] for key in keys)])


def _value(name: str, value: Any) -> Any:
    """Returns a value as a recipe has it: gates may be written as on the command line, files as paths."""
    if key_of(name) == "eval.gates":
        written = [value] if isinstance(value, str | Mapping) else value
        return [judged.parse(gate) if isinstance(gate, str) else gate for gate in written]
    return str(value) if isinstance(value, Path) else value
