"""The common parts of tests of training: small settings, its journal, a stop in the middle, and tokens of a process."""

from __future__ import annotations

import json
import os
import time
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


def make_tokens(folder: str) -> None:
    """In one of several processes: the tokens of a key that all ask for."""
    import numpy as np

    from llmkit.finetune.tokens import Tokens, cached

    os.environ["LLMKIT_CACHE"] = f"{folder}/cache"

    def make() -> Tokens:
        with open(f"{folder}/made.txt", "a") as file:
            file.write("once\n")
        time.sleep(2)
        empty = np.zeros(0, np.int64)
        return Tokens(np.arange(5, dtype=np.int32), np.array([0, 5]), np.array([2], np.int32), empty, empty, empty)

    tokens, _ = cached("key", make)
    assert tokens.row(0)["input_ids"] == [0, 1, 2, 3, 4]
