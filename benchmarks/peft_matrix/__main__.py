"""`make peft-matrix`: runs PEFT's own tests with TalkLoRA and writes what came out, with its date and a digest.

PYTHONPATH=benchmarks python -m peft_matrix                       # all of them, two to three minutes on two cores
PYTHONPATH=benchmarks python -m peft_matrix -- -k merge_layers    # pytest's own flags; nothing is written
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from peft_matrix import result
from peft_matrix.models import fill_cache
from peft_matrix.suite import install_quantisers, unpack


def main(flags: list[str]) -> int:
    """Runs the matrix; returns pytest's exit code."""
    with tempfile.TemporaryDirectory(prefix="peft-matrix-") as name:
        folder = Path(name)
        tests, cache, report = unpack(folder), folder / "hub", folder / "junit.xml"
        fill_cache(cache)
        install_quantisers(folder / "quantisers")
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-n",
            "2",
            "-p",
            "peft_matrix.plugin",
            "-p",
            "no:cacheprovider",
        ]
        command += ["-W", "ignore", f"--junitxml={report}", str(tests), *flags]
        # pytest runs in that folder, where a relative path such as `benchmarks` would lead nowhere.
        here, given = str(Path(__file__).resolve().parents[1]), os.environ.get("PYTHONPATH")
        path = os.pathsep.join(filter(None, (here, given, str(folder / "quantisers"))))
        changed = {"HF_HUB_CACHE": str(cache), "HF_HUB_OFFLINE": "1", "PYTHONPATH": path}
        done = subprocess.run(command, cwd=folder, env=os.environ | changed)
        if not flags:
            result.write(result.counted(report))
            print(f"wrote {result.RESULT} and the table in {result.PAGE}")
    return done.returncode


if __name__ == "__main__":
    arguments = sys.argv[1:]
    sys.exit(main(arguments[1:] if arguments[:1] == ["--"] else arguments))
