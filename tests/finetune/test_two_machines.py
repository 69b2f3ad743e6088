"""Two "machines" on the loopback train as one process does; one that is killed ends the other, and both go on."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch
from helpers.processes import in_processes, started
from helpers.training import cache_slowly, losses
from safetensors.torch import load_file

from llmkit.errors import UsageError
from llmkit.finetune import finetune
from llmkit.recipe import load

pytestmark = [pytest.mark.tiny, pytest.mark.slow, pytest.mark.xdist_group("train")]

SETTINGS = {
    "data.size": 120,
    "finetune.optim.max_steps": 10,
    "finetune.train.save_every": 2,
    "finetune.robust.share": 0.5,
    "finetune.robust.rate": 0.2,
}


class Pair:
    """Machines 0 and 1. Machine 1 has a run folder of its own, as one without a common file system."""

    def __init__(self, recipe: Path, folder: Path) -> None:
        self.recipe, self.folder = recipe, folder
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]

    @contextlib.contextmanager
    def machine(self, number: int, *more: str) -> Iterator[subprocess.Popen[str]]:
        command = [sys.executable, "-m", "llmkit", "--quiet", "finetune", self.recipe]
        command += ["--dir", self.folder / str(number)]
        command += ["--launch", "ddp", "--num-processes", "2", "--num-machines", "2", "--machine-rank", str(number)]
        command += ["--main-process", f"127.0.0.1:{self.port}", *more]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        with started(command, 280, env=environment, **pipes) as process:
            yield process

    def train(self) -> SimpleNamespace:
        """Trains to the end, and returns the run folder of machine 0 and its metrics."""
        with self.machine(0) as main, self.machine(1) as other:
            said = [process.communicate() for process in (main, other)]
        assert (main.returncode, other.returncode) == (0, 0), said
        adapter = Path(said[0][0].strip())
        assert said[1][0] == ""
        return SimpleNamespace(
            folder=adapter.parent, adapter=adapter, metrics=json.loads((adapter.parent / "metrics.json").read_text())
        )

    def killed_at_a_checkpoint(self) -> tuple[int, str]:
        """Kills machine 1 once there is a checkpoint. Returns the exit code of machine 0 and what it said."""
        with self.machine(0) as main, self.machine(1) as other:
            while not list((self.folder / "0").glob("*/checkpoints/checkpoint-*/trainer_state.json")):
                assert main.poll() is None, main.communicate()
                time.sleep(0.02)
            processes = [child for process in (main, other) for child in psutil.Process(process.pid).children(True)]
            other.send_signal(signal.SIGKILL)
            _, said = main.communicate()
            _, alive = psutil.wait_procs(processes, 30)
            assert alive == []
            return main.returncode, said


@pytest.fixture
def pair(make, tmp_path):
    from llmkit.recipe import to_yaml

    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(to_yaml(make(**SETTINGS).recipe))
    return Pair(recipe, tmp_path)


def test_a_machine_that_is_killed_ends_the_other_and_both_go_on_to_what_one_process_learns(pair, tmp_path):
    one = finetune(load(str(pair.recipe), {"output.dir": str(tmp_path / "one")}), quiet=True)
    code, said = pair.killed_at_a_checkpoint()
    assert code == 1
    assert "error: machine 1 is lost\nhint: its own output may say more; start every machine again" in said
    (folder,) = (tmp_path / "0").iterdir()
    newest = max(folder.glob("checkpoints/checkpoint-*"), key=lambda path: int(path.name.partition("-")[2]))
    states = [(newest / f"rng_state_{number}.pth").read_bytes() for number in range(2)]
    assert all(states)
    two = pair.train()
    assert two.metrics["resumed_from"]
    assert two.metrics["processes"] == 2
    assert losses(two) == pytest.approx(losses(one), rel=1e-4)
    weights, expected = (load_file(result.adapter / "adapter_model.safetensors") for result in (two, one))
    torch.testing.assert_close(weights, expected, rtol=1e-3, atol=1e-4)
    assert not (tmp_path / "1").exists()
    # what is finished is returned by machine 0 at once
    with pair.machine(0) as main:
        assert main.communicate()[0].strip() == str(two.adapter)


def test_machines_with_other_rows_are_refused_on_both(pair, tmp_path):
    rows = tmp_path / "rows.jsonl"
    sets = ["--set", f"finetune.data.sources=[{{path: {rows}}}]", "--set", "finetune.data.dev_share=0.2"]
    lines = [json.dumps({"prompt": f"What is {i}?", "completion": f"It is {i}"}) + "\n" for i in range(60)]
    rows.write_text("".join(lines))
    with pair.machine(0, *sets) as main:
        while not list((tmp_path / "0").glob("*/inputs.json")):
            assert main.poll() is None, main.communicate()
            time.sleep(0.02)
        rows.write_text("".join(lines[:-1]))
        with pair.machine(1, *sets) as other:
            said = [process.communicate()[1] for process in (main, other)]
    assert (main.returncode, other.returncode) == (2, 2)
    for text in said:
        assert "error: machine 1 differs from machine 0: the training data" in text


def test_a_machine_that_does_not_see_the_checkpoint_says_so(make, tmp_path, monkeypatch):
    from llmkit.finetune import launch

    monkeypatch.setattr(launch, "SILENCE", 0.2)
    with pytest.raises(UsageError, match="does not see the checkpoint") as caught:
        launch._check_shared(make().recipe, tmp_path, tmp_path / "checkpoint-2")
    assert "a copy of it" in caught.value.hint
    patient = make(**{"finetune.train.patience": 2}).recipe
    with pytest.raises(UsageError, match=r"finetune\.train\.patience goes back"):
        launch._check_shared(patient, tmp_path, None)
    (tmp_path / "inputs.json").touch()
    launch._check_shared(patient, tmp_path, None)


def test_one_process_of_a_machine_makes_the_tokens(tmp_path, monkeypatch):
    monkeypatch.setenv("LLMKIT_CACHE", str(tmp_path / "cache"))
    assert in_processes(cache_slowly, *[(str(tmp_path / "marks.txt"),)] * 3) == [0, 0, 0]
    assert sorted((tmp_path / "marks.txt").read_text().split()) == ["cached", "cached", "made", "new"]
