"""Two "machines" on this one: two commands that meet over loopback, each with its processes and its token cache."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from helpers.network import free_port
from helpers.processes import in_processes, started
from helpers.training import losses, make_tokens, small
from safetensors.torch import load_file

from llmkit.errors import UsageError
from llmkit.finetune import FinetuneResult, finetune
from llmkit.finetune.inputs import inputs
from llmkit.finetune.machines import Machines
from llmkit.finetune.run import SECTIONS, checkpoint
from llmkit.recipe import digest, load, to_yaml
from llmkit.runs import Run

pytestmark = [pytest.mark.tiny, pytest.mark.slow, pytest.mark.xdist_group("train")]

LIMIT = 550.0  # seconds; on a busy machine six interpreters with torch take their time
STEPS = {"finetune.optim.max_steps": 8, "finetune.train.save_every": 2, "finetune.train.keep": 4}
SHARED = {"finetune.launch.kind": "ddp", "finetune.launch.num_processes": 2}


@contextmanager
def both(recipe: Path, runs: Path) -> Iterator[list[subprocess.Popen[Any]]]:
    """Machines 0 and 1 with a port of their own. What each writes is added to a file beside the runs."""
    place = f"127.0.0.1:{free_port()}"
    with ExitStack() as held:
        machines = []
        for rank in (0, 1):
            command = [sys.executable, "-m", "llmkit", "finetune", recipe, "--dir", runs, "--num-machines", 2]
            command += ["--machine-rank", rank, "--main-process", place]
            output = held.enter_context(open(f"{runs}-{rank}.txt", "a"))
            options = {"cwd": recipe.parent, "env": os.environ | {"LLMKIT_CACHE": f"{runs}-cache-{rank}"}}
            machines.append(held.enter_context(started(command, LIMIT, **options, stdout=output, stderr=output)))
        yield machines


def written(runs: Path) -> list[str]:
    return [Path(f"{runs}-{rank}.txt").read_text() for rank in (0, 1)]


def trained(recipe: Path, runs: Path) -> FinetuneResult:
    """The run of both machines, after they ended well."""
    with both(recipe, runs) as machines:
        assert [machine.wait() for machine in machines] == [0, 0], written(runs)
    (folder,) = runs.iterdir()
    return FinetuneResult(folder, Run(folder).metrics)


@pytest.fixture(scope="module")
def whole(tiny_llama, tmp_path_factory) -> tuple[Path, FinetuneResult]:
    """A recipe for two processes, and its undisturbed training on two machines."""
    folder = tmp_path_factory.mktemp("two")
    recipe = folder / "recipe.yaml"
    recipe.write_text(to_yaml(load(None, small(tiny_llama, folder) | STEPS | SHARED).recipe), encoding="utf-8")
    return recipe, trained(recipe, folder / "runs")


def test_two_machines_learn_what_one_process_learns(whole, make):
    _, two = whole
    one = finetune(make(**STEPS), quiet=True)
    assert (one.metrics["processes"], two.metrics["processes"]) == (1, 2)
    # Not to the last bit: each machine sums its half of the batch in float32 before the halves are added.
    assert losses(two) == pytest.approx(losses(one), rel=1e-4)
    assert two.metrics["dev_loss"] == pytest.approx(one.metrics["dev_loss"], rel=1e-4)
    assert losses(two).keys() == set(range(1, 9))


def test_one_machine_writes_the_results_and_each_its_tokens(whole):
    _, two = whole
    runs = two.folder.parent
    assert list(runs.iterdir()) == [two.folder]  # nothing is left of the meeting
    assert len(list((two.folder / "tensorboard").iterdir())) == 1
    for rank in (0, 1):
        assert len(list(Path(f"{runs}-cache-{rank}").glob("tokens/*.npz"))) == 2  # to train and to evaluate
        assert written(runs)[rank].rstrip().endswith(str(two.adapter))
    assert "step 8/8" in written(runs)[0]
    assert "step 8/8" not in written(runs)[1]


def until_step(step: int, runs: Path, machines: list[subprocess.Popen[Any]]) -> None:
    """Waits until a training has logged a step."""
    while not any(row["step"] >= step for log in runs.glob("*/log.jsonl") for row in whole_rows(log)):
        assert [machine.poll() for machine in machines] == [None, None], written(runs)
        time.sleep(0.05)


def whole_rows(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines(keepends=True) if line.endswith("\n")]


@pytest.fixture(scope="module")
def lost_command(whole, tmp_path_factory) -> Path:
    """Runs of which machine 1's command was killed: the command alone, its processes end with it."""
    runs = tmp_path_factory.mktemp("killed") / "runs"
    with both(whole[0], runs) as machines:
        until_step(3, runs, machines)
        below = psutil.Process(machines[1].pid).children(recursive=True)
        assert len(below) >= 2
        machines[1].send_signal(signal.SIGKILL)
        assert machines[0].wait() == 1
        assert psutil.wait_procs(below, 60)[1] == []
    return runs


@pytest.fixture(scope="module")
def lost_machine(whole, lost_command) -> Path:
    """The same, gone on with, and then the whole of machine 0 was killed."""
    with both(whole[0], lost_command) as machines:
        until_step(5, lost_command, machines)
        process = psutil.Process(machines[0].pid)
        for victim in [process, *process.children(recursive=True)]:
            victim.kill()
        assert machines[1].wait() == 1
    return lost_command


# A training each, so that none of them takes long on a slow machine.


def test_a_command_that_is_killed_ends_the_other_machine(lost_command):
    assert "another process of this training ended" in written(lost_command)[0]


def test_a_machine_that_is_killed_ends_the_other(lost_machine):
    for text in written(lost_machine):
        assert "error: a training process ended" in text
        assert "the same command on every machine goes on from the newest checkpoint" in text


def test_after_both_the_same_commands_go_on_to_the_weights_of_an_undisturbed_training(whole, lost_machine):
    recipe, undisturbed = whole
    resumed = trained(recipe, lost_machine)
    assert resumed.metrics["resumed_from"] in ("checkpoint-4", "checkpoint-6")
    assert losses(resumed) == losses(undisturbed)
    one, other = (load_file(result.adapter / "adapter_model.safetensors") for result in (undisturbed, resumed))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


def together(*recipes: Any, **options: Any) -> list[Any]:
    """Calls `finetune` on each machine, in threads, and returns results or errors: for what ends before a training."""
    inputs(recipes[0].recipe)  # the digest of the model is kept by process: two threads would write it at once
    machines = Machines(len(recipes), 0, "127.0.0.1", free_port(), patience=120.0, quiet=True)
    with ThreadPoolExecutor(len(recipes)) as pool:
        futures = [
            pool.submit(finetune, recipe, quiet=True, machines=replace(machines, rank=rank), **options)
            for rank, recipe in enumerate(recipes)
        ]
        return [future.exception(300) or future.result() for future in futures]


def test_a_finished_run_is_returned_on_both(whole):
    recipe, two = whole
    stamp = (two.adapter / "adapter_model.safetensors").stat().st_mtime_ns
    again = load(recipe, {"output.dir": str(two.folder.parent)})
    assert [result.metrics for result in together(again, again)] == [two.metrics] * 2
    assert (two.adapter / "adapter_model.safetensors").stat().st_mtime_ns == stamp


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"finetune.optim.lr": 0.02}, "the name and recipe of the run (talklora-"),
        ({"output.name": "other"}, "the name and recipe of the run (other-"),
    ],
)
def test_machines_with_other_recipes_start_nothing(make, tmp_path, settings, said):
    errors = together(make(**SHARED), make(**SHARED, **settings))
    assert [type(error) for error in errors] == [UsageError, UsageError]
    assert {error.message for error in errors} == {errors[0].message}
    assert said in errors[0].message
    assert list((tmp_path / "runs").iterdir()) == []


def test_machines_with_other_rows_start_nothing(make, tmp_path):
    recipes = []
    for number in (0, 1):
        rows = tmp_path / str(number) / "rows.jsonl"
        rows.parent.mkdir()
        lines = [json.dumps({"prompt": f"What is {i}?", "completion": f"{i + number}"}) for i in range(60)]
        rows.write_text("\n".join(lines))
        recipes.append(make(**SHARED, **{"finetune.data.sources": [{"path": str(rows)}]}))
    errors = together(*recipes)
    assert "the training data" in errors[1].message
    assert [error.exit_code for error in errors] == [2, 2]


def test_what_machine_0_cannot_do_is_told_to_the_other(make, tmp_path):
    recipe = make(**SHARED)
    checkpoints = tmp_path / "runs" / f"talklora-{digest(recipe.recipe, *SECTIONS)}" / "checkpoints"
    checkpoints.mkdir(parents=True)
    errors = together(recipe, recipe, resume="never")
    assert [str(error) for error in errors] == [f"{checkpoints} holds an earlier training"] * 2


def test_processes_of_one_machine_make_the_tokens_once(tmp_path):
    assert in_processes(make_tokens, *[(str(tmp_path),)] * 3) == [0, 0, 0]
    assert (tmp_path / "made.txt").read_text() == "once\n"


def test_a_checkpoint_without_the_random_numbers_of_each_process_is_not_whole(tmp_path):
    folder = tmp_path / "checkpoint-2"
    folder.mkdir()
    (tmp_path / "recipe.digest").write_text("key\n")
    for name in ("adapter_model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state_0.pth"):
        (folder / name).touch()
    (folder / "trainer_state.json").write_text("{}")
    assert checkpoint(tmp_path, "auto", "key", "ddp", 2) is None
    (folder / "rng_state_1.pth").touch()
    assert checkpoint(tmp_path, "auto", "key", "ddp", 2) == folder
