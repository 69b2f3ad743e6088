"""A process that outlives `llmkit serve --replicas`, however that ends: FILE SECONDS, and what is started on stdin.

It waits for the end of its standard input, which comes when the process at the other end is gone. Then it removes the
file, so that it lists no server that is gone, and kills the servers that did not end by themselves in SECONDS.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

_LOOK = 0.2  # seconds between two looks at what still runs


def main(file: str, seconds: str) -> None:
    running: set[int] = set()
    for line in sys.stdin:
        event, pid = line.split()
        (running.add if event == "started" else running.discard)(int(pid))
    Path(file).unlink(missing_ok=True)
    deadline = time.monotonic() + float(seconds)
    while time.monotonic() < deadline and any(map(_runs, running)):
        time.sleep(_LOOK)
    for pid in running:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)


def _runs(group: int) -> bool:
    """Returns whether a process of the group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


if __name__ == "__main__":
    main(*sys.argv[1:])
