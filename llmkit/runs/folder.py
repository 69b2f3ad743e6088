"""A run's folder: what was asked for, what it ran on, and a journal that grows as work is done."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llmkit.engines.files import lock, on_disk, write_atomic
from llmkit.errors import DataError, UsageError
from llmkit.runs.environment import environment
from llmkit.secrets import scrubber

_JOURNAL = "samples.jsonl"


class RunFolder:
    """`<root>/<name>-<digest>/`. One process at a time; what a killed one left behind is taken over.

    Holds recipe.yaml (as given), recipe.resolved.yaml, env.json and samples.jsonl, the journal. Everything written
    goes through `scrub`, so that no key ends up in a file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._held = contextlib.ExitStack()
        self._journal: int | None = None
        self._scrub = scrubber()

    @classmethod
    def open(cls, root: str | Path, name: str, digest: str, *, recipe: str | None, resolved: str) -> RunFolder:
        """Make or take over the folder. `recipe` is the text as given, `resolved` the whole recipe in YAML.

        Raises UsageError if another process works in it or it cannot be made, Incomplete where the disk is full.
        """
        folder = cls(Path(root) / f"{name}-{digest}")
        folder._take("wait for it, or give this run its own --name", "choose another folder with --out")
        with folder._closed_on_failure():
            folder._start(recipe, resolved)
        return folder

    @classmethod
    def reopen(cls, path: Path) -> RunFolder:
        """Take over the folder of an earlier run, to add to its journal and results. Raises as `open` does."""
        folder = cls(path)
        folder._take("wait for it, then do this again", "copy the folder to where you may write")
        with folder._closed_on_failure():
            folder._open_journal()
        return folder

    @contextlib.contextmanager
    def _closed_on_failure(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.close()
            raise

    def _take(self, if_busy: str, if_closed: str) -> None:
        """Lock the folder. The hints are for one that another process works in, and for one that is not writable."""
        try:
            self._held.enter_context(lock(self.path / ".lock", wait=False))
        except BlockingIOError as error:
            raise UsageError(f"another process works in {self.path}", if_busy) from error
        except OSError as error:
            raise UsageError(f"cannot write in {self.path}: {error.strerror}", if_closed) from error

    def _start(self, recipe: str | None, resolved: str) -> None:
        self.write_text("recipe.yaml", resolved if recipe is None else recipe)
        self.write_text("recipe.resolved.yaml", resolved)
        self.write_json("env.json", environment())
        self._open_journal()

    def _open_journal(self) -> None:
        journal = self.path / _JOURNAL
        with on_disk(self.path):
            _cut_torn_line(journal)
            self._journal = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._held.callback(os.close, self._journal)

    def append(self, entry: dict[str, Any]) -> None:
        """Add one line to the journal; it is with the system, safe from a killed process, when this returns."""
        line = self._scrub(json.dumps(entry, ensure_ascii=False, separators=(",", ":"))) + "\n"
        data = line.encode("utf-8", "surrogatepass")
        with on_disk(self.path):
            while data:
                data = data[os.write(self._journal, data) :]

    def entries(self) -> Iterator[dict[str, Any]]:
        """The journal's lines, oldest first."""
        return read_journal(self.path)

    def write_json(self, name: str, value: Any) -> Path:
        """Write a result file: under a temporary name, then renamed."""
        return self.write_text(name, json.dumps(value, ensure_ascii=False, indent=2) + "\n")

    def write_text(self, name: str, text: str) -> Path:
        """Like `write_json`, for any text."""
        write_atomic(self.path / name, self._scrub(text))
        return self.path / name

    def close(self) -> None:
        self._held.close()

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def read_journal(folder: Path) -> Iterator[dict[str, Any]]:
    """The lines of a run folder's journal. DataError names file and line of one that is damaged.

    A last line without its end is one that was being written when the process died: it never happened.
    """
    path = folder / _JOURNAL
    if not path.is_file():
        return
    with open(path, encoding="utf-8", errors="surrogatepass", newline="\n") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith("\n"):
                return
            try:
                yield json.loads(line)
            except ValueError as error:
                raise DataError(
                    f"{path}:{number}: not a line of a journal: {error}",
                    "delete that line; its question is asked again",
                ) from error


def _cut_torn_line(path: Path) -> None:
    if not path.is_file():
        return
    with open(path, "rb+") as file:
        data_end = file.seek(0, os.SEEK_END)
        keep, at = 0, data_end
        while at > 0 and not keep:  # back from the end, to the last line's end
            start = max(0, at - 65536)
            file.seek(start)
            newline = file.read(at - start).rfind(b"\n")
            keep, at = (start + newline + 1, at) if newline >= 0 else (0, start)
        if keep < data_end:
            file.truncate(keep)
