"""The command as a user meets it."""

from __future__ import annotations

import json
import re

import pytest

from llmkit.cli.app import run
from llmkit.errors import UsageError
from llmkit.finetune.dry_run import dry_run
from llmkit.finetune.launch import command, preset
from llmkit.finetune.rows import load_rows
from llmkit.recipe import load

SMALL = ["--set", "data.size=40", "--set", "finetune.data.max_length=600", "--set", "finetune.optim.batch_size=4"]


def test_a_dry_run_shows_what_would_happen_and_trains_nothing(tiny_llama, tmp_path, capsys):
    code = run(["finetune", "talklora-small", "--model", tiny_llama, "--dry-run", "--dir", str(tmp_path), *SMALL])
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


def test_masked_tokens_are_dim_and_learnt_ones_green(tiny_llama, capsys, monkeypatch):
    from rich.text import Text

    for name, value in {"FORCE_COLOR": "1", "TERM": "xterm-256color", "COLUMNS": "300"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert run(["finetune", "talklora-small", "--model", tiny_llama, "--dry-run", *SMALL]) == 0
    shown = Text.from_ansi(capsys.readouterr().out)
    green, dim = (
        "".join(shown.plain[span.start : span.end] for span in shown.spans if wanted(span.style))
        for wanted in (lambda style: style.color and style.color.number == 2, lambda style: style.dim)
    )
    rows = green.split("<|im_end|>")[:-1]
    assert len(rows) == 2 * 3  # two batches, three rows of each
    assert all("The answer is" in row for row in rows)
    assert "Question:" not in green
    assert dim.count("Question:") == len(rows)
    assert dim.count("<|im_start|>assistant") == len(rows)


def test_the_papers_recipe_is_whole_and_counts_its_parameters(tmp_path):
    """Table 6, over a model of LLaMA-3's architecture with few layers, and eight sets of the published form."""
    from helpers.commonsense import EIGHT, write_set
    from helpers.fakes import make_tiny_llama

    for task in EIGHT:
        write_set(tmp_path, task, 40)
    recipe = load(
        "talklora",
        {"model.path": str(make_tiny_llama(tmp_path / "tiny")), "data.data_dir": str(tmp_path)},
    ).recipe
    finetune = recipe.finetune
    assert (finetune.r, finetune.num_experts, finetune.alpha, finetune.dropout) == (32, 4, 32.0, 0.05)
    assert (finetune.optim.lr, finetune.optim.batch_size, finetune.optim.epochs) == (3e-4, 32, 2.0)
    assert (finetune.optim.warmup, finetune.optim.schedule, finetune.train.eval_every) == (100, "linear", 80)
    assert finetune.target_modules == ("q_proj", "k_proj", "v_proj", "up_proj", "down_proj")
    assert finetune.data.max_length == 512
    assert [source.task for source in finetune.data.sources] == list(EIGHT)
    report = dry_run(recipe)
    facts = report.facts
    d, f, kv, layers = 128, 256, 64, 2
    talk = 5 * (32**2 // 4 + 16 + 4 * 32) + 32 * (3 * d + d + f)  # q, k, v, up read d; down reads f
    assert facts["trainable_parameters"] == layers * talk + 32 * (d + kv + kv + f + d)
    rows = sum(len(load_rows(recipe, source, "train")) for source in finetune.data.sources)
    assert 8 * 40 * 0.8 < rows < 8 * 40
    assert facts["steps"] == 2 * rows // 32
    assert facts["rows_too_long"] == 0
    learnt = ["".join(token for token, learns in row if learns) for row in report.batches[0]]
    assert len(learnt) == 32
    named = r"\s*the correct answer is (true|false|(answer|solution|ending|option)[12])<\|im_end\|>"
    assert all(re.fullmatch(named, answer) for answer in learnt)
    masked = "".join(token for token, learns in report.batches[0][0] if not learns)
    assert "### Instruction:\nPlease " in masked
    assert "### Response:" in masked


@pytest.mark.parametrize(
    ("gpus", "kind", "processes", "message"),
    [
        (0, "ddp", 3, "does not divide into 3 processes"),
        (0, "zero2", 2, "needs GPUs"),
        (1, "ddp", 2, "2 processes on 1 GPUs"),
        (2, "zero2", 2, "needs DeepSpeed"),
    ],
)
def test_a_launch_that_cannot_start_fails_in_the_dry_run_and_before_the_workers(
    make, monkeypatch, gpus, kind, processes, message
):
    import importlib.util

    from llmkit.finetune import finetune, launch

    found = importlib.util.find_spec
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "deepspeed" else found(name, *a))
    monkeypatch.setattr(launch, "subprocess", None)  # no worker can be started
    recipe = make(**{"finetune.launch.kind": kind, "finetune.launch.num_processes": processes})
    for start in (lambda: dry_run(recipe.recipe), lambda: finetune(recipe, quiet=True)):
        with pytest.raises(UsageError, match=message):
            start()


def test_a_dry_run_shares_the_batch_among_the_processes(make):
    recipe = make(**{"finetune.launch.kind": "ddp", "finetune.launch.num_processes": 2}).recipe
    assert dry_run(recipe).facts["batch"] == "4 rows = 2 x 1 accumulated x 2 processes"


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
