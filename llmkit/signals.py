"""Ctrl-C and SIGTERM, as one interruption, and the end of a parent process."""

from __future__ import annotations

import signal
import sys
import time
from typing import Any

_BOUNCE = 0.5  # seconds; a signal that follows another one within them is the same wish

_last = -_BOUNCE


def interrupt(*_: Any) -> None:
    """Handles a signal: raises KeyboardInterrupt, but not again while the first one is being answered.

    A key that bounces, or a shell that signals twice, would otherwise break into the code that saves what finished and
    chooses the exit code. A later signal interrupts that code, too.
    """
    global _last
    now = time.monotonic()
    if now - _last < _BOUNCE:
        return
    _last = now
    raise KeyboardInterrupt


def ignore() -> None:
    """Ignores signals from now on, because the exit code of the process is decided."""
    for signal_name in ("SIGINT", "SIGTERM"):
        signal.signal(getattr(signal, signal_name), signal.SIG_IGN)


def end_with_parent() -> None:
    """Asks Linux to send this process SIGTERM when the thread that started it ends, however that one ends."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGTERM)
