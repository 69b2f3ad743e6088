"""Shows how far a run is, on stderr: a live bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Self

from llmkit.engines import Served
from llmkit.terminal import bar
from llmkit.types import Call

_EVERY = 5.0  # seconds between two plain lines


class Progress:
    """Counts jobs, requests and tokens of one stage. Use as a context manager.

    `total` is the number of jobs, if known, `served` returns the work of each server, of which several are named. With
    `quiet` nothing is printed.
    """

    def __init__(
        self,
        label: str,
        total: int | None = None,
        quiet: bool = False,
        served: Callable[[], Mapping[str, Served]] = dict,
    ) -> None:
        self.label = label
        self.total = total
        self.quiet = quiet
        self.served = served
        self.done = 0
        self.asked = 0
        self.tokens = 0
        self._began = self._printed = time.monotonic()
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Self:
        self._began = self._printed = time.monotonic()
        if not self.quiet and sys.stderr.isatty():
            self._open_bar()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar:
            self._show()
            self._bar.stop()
        elif not self.quiet and self.done:
            self._print()

    def replied(self, call: Call) -> None:
        """Counts a request that was answered. Only what was asked of the model counts as tokens."""
        if not call.cached:
            self.asked += 1
            self.tokens += call.reply.usage.prompt + call.reply.usage.completion
        self._show()

    def finished(self) -> None:
        """Counts a job that ended."""
        self.done += 1
        self._show()

    def line(self) -> str:
        """Returns the state in words: `eval: 120/500 (24 %), 8.1/s, 812 tokens/s, 0:47 left`."""
        seconds = max(time.monotonic() - self._began, 1e-9)
        rate = self.done / seconds
        share = f"/{self.total} ({self.done / self.total:.0%})" if self.total else ""
        parts = [f"{self.label}: {self.done}{share}", f"{rate:.1f}/s", f"{self.tokens / seconds:.0f} tokens/s"]
        rates = [server.rate for server in self.served().values()]
        if len(rates) > 1:
            parts.append(f"{len(rates)} servers at {min(rates):.1f} to {max(rates):.1f}/s")
        if self.total and 0 < self.done < self.total:
            left = round((self.total - self.done) / rate)
            parts.append(f"{left // 60}:{left % 60:02d} left")
        return ", ".join(parts)

    def _show(self) -> None:
        if self._bar:
            speed = self.line().split(", ", 1)[1]
            self._bar.update(self._task, completed=self.done, speed=speed)
        elif not self.quiet and time.monotonic() - self._printed >= _EVERY:
            self._print()

    def _print(self) -> None:
        self._printed = time.monotonic()
        print(self.line(), file=sys.stderr, flush=True)

    def _open_bar(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"),
        )
        self._bar = bar(*columns, refresh_per_second=5)
        self._task = self._bar.add_task(self.label, total=self.total, speed="")
