"""The common parts of tests of training: small settings, its journal, and a stop in the middle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def small(model: str, runs: Path) -> dict[str, Any]:
    """Settings for a tiny model that trains in seconds."""
    return {
        "model.path": model,
        "data.task": "arithmetic",
        "data.levels": [1],
        "data.size": 40,
        "finetune.r": 8,
        "finetune.alpha": 8.0,
        "finetune.optim.batch_size": 4,
        "finetune.optim.max_steps": 4,
        "finetune.optim.lr": 0.01,
        "finetune.data.max_length": 512,
        "finetune.data.dev_limit": 4,
        "finetune.train.dtype": "float32",
        "finetune.train.log_every": 1,
        "output.dir": str(runs),
    }


def journal(result: Any) -> list[dict[str, Any]]:
    """The lines of a run's log.jsonl, oldest first."""
    return [json.loads(line) for line in (result.folder / "log.jsonl").read_text().splitlines()]


def by_step(result: Any, name: str) -> dict[int, float]:
    """One logged number of each step, the last one where a step was logged twice."""
    return {row["step"]: row[name] for row in journal(result) if name in row}


def losses(result: Any) -> dict[int, float]:
    return by_step(result, "loss")


class Stopped(Exception):
    """Stands for whatever ends a training in the middle."""


def stop_at(monkeypatch: Any, step: int) -> Any:
    """Every training stops at `step`, until the function that this returns is called."""
    from llmkit.finetune.callbacks import Reporter

    original = Reporter.on_step_end

    def on_step_end(self, args, state, control, **kwargs):
        original(self, args, state, control, **kwargs)
        if state.global_step == step:
            raise Stopped

    monkeypatch.setattr(Reporter, "on_step_end", on_step_end)
    return lambda: monkeypatch.setattr(Reporter, "on_step_end", original)
