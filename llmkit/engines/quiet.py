"""Keeps other libraries' banners, warnings and progress bars off the terminal."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Swallow stdout and stderr inside the block, what compiled code prints too. With LLMKIT_DEBUG set, nothing is.

    Processes started inside keep writing to where nobody reads, so their logs never mix with llmkit's output.
    """
    if os.environ.get("LLMKIT_DEBUG"):
        yield
        return
    with contextlib.ExitStack() as stack:
        sink = stack.enter_context(tempfile.TemporaryFile("w", encoding="utf-8"))
        for number, stream in ((1, sys.stdout), (2, sys.stderr)):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
            kept = os.dup(number)
            os.dup2(sink.fileno(), number)
            stack.callback(os.close, kept)
            stack.callback(os.dup2, kept, number)
        stack.enter_context(contextlib.redirect_stdout(sink))
        stack.enter_context(contextlib.redirect_stderr(sink))
        yield
