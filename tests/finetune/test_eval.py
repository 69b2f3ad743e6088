"""What was trained is measured: `llmkit finetune`, then `llmkit eval --adapter`."""

from __future__ import annotations

import json

import pytest

from llmkit.cli.app import run
from llmkit.finetune import finetune

pytestmark = [pytest.mark.tiny, pytest.mark.xdist_group("train")]

KEYS = {
    "data.task": "arithmetic",
    "data.levels": "[1]",
    "data.limit": 3,
    "data.size": 40,
    "engine.dtype": "float32",
    "perturb.conditions": "[ec]",
    "perturb.rate": 0.3,
    "rop.max_tokens": 8,
    "eval.interval.draws": 200,
}


def measured(tmp_path, capsys, *more):
    """The journal of an eval run on the transformers engine: (condition, question) -> its line."""
    keys = [arg for key, value in KEYS.items() for arg in ("--set", f"{key}={value}")]
    code = run(["eval", "--engine", "transformers", "--dir", str(tmp_path / "evals"), *keys, *more, "--json"])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    folder = json.loads(captured.out)["run"]
    with open(f"{folder}/samples.jsonl", encoding="utf-8") as file:
        return {(row["condition"], row["question_id"]): row for row in map(json.loads, file) if "condition" in row}


@pytest.mark.parametrize("method", ["talklora", "lora"])
def test_a_trained_adapter_is_measured_clean_and_noisy(make, tiny_llama, tmp_path, capsys, method):
    trained = finetune(make(**{"finetune.method": method, "finetune.optim.lr": 0.05}), quiet=True)
    base = measured(tmp_path, capsys, "--model", tiny_llama)
    adapted = measured(tmp_path, capsys, "--model", tiny_llama, "--adapter", str(trained.adapter))
    assert sorted(condition for condition, _ in adapted) == ["clean"] * 3 + ["ec"] * 3
    assert adapted.keys() == base.keys()
    texts = {key: row["text"] for key, row in adapted.items()}
    assert texts == {key: row["text"] for key, row in base.items()}
    assert all(texts["clean", name] != texts["ec", name] for _, name in adapted)
    replies = [[row["calls"][0]["reply"] for row in rows.values()] for rows in (base, adapted)]
    assert all(one != other for one, other in zip(*replies, strict=True))  # the adapter answers, not its base
