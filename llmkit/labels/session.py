"""The way of one person through the pairs of a run: one at a time, forwards, and back by undoing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from threading import Lock

from llmkit.measure.answers import Pair
from llmkit.runs.labels import Label, Verdict, append, now


class Session:
    """Pairs, and how many of them are done. Each verdict is on the disk before the next pair is shown."""

    def __init__(self, pairs: Sequence[Pair], file: Path, run: str) -> None:
        self.pairs, self.done = pairs, 0
        self._file, self._run = file, run
        self._lock = Lock()  # two tabs of a browser may send at once

    @property
    def current(self) -> Pair | None:
        """The pair to look at; None where all are done."""
        return self.pairs[self.done] if self.done < len(self.pairs) else None

    def give(self, number: int, verdict: Verdict) -> bool:
        """Notes a verdict on the pair of this number, from 0, and goes on to the next. False where it is not the
        current one: a key that was pressed twice, or another tab."""
        with self._lock:
            if number != self.done or self.current is None:
                return False
            self._note(self.current, verdict)
            self.done += 1
            return True

    def undo(self, number: int) -> bool:
        """Takes back the verdict before the pair of this number, which is then the current one again."""
        with self._lock:
            if number != self.done or not self.done:
                return False
            self._note(self.pairs[self.done - 1], "undone")
            self.done -= 1
            return True

    def _note(self, pair: Pair, verdict: Verdict) -> None:
        append(self._file, [Label(*pair.digests, verdict, now(), "page", self._run)])
