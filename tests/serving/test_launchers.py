"""The scripts of examples/scale, as far as they run without a cluster: a scripted server takes vLLM's place."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from helpers.benchmarks import ROOT
from helpers.processes import run, started

from llmkit.engines.server_list import ServerList
from llmkit.errors import DataError

pytestmark = pytest.mark.slow

SCALE = ROOT / "examples" / "scale"
SERVER = Path(__file__).parents[1] / "helpers" / "replica.py"
SRUN = """#!/bin/bash
# Two tasks on this machine. SIGTERM goes to both, as Slurm has it.
while [ "$1" != bash ]; do shift; done
trap 'kill -TERM $tasks' TERM
for number in 0 1; do
    SLURM_PROCID=$number SLURM_NODEID=$number "$@" &
    tasks="$tasks $!"
done
wait
wait
"""


@pytest.fixture
def programs(tmp_path):
    """The variables of a job, with programs that stand for Slurm's in its path."""
    folder = tmp_path / "bin"
    folder.mkdir()
    given = {"srun": SRUN, "hostname": "#!/bin/sh\necho 127.0.0.1\n"}
    given["sleep"] = "#!/bin/sh\nexec /bin/sleep 0.2\n"
    for name, text in given.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    job = {"SLURM_JOB_ID": "12"}
    paths = {"PATH": f"{folder}:{Path(sys.executable).parent}:{os.environ['PATH']}"}
    paths |= {"SERVE": f"{sys.executable} {SERVER}", "REPLICA_PIDS": str(tmp_path / "pids.txt")}
    return os.environ | job | paths


def listed(file: Path) -> list[str]:
    try:
        return ServerList(file).read()
    except DataError:  # not yet there
        return []


def until(holds, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def pids_of(folder: Path) -> list[int]:
    return [int(line.split()[0]) for line in (folder / "pids.txt").read_text().splitlines()]


@pytest.mark.parametrize("script", sorted(SCALE.glob("*.sbatch")), ids=lambda path: path.name)
def test_the_shell_reads_a_script(script):
    assert run(["bash", "-n", script]).stderr == ""


def test_slurm_servers_are_listed_restarted_and_taken_out(programs, tmp_path):
    file = tmp_path / "a folder" / "servers.txt"
    file.parent.mkdir()
    command = ["bash", SCALE / "servers.sbatch", "my-model", file]
    with started(command, 120, env=programs, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as job:
        until(lambda: len(listed(file)) == 2)
        first = listed(file)
        os.kill(pids_of(tmp_path)[0], signal.SIGKILL)
        until(lambda: len(listed(file)) == 2 and listed(file) != first)
        assert len(set(first) & set(listed(file))) == 1
        job.send_signal(signal.SIGTERM)
        job.wait(60)
    assert list(file.parent.iterdir()) == []
    assert not any(map(psutil.pid_exists, pids_of(tmp_path)))


def test_the_page_shows_the_scripts_that_are_there():
    page = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    named = set(re.findall(r"examples/scale/([\w.]+)", page))
    assert named == {path.name for path in SCALE.iterdir()}
