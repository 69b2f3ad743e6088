"""Runs a command of llmkit inside this process, in an empty folder, and says what it did that no command may do."""

from __future__ import annotations

import io
import json
import logging
import os
import resource
import shutil
import signal
import sys
import tempfile
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmkit.cli import app, common

EXIT_CODES = {0, 1, 2, 3, 4, 5, 130, 141}
REORDER = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # Unicode's Bidi_Control
CONTROLS = "".join(chr(code) for code in range(0xA0) if unicodedata.category(chr(code)) == "Cc")
COMMANDS = set(CONTROLS + REORDER + "\u2028\u2029") - set("\t\n")
MEMORY = 6 * 2**30  # bytes that a command may take beyond what this process holds


def commands_in(text: str) -> set[str]:
    """The characters of `text` that a terminal would obey."""
    return COMMANDS & set(text.replace("\r\n", "\n"))


class Hung(BaseException):
    """A command took longer than any of its size may."""


@dataclass
class Case:
    """One invocation, the files it is given (relative to its folder) and the places where it may write."""

    args: list[str]
    files: dict[str, bytes] = field(default_factory=dict)
    stdin: bytes = b""
    writes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"llmkit {' '.join(map(repr, self.args))}"


@dataclass
class Outcome:
    code: int | None
    out: str
    err: str
    escaped: BaseException | None = None


class Sandbox:
    """A folder for commands, deep enough that `../../x` leaves it but stays where it can be seen."""

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="llmkit-attack-")).resolve()
        self.work = self.root / "home" / "user" / "work"
        self.work.mkdir(parents=True)
        self._kept = self._files()

    def keep(self) -> None:
        """Keeps what is there now for the start of every case."""
        self._kept = self._files()

    def _files(self) -> set[Path]:
        return {path for path in self.root.rglob("*") if "cache" not in path.relative_to(self.root).parts[:1]}

    @contextmanager
    def entered(self) -> Iterator[None]:
        """This folder as current directory, home and cache."""
        before, environment = os.getcwd(), dict(os.environ)
        os.environ |= {"LLMKIT_CACHE": str(self.root / "cache"), "HOME": str(self.root / "home"), "COLUMNS": "80"}
        os.chdir(self.work)
        try:
            yield
        finally:
            os.chdir(before)
            os.environ.clear()
            os.environ.update(environment)

    def run(self, case: Case, seconds: float = 20) -> list[str]:
        """Returns what is wrong with the outcome of a case. Leaves the folder as it was."""
        with self.entered():
            for name, content in case.files.items():
                path = self.work / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            given = self._files()
            try:
                outcome = invoke(case.args, case.stdin, seconds)
                return [*wrong(case.args, outcome), *self._strays(case, given)]
            finally:
                for path in sorted(self._files() - self._kept, reverse=True):
                    with suppress(OSError):
                        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()

    def _strays(self, case: Case, given: set[Path]) -> list[str]:
        """Files that were written where nobody said."""
        allowed = [self.work / "runs"]
        for name in case.writes:
            with suppress(OSError, ValueError):
                allowed += [(self.work / name).resolve(), Path(os.path.expanduser(name)).resolve()]
        new = self._files() - given
        strays = [p for p in new if p.is_file() and not any(p.is_relative_to(place) for place in allowed)]
        return [f"a file outside --out: {path.relative_to(self.root)}" for path in strays]

    def close(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)


def wrong(args: Sequence[str], outcome: Outcome) -> Iterator[str]:
    """The rules that every command keeps."""
    if isinstance(outcome.escaped, Hung):
        yield "hung"
        return
    if outcome.escaped is not None:
        yield f"escaped: {outcome.escaped!r}"
        return
    if outcome.code not in EXIT_CODES:
        yield f"exit code {outcome.code}"
    if "Traceback" in outcome.err and "--debug" not in args:
        yield f"traceback: {outcome.err[-300:]}"
    for line in outcome.err.splitlines():
        if "internal:" in line:
            yield line
    for stream, text in (("stdout", outcome.out), ("stderr", outcome.err)):
        if found := commands_in(text):
            yield f"control characters on {stream}: {sorted(found)!r}"
    if outcome.code in (1, 2, 3, 4, 5) and not {"--json", "--help", "-h"} & set(args) and not outcome.err.strip():
        yield f"exit code {outcome.code} without a word"
    if (
        outcome.code == 0
        and "--json" in args
        and args[0] not in ("perturb", "serve")
        and not {"-h", "--help", "--version"} & set(args)
    ):
        try:
            json.loads(outcome.out)
        except ValueError:
            yield f"--json wrote no JSON: {outcome.out[:80]!r}"


def invoke(args: Iterable[str], stdin: bytes = b"", seconds: float = 20) -> Outcome:
    """Runs `llmkit` with these arguments; never raises. `seconds` of processor time, ten times that by the clock."""
    streams = [_stream(stdin), _stream(), _stream()]
    kept = sys.stdin, sys.stdout, sys.stderr
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    root.handlers = []
    code, escaped = None, None
    try:
        with _bounded(seconds):
            sys.stdin, sys.stdout, sys.stderr = streams
            code = app.run(list(args))
    except BaseException as error:
        escaped = error
    finally:
        sys.stdin, sys.stdout, sys.stderr = kept
        root.handlers, root.level = handlers, level
        logging.disable(logging.NOTSET)
        common.settings.debug = common.settings.quiet = False
    return Outcome(
        code, *(stream.buffer.getvalue().decode("utf-8", "backslashreplace") for stream in streams[1:]), escaped
    )


def _stream(content: bytes = b"") -> io.TextIOWrapper:
    # newline="" because "\r" that a command prints has to be seen
    return io.TextIOWrapper(io.BytesIO(content), "utf-8", "backslashreplace", newline="", write_through=True)


@contextmanager
def _bounded(seconds: float) -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise Hung

    kept = [signal.signal(number, stop) for number in (signal.SIGPROF, signal.SIGALRM)]
    limit = resource.getrlimit(resource.RLIMIT_AS)
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY, limit[1]))
    signal.setitimer(signal.ITIMER_PROF, seconds, 1)  # again each second, where something catches the first
    signal.setitimer(signal.ITIMER_REAL, 10 * seconds, 1)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        resource.setrlimit(resource.RLIMIT_AS, limit)
        for number, handler in zip((signal.SIGPROF, signal.SIGALRM), kept, strict=True):
            signal.signal(number, handler)
