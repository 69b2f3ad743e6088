"""Writes a run folder: the recipe, the environment, result files, and a journal that grows as work is done."""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llmkit.errors import DataError, UsageError
from llmkit.files import lock, on_disk, write_atomic
from llmkit.recipe import without_secrets
from llmkit.runs import names
from llmkit.runs.environment import environment
from llmkit.runs.journal import Row
from llmkit.runs.run import Run
from llmkit.secrets import scrub, scrub_values
from llmkit.terminal import escape_json

_TEXTS = frozenset({"instructions", "system_prompt", "tuned_on"})
"""Keys of result files that hold the user's own texts and a model's replies: they are kept word for word."""


class RunFolder:
    """`<root>/<name>-<digest>/`. One process at a time; what a killed one left behind is taken over.

    Holds recipe.yaml (as given), recipe.resolved.yaml, env.json and samples.jsonl, the journal. Values are scrubbed
    before they are written as JSON or YAML, so that no key ends up in a file and no file is broken by one that is an
    ordinary word. Questions and prompts are kept as they were, and the engine has scrubbed the replies.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._held = contextlib.ExitStack()
        self._journal: int | None = None
        self.generation, self.place = _generation(path)
        """The number of times the run began, from 1, and a name for this time that no other run has; empty for 1."""

    @classmethod
    def open(cls, root: str | Path, name: str, digest: str, *, recipe: str | None, resolved: str) -> RunFolder:
        """Makes or takes over the folder. `recipe` is the text as given, `resolved` the whole recipe in YAML.

        Raises UsageError if another process works in it or it cannot be made, Incomplete where the disk is full.
        """
        folder = cls(Path(root) / f"{name}-{digest}")
        folder._take("wait for it, or give this run its own --name", "choose another folder with --dir")
        with folder._closed_on_failure():
            folder._start(recipe, resolved)
        return folder

    @classmethod
    def reopen(cls, path: Path) -> RunFolder:
        """Takes over the folder of an earlier run, to add to its journal and results. Raises as `open` does."""
        folder = cls(path)
        folder._take("wait for it, then do this again", "copy the folder to where you may write")
        with folder._closed_on_failure():
            folder._open_journal()
        return folder

    @classmethod
    def reopen_finished(cls, path: Path) -> RunFolder:
        """Takes over the folder of a run whose numbers are those of the whole. Raises as `open` does, and DataError
        where the folder holds no outcomes or the run is unfinished."""
        run = Run(path)
        if not any(run.entries(names.OUTCOME)):
            raise DataError(f"no outcomes in `{path}`", "give a run folder, as `llmkit runs ls` lists them")
        folder = cls.reopen(path)
        with folder._closed_on_failure():
            if run.state == "unfinished":
                raise DataError(
                    f"the run in `{path}` is unfinished: its numbers would be of a part only",
                    "the same llmkit command finishes it; `llmkit runs merge` joins shards",
                )
        return folder

    @contextlib.contextmanager
    def _closed_on_failure(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.close()
            raise

    def _take(self, if_busy: str, if_closed: str) -> None:
        """Locks the folder. The hints are for one that another process works in, and for one that is not writable."""
        try:
            self._held.enter_context(lock(self.path / names.LOCK, wait=False))
        except BlockingIOError as error:
            raise UsageError(f"another process works in {self.path}", if_busy) from error
        except OSError as error:
            raise UsageError(f"cannot write in {self.path}: {error.strerror}", if_closed) from error

    def _start(self, recipe: str | None, resolved: str) -> None:
        given = resolved if recipe is None else recipe  # a run from flags alone has no text of its own
        for name, text in ((names.RECIPE, given), (names.RESOLVED_RECIPE, resolved)):
            write_atomic(self.path / name, without_secrets(text))
        self.write_json(names.ENVIRONMENT, environment())
        self._open_journal()

    def _open_journal(self) -> None:
        journal = self.path / names.JOURNAL
        with on_disk(self.path):
            _cut_torn_line(journal)
            self._journal = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._held.callback(os.close, self._journal)

    def begin_generation(self) -> None:
        """Begins anew: earlier lines stay in the journal, before this mark, and `entries` leaves them out."""
        number = self.generation + 1
        self.append({"kind": names.GENERATION, "key": str(number), "error": None, "place": uuid.uuid4().hex})
        self.generation, self.place = _generation(self.path)

    def append(self, entry: Row) -> None:
        """Adds one line to the journal; it is with the system, safe from a killed process, when this returns."""
        if error := entry.get("error"):  # which may hold what a server said
            entry = entry | {"error": scrub(error)}
        if self.generation > 1:
            entry = entry | {"generation": self.generation}
        self.append_lines(_json_bytes(entry, separators=(",", ":")))

    def append_lines(self, data: bytes) -> None:
        """Adds whole lines of another journal, as they are there, in the way of `append`."""
        # By the system's own call and unbuffered: what Python holds back would be lost with a killed process.
        assert self._journal is not None, "the folder is not open"
        with on_disk(self.path):
            while data:
                data = data[os.write(self._journal, data) :]

    def entries(self, every: bool = False) -> Iterator[Row]:
        """Yields the lines of the journal, oldest first: those of this generation, or of every one."""
        return Run(self.path).entries(every=every)

    def write_json(self, name: str, value: Any) -> Path:
        """Writes a result file: under a temporary name, then renamed."""
        write_atomic(self.path / name, _json_bytes(scrub_values(value, _TEXTS), indent=2))
        return self.path / name

    def close(self) -> None:
        """Closes the journal and gives up the lock."""
        self._held.close()

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _json_bytes(value: Any, **form: Any) -> bytes:
    """Returns a line or a file of JSON that is safe to look at, in UTF-8 that every program reads.

    Half of a surrogate pair, which has no UTF-8, becomes the escape that JSON has for it.
    """
    text = escape_json(json.dumps(value, ensure_ascii=False, **form))
    return f"{text}\n".encode("utf-8", "backslashreplace")


def _generation(folder: Path) -> tuple[int, str]:
    marks = list(Run(folder).entries(names.GENERATION, every=True))
    return len(marks) + 1, marks[-1]["place"] if marks else ""


def _cut_torn_line(path: Path) -> None:
    """Cuts off a last line without its end: it was being written when the process died."""
    if not path.is_file():
        return
    with open(path, "rb+") as file:
        data_end = file.seek(0, os.SEEK_END)
        keep, at = 0, data_end
        while at > 0 and not keep:  # back from the end, to the last line's end: a journal need not fit into memory
            start = max(0, at - 65536)
            file.seek(start)
            newline = file.read(at - start).rfind(b"\n")
            keep, at = (start + newline + 1, at) if newline >= 0 else (0, start)
        if keep < data_end:
            file.truncate(keep)
