"""Log lines of libraries: none reaches a terminal unless --debug asks for it."""

from __future__ import annotations

import sys

import pytest
from helpers.processes import run

SCRIPT = """
import sys
from llmkit.cli import common
common.settings.debug = sys.argv[1] == "debug"
common.set_up_logs()
from torch._library.triton import get_inner_triton_kernels
get_inner_triton_kernels(lambda: None)
"""


@pytest.mark.parametrize("mode", ["plain", "debug"])
def test_a_machine_without_triton_is_not_told_so(mode):
    try:
        import triton  # noqa: F401
    except ImportError:
        pass
    else:
        pytest.skip("this machine has Triton")
    said = run([sys.executable, "-c", SCRIPT, mode])
    assert said.returncode == 0
    assert ("Triton not available" in said.stderr) == (mode == "debug")
