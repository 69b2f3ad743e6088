"""The scripts of examples/scale, as far as they run without a cluster: a scripted server takes vLLM's place."""

from __future__ import annotations

import json
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
from llmkit.finetune.machines import Machines

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
code=0
for task in $tasks; do
    wait "$task"
    ended=$?
    if [ $ended = 143 ]; then wait "$task"; fi # the signal ended the first wait, not the task
    if [ $ended != 0 ]; then code=$ended; fi
done
exit $code
"""
LLMKIT = """
import json, os, sys
with open(os.environ["CALLS"], "a") as file:
    print(json.dumps(sys.argv[1:]), file=file)
sys.exit(4 if "--fails" in sys.argv and os.environ["SLURM_NODEID"] == "1" else 0)
"""
CLUSTER = """
import sys
from ray.cluster_utils import Cluster
machine = {"num_cpus": 1, "num_gpus": 1, "object_store_memory": 10**8}
cluster = Cluster(initialize_head=True, head_node_args=machine | {"include_dashboard": False})
second = cluster.add_node(**machine)
print(cluster.address, flush=True)
for line in sys.stdin:
    cluster.remove_node(second, allow_graceful=False)
cluster.shutdown()
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


def until(holds, seconds=120.0):
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


@pytest.mark.parametrize(("flags", "code"), [([], 0), (["--fails"], 4)])
def test_slurm_starts_llmkit_on_each_node(programs, tmp_path, flags, code):
    """The flags that each node's command is given are those of two machines that find each other."""
    fake, calls = tmp_path / "llmkit.py", tmp_path / "calls.txt"
    fake.write_text(LLMKIT)
    scontrol = tmp_path / "bin" / "scontrol"
    scontrol.write_text('#!/bin/sh\n[ "$*" = "show hostnames node-[7-8]" ] && printf "node-7\\nnode-8\\n"\n')
    scontrol.chmod(0o755)
    job = {"SLURM_NNODES": "2", "SLURM_GPUS_ON_NODE": "4", "SLURM_JOB_NODELIST": "node-[7-8]"}
    job |= {"LLMKIT": f"{sys.executable} {fake}", "CALLS": str(calls)}
    given = ["my recipe.yaml", "--dir", "/shared/my runs", *flags]
    assert run(["bash", SCALE / "finetune.sbatch", *given], env=programs | job).returncode == code
    found = sorted((json.loads(line) for line in calls.read_text().splitlines()), key=lambda call: call[8])
    for rank, call in enumerate(found):
        assert call[0] == "finetune"
        flag = dict(zip(call[1:11:2], call[2:11:2], strict=True))
        assert call[11:] == given
        assert (flag["--launch"], flag["--num-processes"]) == ("ddp", "8")
        machines = Machines.of(
            int(flag["--num-machines"]), int(flag["--machine-rank"]), flag["--main-process"], quiet=True
        )
        assert machines == Machines(2, rank, "node-7", 20_012, quiet=True)
    assert len(found) == 2


def test_ray_servers_are_listed_restarted_and_taken_out(programs, tmp_path):
    pytest.importorskip("ray")
    file = tmp_path / "servers.txt"
    environment = programs | {"RAY_USAGE_STATS_ENABLED": "0"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with started([sys.executable, "-c", CLUSTER], 580, env=environment, cwd=tmp_path, **pipes) as cluster:
        command = [sys.executable, SCALE / "ray_servers.py", "my-model", file, "--everywhere"]
        environment |= {"RAY_ADDRESS": cluster.stdout.readline().strip()}
        with started(command, 570, env=environment, cwd=tmp_path) as job:
            until(lambda: len(listed(file)) == 2, 300)  # a busy machine starts the processes of Ray slowly
            first = listed(file)
            os.kill(pids_of(tmp_path)[0], signal.SIGKILL)
            until(lambda: len(listed(file)) == 2 and listed(file) != first)
            assert len(set(first) & set(listed(file))) == 1
            print("the second node is lost", file=cluster.stdin, flush=True)
            until(lambda: len(listed(file)) == 1)
            job.send_signal(signal.SIGTERM)
            job.wait(60)
            assert not file.exists()
            until(lambda: not any(map(psutil.pid_exists, pids_of(tmp_path))))
        cluster.stdin.close()
        cluster.wait(60)


def test_the_page_shows_the_scripts_that_are_there():
    page = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    named = set(re.findall(r"examples/scale/([\w.]+)", page))
    assert named == {path.name for path in SCALE.iterdir()}
