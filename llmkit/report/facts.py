"""The facts of a run, read from the files of its folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmkit.errors import DataError
from llmkit.report.elements import Facts
from llmkit.rop.instructions import shown
from llmkit.runs import Run


def facts(folder: Path) -> Facts:
    """Reads title, facts and instructions of a run from its folder. A missing or damaged record leaves out its facts,
    because a report is still of use without it.

    DataError where a record holds them in no form that llmkit writes, or the recipe is damaged.
    """
    try:
        return _facts(folder)
    except (AttributeError, KeyError, TypeError, ValueError):
        problem = f"{folder}: env.json, run.json, instructions.json or recipe.resolved.yaml was changed"
        raise DataError(problem, "the command that made the run writes them again") from None


def _facts(folder: Path) -> Facts:
    run = Run(folder)
    environment, written = (_readable(run, name) for name in ("environment", "instructions"))
    ran = _readable(run, "facts")  # what `auto` came to

    def of(section: str, key: str) -> Any:
        return run.section(section).get(key)

    task = of("data", "task") or Path(str(of("data", "path") or run.name)).stem
    model = run.model
    packages, hardware = (environment.get(key) or {} for key in ("packages", "hardware"))
    limit = f"limit {of('data', 'limit')}" if of("data", "limit") else None
    rows = {
        "Run": run.name,
        "Model": model,
        "Revision": of("model", "revision"),
        "Adapter": of("model", "adapter"),
        "Engine": _joined(ran.get("engine") or of("engine", "kind"), ran.get("dtype") or of("engine", "dtype")),
        "Questions": _joined(task, of("data", "split"), limit),
        "Rows set aside": ", ".join(f"{count} in {split}" for split, count in (ran.get("set_aside") or {}).items()),
        "Noise": _joined(_listed(of("perturb", "conditions")), f"rate {_listed(of('perturb', 'rate'))}"),
        "Seed": run.recipe.get("seed"),
        "Instructions from": of("rop", "instructions"),
        "Instructions found with": written.get("model") if written.get("used_by") else None,
        "Repair": ran.get("repair"),
        "Optimizer": of("rop", "optimizer"),
        "Corrector": of("rop", "corrector"),
        "llmkit": environment.get("llmkit"),
        "Python": environment.get("python"),
        "Packages": ", ".join(f"{name} {version}" for name, version in packages.items()),
        "Hardware": _joined(hardware.get("cpu"), *hardware.get("gpus", [])),
    }
    return Facts(
        run=run.name,
        title=f"{task}, asked of {Path(model).name}" if model else task,
        kicker=f"llmkit run {run.name}",
        rows=tuple((name, str(value)) for name, value in rows.items() if value not in (None, "", [])),
        instructions=tuple(_instructions(written.get("instructions") or [])),
    )


def _readable(run: Run, record: str) -> Mapping[str, Any]:
    """Returns one of a run's records, empty where it is missing or damaged."""
    try:
        content: Mapping[str, Any] | None = getattr(run, record)
    except DataError:
        return {}
    return content or {}


def _instructions(sets: list[Any]) -> list[tuple[str, str]]:
    """Returns name and text of each instruction, the name with what it was tuned on and why it won."""
    return [
        (
            _joined(
                stage.capitalize(),
                f"tuned on {one.get('trained_on')}",
                f"search {one.get('seed', 0)}",
                search.get("why"),
            ),
            search["best"] or shown(search["best"]),
        )
        for one in sets
        for stage in ("correction", "guidance")
        if "best" in (search := one.get(stage) or {})
    ]


def _listed(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _joined(*parts: Any) -> str:
    return " · ".join(str(part) for part in parts if part)
