"""`make kernels`: tests TalkLoRA's Triton kernels without a GPU and writes what came out, with its date and a digest.

PYTHONPATH=benchmarks python -m kernel_checks                  # all of it, some minutes on two cores
PYTHONPATH=benchmarks python -m kernel_checks -- -k compiled   # pytest's own flags; nothing is written

Triton is installed beside these tests only: into a folder that is removed afterwards.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from digests import ROOT

from kernel_checks import result

TRITON = "triton==3.7.1"
# The tuner's and the slots' own tests, which the kernels serve as well.
ALSO = (
    "talklora/test_balancing.py",
    "talklora/test_distributed.py",
    "talklora/test_folded.py",
    "serving/test_slots.py",
)


def main(flags: list[str]) -> int:
    """Runs everything; returns pytest's exit code."""
    with tempfile.TemporaryDirectory(prefix="kernels-") as name:
        folder, report = Path(name) / "triton", Path(name) / "junit.xml"
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
        subprocess.run([*pip, TRITON], check=True)
        path = os.pathsep.join((str(ROOT), str(ROOT / "benchmarks"), str(ROOT / "tests"), str(folder)))
        environment = os.environ | {"PYTHONPATH": path, "HF_HUB_OFFLINE": "1"}
        command = [sys.executable, "-m", "pytest", "-n", "2", "-p", "no:cacheprovider", f"--junitxml={report}"]
        command += [str(ROOT / "benchmarks/kernel_checks"), *(str(ROOT / "tests" / test) for test in ALSO), *flags]
        tested = subprocess.run(command, cwd=ROOT, env=environment | {"TRITON_INTERPRET": "1"})
        if not flags:
            measure = [sys.executable, "-m", "kernel_checks.measured"]
            measured = subprocess.run(measure, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE)
            result.write({"tests": result.tests(report), **json.loads(measured.stdout)})
            print(f"wrote {result.RESULT} and the tables in {result.PAGE}")
    return tested.returncode


if __name__ == "__main__":
    arguments = sys.argv[1:]
    sys.exit(main(arguments[1:] if arguments[:1] == ["--"] else arguments))
