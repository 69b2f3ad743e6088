"""Keeps other libraries' banners and progress bars off the terminal."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Swallow what Python code prints on stdout and stderr inside the block. With LLMKIT_DEBUG set, nothing is."""
    if os.environ.get("LLMKIT_DEBUG"):
        yield
        return
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield
