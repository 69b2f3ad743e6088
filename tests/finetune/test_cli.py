"""The command as a user meets it."""

from __future__ import annotations

import json

import pytest

from llmkit.cli.app import run
from llmkit.errors import UsageError
from llmkit.finetune.dry_run import dry_run
from llmkit.finetune.launch import command, preset
from llmkit.recipe import load

SMALL = ["--set", "data.size=40", "--set", "finetune.data.max_length=600", "--set", "finetune.optim.batch_size=4"]


def test_a_dry_run_shows_what_would_happen_and_trains_nothing(tiny_llama, tmp_path, capsys):
    code = run(["finetune", "talklora-small", "--model", tiny_llama, "--dry-run", "--out", str(tmp_path), *SMALL])
    shown = capsys.readouterr().out
    assert code == 0
    assert "trainable parameters" in shown
    assert "memory gib estimate" in shown
    assert "learnt tokens green" in shown
    assert "The answer is" in shown
    assert "<|im_end|>   [learnt:" in shown
    assert shown.count("batch 2") == 1
    assert not list(tmp_path.iterdir())


def test_a_dry_run_as_json_has_the_facts(tiny_llama, tmp_path, capsys):
    assert run(["finetune", "talklora-small", "--model", tiny_llama, "--dry-run", "--json", *SMALL]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["method"] == "talklora"
    assert facts["rows"] == facts["steps"] * 4
    assert 0 < facts["trainable_percent"] < 30
    assert facts["memory_gib_estimate"] > 0


def test_the_papers_recipe_is_whole_and_counts_its_parameters(data_dir, tmp_path):
    """Table 6, over a model of LLaMA-3's architecture with few layers, and the sets that are at hand."""
    from fakes import make_tiny_llama

    sets = [{"task": task} for task in ("boolq", "arc_easy", "arc_challenge", "openbookqa")]
    recipe = load(
        "talklora",
        {
            "model.path": str(make_tiny_llama(tmp_path / "tiny")),
            "data.data_dir": str(data_dir),
            "finetune.data.sources": [{**source, "limit": 100} for source in sets],
            "finetune.data.max_length": 1024,
        },
    ).recipe
    finetune = recipe.finetune
    assert (finetune.r, finetune.num_experts, finetune.alpha, finetune.dropout) == (32, 4, 32.0, 0.05)
    assert (finetune.optim.lr, finetune.optim.batch_size, finetune.optim.epochs) == (3e-4, 32, 2.0)
    facts = dry_run(recipe).facts
    d, f, kv, layers = 128, 256, 64, 2
    talk = 5 * (32**2 // 4 + 16 + 4 * 32) + 32 * (3 * d + d + f)  # q, k, v, up read d; down reads f
    assert facts["trainable_parameters"] == layers * talk + 32 * (d + kv + kv + f + d)
    assert facts["steps"] == 2 * 400 // 32
    assert facts["rows_too_long"] == 0


def test_errors_end_with_a_code_and_a_hint(tiny_llama, capsys):
    assert run(["finetune", "talklora-small", "--model", tiny_llama, "--method", "talklorra", "--dry-run", *SMALL]) == 2
    complaint = capsys.readouterr().err
    assert "error: unknown method `talklorra`" in complaint
    assert "hint: did you mean" in complaint
    assert run(["finetune", "talklora-small", "--launch", "ddq"]) == 2
    assert "finetune.launch.kind" in capsys.readouterr().err


def test_workers_are_started_by_accelerate_with_the_run_folder(tmp_path):
    recipe = load(None, {"finetune.launch.kind": "ddp", "finetune.launch.num_processes": 2}).recipe
    made = command(recipe, tmp_path, "abc", tmp_path / "checkpoint-5", gpus=0, port=4242)
    assert made[made.index("--module") + 1 :] == [
        "llmkit.finetune.worker",
        str(tmp_path),
        "abc",
        str(tmp_path / "checkpoint-5"),
    ]
    assert made[made.index("--num_processes") + 1] == "2"
    assert preset("ddp", 4).name == "ddp.yaml"


def test_a_worker_by_hand_is_refused():
    from llmkit.finetune.run import worker

    with pytest.raises(UsageError, match="not by hand"):
        worker([])
