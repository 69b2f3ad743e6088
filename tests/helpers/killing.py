"""Starts commands that a signal ends at a chosen moment, and reads what they left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from helpers.processes import limited, started

SCRIPT = Path(__file__).with_name("killed_run.py")


class Forks:
    """Runs commands as forks of one process that has imported everything. Logs stand in `folder`, with the cache."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> Forks:
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        env = os.environ | {"LLMKIT_CACHE": str(self.folder / "cache")}
        self._started = started([sys.executable, SCRIPT], threading.TIMEOUT_MAX, env=env, **pipes)
        self._process = self._started.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.stdin.close()
        self._started.__exit__(None, None, None)

    def run(
        self,
        args: list[str],
        log: Path,
        mark: str = "",
        count: int = 1,
        delay: float = 0.0,
        signal: int = signal.SIGKILL,
    ) -> int:
        """The exit code of a command that is sent `signal`, `delay` seconds after it made `mark` `count` times."""
        given = {"args": args, "log": str(log), "mark": mark, "count": count, "delay": delay, "signal": int(signal)}
        with limited(self._process):
            print(json.dumps(given), file=self._process.stdin, flush=True)
            return int(self._process.stdout.readline())


def rop(recipe: dict[str, Any], out: Path) -> list[str]:
    """The command that runs a recipe of dotted keys."""
    sets = [part for key, value in recipe.items() for part in ("--set", f"{key}={json.dumps(value)}")]
    return ["rop", "--quiet", *sets, "--dir", str(out)]


def result(folder: Path) -> str:
    """The bytes of metrics.json without those that tell times."""
    metrics = json.loads(next(folder.glob("*/metrics.json")).read_text())
    assert metrics.pop("timing")
    return json.dumps(metrics, ensure_ascii=False, indent=2)


def marks(log: Path) -> list[list[Any]]:
    """The marks of all runs that were started with this log: [name, time, what was asked]."""
    return [json.loads(line) for line in log.read_text().splitlines()]
