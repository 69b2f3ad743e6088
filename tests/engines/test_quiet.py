"""What libraries print while a model starts stays off the terminal, unless --debug asks for it."""

from __future__ import annotations

import sys

from helpers import processes

SCRIPT = """
import logging, os, sys
from llmkit.engines.quiet import quiet
if sys.argv[1] == "debug":
    logging.basicConfig(level=logging.INFO)
print("before")
try:
    with quiet():
        print("from Python")
        print("from Python", file=sys.stderr)
        os.write(1, b"from compiled code\\n")
        os.write(2, b"from compiled code\\n")
        raise KeyError
except KeyError:
    print("after")
"""


def run(mode):
    return processes.run([sys.executable, "-c", SCRIPT, mode])


def test_nothing_comes_out_and_all_is_as_before_even_after_an_error():
    said = run("plain")
    assert (said.stdout, said.stderr) == ("before\nafter\n", "")


def test_debug_lets_it_out():
    said = run("debug")
    assert "from compiled code\n" in said.stdout
    assert said.stderr.count("from") == 2
