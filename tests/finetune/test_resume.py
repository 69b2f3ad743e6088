"""A training that stops goes on, and never on something else than it began with."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from helpers.processes import started
from helpers.training import Stopped, by_step, losses, stop_at
from safetensors.torch import load_file

from llmkit.errors import UsageError
from llmkit.finetune import finetune

pytestmark = [pytest.mark.tiny, pytest.mark.xdist_group("train")]

FOUR = {"finetune.optim.max_steps": 4, "finetune.train.save_every": 1, "finetune.train.keep": 4}


def stopped(recipe, monkeypatch, tmp_path, step=4):
    """The folder of a run that stopped at `step`."""
    revive = stop_at(monkeypatch, step)
    with pytest.raises(Stopped):
        finetune(recipe, quiet=True)
    revive()
    (folder,) = (tmp_path / "runs").iterdir()
    return folder


def files(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != "env.json"}


@pytest.mark.parametrize("method", ["talklora", "lora"])
def test_ten_steps_are_five_and_five_resumed_bit_for_bit(make, tmp_path, monkeypatch, method):
    settings = {
        "finetune.method": method,
        "finetune.dropout": 0.1,
        "finetune.optim.max_steps": 10,
        "finetune.train.save_every": 5,
        "finetune.robust.share": 0.5,
        "finetune.robust.rate": 0.2,
    }
    whole = finetune(make(**settings), quiet=True)
    settings["output.dir"] = str(tmp_path / "again")
    revive = stop_at(monkeypatch, 6)
    with pytest.raises(Stopped):
        finetune(make(**settings), quiet=True)
    revive()
    resumed = finetune(make(**settings), quiet=True)
    assert resumed.metrics["resumed_from"] == "checkpoint-5"
    assert losses(resumed) == losses(whole)
    assert resumed.metrics["train_loss"] == pytest.approx(whole.metrics["train_loss"], rel=1e-4)
    counted, all_counted = by_step(resumed, "num_tokens"), by_step(whole, "num_tokens")
    assert counted[6] == all_counted[6] - all_counted[5]  # TRL counts from where it was resumed: see Reporter.tokens
    one, other = (load_file(result.adapter / "adapter_model.safetensors") for result in (whole, resumed))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_early_stopping_counts_on_after_a_resume(make, tmp_path, monkeypatch):
    settings = {
        "finetune.optim.lr": 0.3,  # too high: the dev loss soon rises
        "finetune.optim.schedule": "constant",
        "finetune.optim.max_steps": 24,
        "finetune.train.eval_every": 2,
        "finetune.train.patience": 3,
        "finetune.train.keep": 9,
    }
    whole = finetune(make(**settings), quiet=True).metrics
    assert whole["steps"] < 24
    settings["output.dir"] = str(tmp_path / "again")
    revive = stop_at(monkeypatch, whole["steps"] - 1)  # after two of the three evaluations in vain
    with pytest.raises(Stopped):
        finetune(make(**settings), quiet=True)
    revive()
    resumed = finetune(make(**settings), quiet=True).metrics
    assert resumed["resumed_from"] == f"checkpoint-{whole['steps'] - 2}"
    for key in ("steps", "dev_loss", "dev_loss_best"):
        assert resumed[key] == whole[key], key


def test_a_sharded_training_says_that_it_cannot_be_resumed(tmp_path):
    from llmkit.finetune.run import checkpoint

    assert checkpoint(tmp_path, "auto", "key", "fsdp2") is None
    (tmp_path / "checkpoint-5").mkdir()
    for kind in ("fsdp2", "zero2", "zero3"):
        with pytest.raises(UsageError, match=f"under {kind} cannot be resumed"):
            checkpoint(tmp_path, "auto", "key", kind)
    assert checkpoint(tmp_path, "never", "key", "zero3") is None


def test_a_half_written_or_foreign_checkpoint_is_not_used(make, tmp_path, monkeypatch):
    settings = {"finetune.optim.max_steps": 4, "finetune.train.save_every": 1, "finetune.train.keep": 4}
    revive = stop_at(monkeypatch, 4)
    with pytest.raises(Stopped):
        finetune(make(**settings), quiet=True)
    revive()
    (folder,) = (tmp_path / "runs").iterdir()
    (folder / "checkpoints" / "checkpoint-3" / "trainer_state.json").write_text('{"cut')
    with pytest.raises(UsageError, match="of another recipe"):
        finetune(make(**settings, **{"finetune.r": 4}), resume=str(folder / "checkpoints" / "checkpoint-2"), quiet=True)
    with pytest.raises(UsageError, match="not a whole checkpoint"):
        finetune(make(**settings), resume=str(folder / "checkpoints" / "checkpoint-3"), quiet=True)
    with pytest.raises(UsageError, match="holds an earlier training"):
        finetune(make(**settings), resume="never", quiet=True)
    assert finetune(make(**settings), quiet=True).metrics["resumed_from"] == "checkpoint-2"


def test_force_with_a_checkpoint_of_the_run_itself_goes_on_from_it(make, tmp_path, monkeypatch):
    folder = stopped(make(**FOUR), monkeypatch, tmp_path)
    second = folder / "checkpoints" / "checkpoint-2"
    result = finetune(make(**FOUR), resume=str(second), force=True, quiet=True)
    assert result.metrics["resumed_from"] == "checkpoint-2"
    assert second.is_dir()
    again = finetune(make(**FOUR), resume=str(second), force=True, quiet=True)  # a finished run, too
    assert again.metrics["resumed_from"] == "checkpoint-2"
    assert losses(again).keys() == {1, 2, 3, 4}


@pytest.mark.parametrize("wrong", ["checkpoint-9", "foreign", "launch"])
def test_force_loses_nothing_when_it_is_refused(make, tmp_path, monkeypatch, wrong):
    recipe = make(**FOUR)
    folder = finetune(recipe, quiet=True).folder
    resume = folder / "checkpoints" / "checkpoint-9"
    if wrong == "foreign":
        resume = tmp_path / "other" / "checkpoint-2"
        shutil.copytree(folder / "checkpoints" / "checkpoint-2", resume)
    if wrong == "launch":
        recipe = make(**FOUR, **{"finetune.launch.kind": "ddp", "finetune.launch.num_processes": 3})
        resume = folder / "checkpoints" / "checkpoint-2"
    before = files(folder)
    with pytest.raises(UsageError, match=r"not a whole checkpoint|of another recipe|does not divide"):
        finetune(recipe, resume=str(resume), force=True, quiet=True)
    kept = files(folder)
    names = [name for name in before if not name.name.startswith("recipe.")]
    assert Path("adapter/adapter_model.safetensors") in names
    assert {name: kept.get(name) for name in names} == {name: before[name] for name in names}


def jsonl(path, answer):
    rows = [{"prompt": f"What is {i}?", "completion": f"{answer} {i}"} for i in range(60)]
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


def test_edited_rows_are_not_taken_for_those_that_were_trained_on(make, tmp_path, monkeypatch):
    rows = tmp_path / "rows.jsonl"
    settings = {"finetune.data.sources": [{"path": jsonl(rows, "It is")}], "finetune.data.dev_share": 0.2, **FOUR}
    folder = stopped(make(**settings), monkeypatch, tmp_path)
    jsonl(rows, "It was")
    for resume in ("auto", str(folder / "checkpoints" / "checkpoint-2")):
        with pytest.raises(UsageError, match="the training data and the dev data changed since") as caught:
            finetune(make(**settings), resume=resume, quiet=True)
        assert "--force" in caught.value.hint
    jsonl(rows, "It is")
    first = finetune(make(**settings), quiet=True)
    assert first.metrics["resumed_from"] == "checkpoint-3"
    assert finetune(make(**settings), quiet=True).metrics == first.metrics
    jsonl(rows, "It was")
    with pytest.raises(UsageError, match="the training data"):
        finetune(make(**settings), quiet=True)
    anew = finetune(make(**settings), force=True, quiet=True)
    assert anew.folder == first.folder
    assert anew.metrics["resumed_from"] is None
    assert anew.metrics["dev_loss"] != first.metrics["dev_loss"]
    assert finetune(make(**settings), quiet=True).metrics == anew.metrics


def test_another_base_model_in_the_same_folder_is_not_taken_for_the_first(make, tmp_path):
    from helpers.fakes import make_tiny_llama

    base = make_tiny_llama(tmp_path / "base", seed=0)
    settings = {"model.path": str(base), "finetune.optim.max_steps": 1}
    first = finetune(make(**settings), quiet=True)
    make_tiny_llama(base, seed=1)
    with pytest.raises(UsageError, match="the base model changed since"):
        finetune(make(**settings), quiet=True)
    assert finetune(make(**settings), force=True, quiet=True).metrics["dev_loss"] != first.metrics["dev_loss"]


def test_other_noise_stops_what_goes_on_but_not_what_is_finished(tmp_path):
    from llmkit.finetune.inputs import unchanged

    found = {"the training data": "a", "the code of the noise": "b"}
    (tmp_path / "inputs.json").write_text(json.dumps({**found, "the code of the noise": "c"}))
    unchanged(tmp_path, found, going_on=False)
    with pytest.raises(UsageError, match="the code of the noise changed"):
        unchanged(tmp_path, found, going_on=True)
    unchanged(tmp_path / "without a record", found, going_on=True)


def seconds_in(checkpoint):
    state = json.loads((checkpoint / "trainer_state.json").read_text())
    return state["stateful_callbacks"]["Reporter"]["attributes"]["seconds"]


def test_the_seconds_of_all_pieces_are_added(make, tmp_path, monkeypatch):
    checkpoints = stopped(make(**FOUR), monkeypatch, tmp_path) / "checkpoints"
    state = checkpoints / "checkpoint-3" / "trainer_state.json"
    assert 0 < seconds_in(checkpoints / "checkpoint-1") < seconds_in(checkpoints / "checkpoint-3")
    kept = json.loads(state.read_text())
    kept["stateful_callbacks"]["Reporter"]["attributes"]["seconds"] = 1000.0
    state.write_text(json.dumps(kept))
    metrics = finetune(make(**FOUR), quiet=True).metrics
    assert metrics["resumed_from"] == "checkpoint-3"
    assert 1000 < metrics["seconds"] < 1100
    assert 1000 < seconds_in(checkpoints / "checkpoint-4") <= metrics["seconds"] + 0.1
    assert metrics["tokens_per_second"] > 5  # of the last piece alone: 1000 s would make it less


def test_a_checkpoint_without_its_seconds_is_gone_on_from(make, tmp_path, monkeypatch):
    state = stopped(make(**FOUR), monkeypatch, tmp_path) / "checkpoints" / "checkpoint-3" / "trainer_state.json"
    kept = json.loads(state.read_text())
    del kept["stateful_callbacks"]["Reporter"]
    state.write_text(json.dumps(kept))
    assert finetune(make(**FOUR), quiet=True).metrics["resumed_from"] == "checkpoint-3"


def test_a_training_killed_by_the_system_ends_in_the_weights_of_a_whole_one(make, tmp_path):
    settings = {**FOUR, "finetune.train.save_every": 2, "finetune.robust.share": 0.5, "finetune.robust.rate": 0.2}
    whole = finetune(make(**settings, **{"output.dir": str(tmp_path / "whole")}), quiet=True)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text((whole.folder / "recipe.resolved.yaml").read_text())
    flag, out = tmp_path / "at-step-3", tmp_path / "killed"
    command = [sys.executable, str(Path(__file__).with_name("killed_run.py")), str(recipe), str(out), str(flag)]
    said = tmp_path / "said.txt"
    with said.open("w") as stderr, started(command, stdout=subprocess.DEVNULL, stderr=stderr) as process:
        while not flag.exists():
            assert process.poll() is None, said.read_text()
            time.sleep(0.05)
        process.kill()
        assert process.wait() == -signal.SIGKILL
    resumed = finetune(make(**settings, **{"output.dir": str(out)}), quiet=True)
    assert resumed.metrics["resumed_from"] == "checkpoint-2"
    assert losses(resumed) == losses(whole)
    one, other = (load_file(result.adapter / "adapter_model.safetensors") for result in (whole, resumed))
    assert all(torch.equal(one[key], other[key]) for key in one)
