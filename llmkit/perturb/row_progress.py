"""Progress of a stream of rows."""

from __future__ import annotations

from typing import Any

from llmkit.runs.progress import Progress


class RowProgress(Progress):
    """A `Progress` for rows: no tokens, several at a time, and a total that the source may learn late."""

    def __init__(self, label: str, rows: Any, quiet: bool = False) -> None:
        super().__init__(label, rows.total, quiet)
        self.rows = rows

    def advance(self, count: int) -> None:
        """Adds `count` rows to those that are done."""
        if count:
            self.total = self.rows.total
            self.done += count - 1
            self.finished()

    def __exit__(self, *exception: object) -> None:
        if self._bar:
            self._show()
            self._bar.stop()

    def line(self) -> str:
        """Returns the state in words: `perturb: 1200/5000 (24 %), 9800/s, 0:01 left`."""
        return ", ".join(part for part in super().line().split(", ") if not part.endswith("tokens/s"))
