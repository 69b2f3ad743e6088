"""The final comparison of benchmarks/learning.py, which needs a GPU: its plan, every cell as a recipe, one cell run."""

from __future__ import annotations

import json
import sys
from argparse import Namespace

import pytest
from helpers import benchmarks, processes

from llmkit.recipe import load


@pytest.fixture(scope="module")
def learning():
    return benchmarks.load("learning")


def test_the_plan_names_every_cell_and_skips_what_is_done(learning, tmp_path, capsys):
    out = tmp_path / "learning.json"
    out.write_text(json.dumps({"final arithmetic, lora, seed 0": {}}))
    learning.main(["--part", "final", "--plan", "--data-dir", str(tmp_path), "--out", str(out)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "done  final arithmetic, lora, seed 0"
    assert lines[-1].startswith("final: 49 of 50 cells open")


def test_a_method_is_trained_with_what_was_best_on_dev(learning, tmp_path):
    args = Namespace(batch=4, steps=10, data_dir=str(tmp_path), seeds=1)
    tuning = learning.cells("tune-final", {}, args)
    done = {name: {"dev_loss": 1.0} for name in tuning}
    done["final arithmetic, talklora, lr 0.004, alpha 64"]["dev_loss"] = 0.5
    settings, seed, _ = learning.cells("final", done, args)["final arithmetic, talklora, seed 3"]
    assert (settings["finetune.optim.lr"], settings["finetune.alpha"], seed) == (0.004, 64.0, 3)


@pytest.mark.parametrize("part", ["tune-final", "final"])
def test_every_cell_is_a_recipe(learning, tmp_path, part):
    args = Namespace(batch=4, steps=10, data_dir=str(tmp_path), seeds=1)
    for overrides, seed, _ in learning.cells(part, {}, args).values():
        load("base/smollm2", {**learning.COMMON, **overrides, "seed": seed})


@pytest.mark.tiny
@pytest.mark.slow
@pytest.mark.xdist_group("train")
def test_the_smallest_cell_is_trained_asked_and_kept(learning, tiny_llama, tmp_path, capsys):
    out = tmp_path / "learning.json"
    options = ["--part", "final", "--smallest", "--model", tiny_llama, "--out", str(out), "--runs", str(tmp_path)]
    script = benchmarks.ROOT / "benchmarks" / "learning.py"
    done = processes.run([sys.executable, script, *options], limit=580)
    assert done.returncode == 0, done.stderr
    (name, row), *others = json.loads(out.read_text()).items()
    assert (name, others) == ("smallest: final arithmetic, lora, seed 0", [])
    assert row["steps"] == 2
    assert row["asked"] == dict.fromkeys(("clean", *learning.KINDS), 1)
    learning.main([*options, "--plan"])
    assert capsys.readouterr().out.startswith(f"done  {name}\nfinal: 0 of 1 cells open")
