"""Processes that tests start. Every wait for one has a limit; what is over it is killed, with all that it started.

Nothing here forks without an exec: a fork of a process with threads (pytest-xdist's, a test server's) can wait forever
for a lock that one of them held, and keeps the pipe open by which pytest-xdist would see that its worker is gone.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import psutil

LIMIT = 300.0  # seconds


class TookTooLong(AssertionError):
    """A process was still running at its limit."""


@contextlib.contextmanager
def limited(process: subprocess.Popen[Any], limit: float = LIMIT) -> Iterator[None]:
    """Kills a process, and all that it started, after `limit` seconds in this context, and then raises TookTooLong.

    So whoever reads from it or waits for it needs no limit of their own.
    """
    overdue = threading.Event()

    def end() -> None:
        overdue.set()
        _kill(process)

    watch = threading.Timer(limit, end)
    watch.daemon = True
    watch.start()
    try:
        yield
    finally:
        watch.cancel()
        if overdue.is_set():
            raise TookTooLong(f"{process.args} was killed after {limit:.0f} seconds; it wrote {_unread(process)}")


@contextlib.contextmanager
def started(command: Sequence[object], limit: float = LIMIT, **options: Any) -> Iterator[subprocess.Popen[Any]]:
    """Yields a process in a session of its own, `limited`. At the end it is killed, with all that it started."""
    process = subprocess.Popen([*map(str, command)], start_new_session=True, **options)
    try:
        with limited(process, limit):
            yield process
    finally:
        _kill(process)
        _unread(process)
        if process.stdin:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
        process.wait(60)


def run(
    command: Sequence[object], limit: float = LIMIT, input: str | None = None, **options: Any
) -> subprocess.CompletedProcess[Any]:
    """Runs a command to its end and returns its exit code and, as text, what it wrote."""
    pipes = {"stdin": subprocess.DEVNULL if input is None else subprocess.PIPE}
    pipes |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with started(command, limit, **pipes | {"text": True} | options) as process:
        said = process.communicate(input)
    return subprocess.CompletedProcess(command, process.returncode, *said)


def in_processes(function: Callable[..., None], *given: tuple[Any, ...], limit: float = LIMIT) -> list[int]:
    """Calls an importable function in one new process for each tuple of arguments. Returns their exit codes.

    TookTooLong if one is still running after `limit` seconds.
    """
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=function, args=arguments, daemon=True) for arguments in given]
    deadline = time.monotonic() + limit
    try:
        for process in processes:
            process.start()
        for process in processes:
            process.join(max(0.0, deadline - time.monotonic()))
        if late := [number for number, process in enumerate(processes) if process.exitcode is None]:
            raise TookTooLong(f"{function.__name__} is still running after {limit:.0f} seconds in processes {late}")
        return [process.exitcode for process in processes]
    finally:
        for process in processes:
            if process.pid is not None:
                process.kill()
                process.join(60)


def _kill(process: subprocess.Popen[Any]) -> None:
    """Kills a process, all below it, and all that is left of its session: some leave its group, or outlive it."""
    below: list[int] = []
    with contextlib.suppress(psutil.NoSuchProcess):
        below = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
    for pid in psutil.pids():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if pid in below or os.getsid(pid) == process.pid:
                os.kill(pid, signal.SIGKILL)


def _unread(process: subprocess.Popen[Any]) -> list[Any]:
    """Reads what a killed process wrote and nobody read, and closes its pipes."""
    return [_rest(pipe) for pipe in (process.stdout, process.stderr) if pipe and not pipe.closed]


def _rest(pipe: Any) -> Any:
    """Reads what is left in a pipe, at most for some seconds: a process that left the group may hold it open."""
    read: list[Any] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read()), daemon=True)
    reader.start()
    reader.join(5)
    if read:
        pipe.close()
    return read[0] if read else "what cannot be read to its end"
