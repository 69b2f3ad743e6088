"""A program for test_replicas.py: `llmkit` with scripted servers in the place of vLLM, and short delays."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]


def main(args: list[str]) -> None:
    from llmkit.cli.app import main as llmkit
    from llmkit.serving import replicas, server

    server.CHILD = (sys.executable, str(TESTS / "helpers" / "replica.py"))
    replicas.DELAYS = (0.1, 0.1)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
    llmkit(args)


if __name__ == "__main__":
    main(sys.argv[1:])
