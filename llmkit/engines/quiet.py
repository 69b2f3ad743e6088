"""Keeps other libraries' banners, warnings and progress bars off the terminal."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Swallows what is written to stdout and stderr inside the block, by compiled code too. --debug lets it out.

    Processes started inside keep writing to where nobody reads, so their logs never mix with llmkit's output.
    """
    if verbose():
        yield
        return
    with contextlib.ExitStack() as stack:
        sink = stack.enter_context(tempfile.TemporaryFile())
        for number in (1, 2):
            kept = os.dup(number)
            stack.callback(os.close, kept)
            stack.callback(os.dup2, kept, number)
        stack.callback(_flush)
        _flush()
        for number in (1, 2):
            os.dup2(sink.fileno(), number)
        yield


def verbose() -> bool:
    """Returns whether the user asked for the libraries' logs: `--debug` sets Python's root logger to INFO."""
    return logging.getLogger().getEffectiveLevel() <= logging.INFO


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
