"""A run's folder: what was asked for, what it ran on, and a journal that grows as work is done."""

from __future__ import annotations

import contextlib
import json
import os
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llmkit.errors import DataError, UsageError
from llmkit.files import lock, on_disk, write_atomic
from llmkit.parsing import parse_json
from llmkit.recipe import without_secrets
from llmkit.runs.environment import environment
from llmkit.secrets import scrub, scrub_values
from llmkit.terminal import escape_json

_JOURNAL = "samples.jsonl"
_TEXTS = frozenset({"instructions", "system_prompt", "tuned_on"})
"""Keys of result files that hold the user's own texts and a model's replies: they are kept word for word."""


_OUTCOME = re.compile(rb'\{"kind":"outcome","key":"((?:[^"\\]|\\.)*)"')
_NO_ERROR = b'"error":null'  # never inside a text, where JSON escapes the quotes


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
        for name, text in (("recipe.yaml", resolved if recipe is None else recipe), ("recipe.resolved.yaml", resolved)):
            write_atomic(self.path / name, without_secrets(text))
        self.write_json("env.json", environment())
        self._open_journal()

    def _open_journal(self) -> None:
        journal = self.path / _JOURNAL
        with on_disk(self.path):
            _cut_torn_line(journal)
            self._journal = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._held.callback(os.close, self._journal)

    def begin_generation(self) -> None:
        """Begin anew: what the journal holds stays in it, before this mark, and `entries` gives it no more."""
        number = self.generation + 1
        self.append({"kind": "generation", "key": str(number), "error": None, "place": uuid.uuid4().hex})
        self.generation, self.place = _generation(self.path)

    def append(self, entry: dict[str, Any]) -> None:
        """Add one line to the journal; it is with the system, safe from a killed process, when this returns."""
        if error := entry.get("error"):  # which may hold what a server said
            entry = entry | {"error": scrub(error)}
        if self.generation > 1:
            entry = entry | {"generation": self.generation}
        data = _json_bytes(entry, separators=(",", ":"))
        with on_disk(self.path):
            while data:
                data = data[os.write(self._journal, data) :]

    def entries(self, every: bool = False) -> Iterator[dict[str, Any]]:
        """The journal's lines, oldest first: those of this generation, or of every one."""
        return read_journal(self.path, every=every)

    def write_json(self, name: str, value: Any) -> Path:
        """Write a result file: under a temporary name, then renamed."""
        write_atomic(self.path / name, _json_bytes(scrub_values(value, _TEXTS), indent=2))
        return self.path / name

    def close(self) -> None:
        self._held.close()

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _json_bytes(value: Any, **form: Any) -> bytes:
    """A line or a file of JSON that is safe to look at, in UTF-8 that every program reads: half of a surrogate pair,
    which has no UTF-8, becomes the escape that JSON has for it."""
    text = escape_json(json.dumps(value, ensure_ascii=False, **form))
    return f"{text}\n".encode("utf-8", "backslashreplace")


def read_journal(folder: Path, *, every: bool = False, kind: str = "") -> Iterator[dict[str, Any]]:
    """The lines of a run folder's journal. DataError names file and line of one that is damaged.

    Without `every`, only those since the run last began anew; with `kind`, only those of one kind. A last line without
    its end is one that was being written when the process died: it never happened.
    """
    path = folder / _JOURNAL
    first = 0 if every else max((number for number, _ in _lines(path, "generation")), default=0)
    for number, line in _lines(path, kind):
        if number <= first:
            continue
        try:
            yield _checked(parse_json(line.decode("utf-8", "surrogatepass")))
        except ValueError as error:
            raise DataError(
                f"{path}:{number}: not a line of a journal: {error}",
                "delete that line; its question is asked again",
            ) from error


def answered(folder: Path) -> int:
    """Returns how many answers a run has: each key once, as often as it was asked, since the run last began anew; what
    failed is none. Reads no line whole, as journals can be long."""
    keys: set[bytes] = set()
    for _, line in _lines(folder / _JOURNAL, ""):
        if line.startswith(b'{"kind":"generation"'):
            keys.clear()
        elif (found := _OUTCOME.match(line)) and _NO_ERROR in line:
            keys.add(found[1])
    return len(keys)


def _lines(path: Path, kind: str) -> Iterator[tuple[int, bytes]]:
    """The whole lines of a journal with their numbers: those of one kind, or all."""
    if not path.is_file():
        return
    begin = b'{"kind":"%s"' % kind.encode() if kind else b""
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if line.startswith(begin) and line.endswith(b"\n"):
                yield number, line


def _generation(folder: Path) -> tuple[int, str]:
    marks = list(read_journal(folder, every=True, kind="generation"))
    return len(marks) + 1, marks[-1]["place"] if marks else ""


# What every line of a kind has, whatever llmkit wrote it, and what the parts of a call are where it has them.
_FIELDS = {
    "outcome": ("key", "error", "question_id", "cluster_id", "condition", "arm", "draw", "correct", "gold", "text"),
    "noise": ("key", "error"),
    "verdict": ("key", "parsed", "correct"),
    "canary": ("key", "seen", "model", "fingerprint", "kept"),
    "generation": ("key", "place"),
}
_OF_A_CALL = {"id": str, "purpose": str, "messages": list, "reply": dict | str, "cached": bool}


def _checked(row: Any) -> dict[str, Any]:
    """A line that has what a line of its kind has; ValueError for any other."""
    if not isinstance(row, dict):
        raise ValueError("it is no object with fields")
    if missing := [name for name in _FIELDS.get(str(row.get("kind")), ()) if name not in row]:
        raise ValueError(f"it has no `{missing[0]}`")
    calls = row.get("calls")
    for call in calls if isinstance(calls, list) else ():
        if not isinstance(call, dict):
            raise ValueError("a call in it is no object with fields")
        if wrong := [name for name in call if not isinstance(call[name], _OF_A_CALL.get(name, object))]:
            raise ValueError(f"a call in it has a `{wrong[0]}` that is none")
    return row


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
