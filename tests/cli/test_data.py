"""`llmkit data` and `llmkit env`."""

from __future__ import annotations

import json
from pathlib import Path

import llmkit as package


def test_ls_knows_the_sets(llmkit):
    code, out, _ = llmkit("data", "ls", "--json")
    rows = {row["task"]: row for row in json.loads(out)}
    assert code == 0
    assert {"gsm8k", "arithmetic"} <= set(rows)
    assert rows["arithmetic"]["from"] == "generated"
    assert "openai/gsm8k" in rows["gsm8k"]["from"]
    assert all(row["about"] for row in rows.values())
    assert "arithmetic" in llmkit("data", "ls")[1]


def test_show_prints_three_and_says_of_how_many(llmkit):
    code, out, err = llmkit("data", "show", "arithmetic", "--set", "data.size=20")
    assert code == 0
    assert out.count("\n  -> ") == 3
    assert err == "3 of 20 questions in the test split\n"


def test_show_takes_the_flags_of_a_recipe(llmkit):
    found = json.loads(
        llmkit("data", "show", "arithmetic", "--limit", "5", "--split", "train", "--seed", "3", "--json")[1]
    )
    assert len(found) == 5
    assert {row["split"] for row in found} == {"train"}
    assert set(found[0]) >= {"id", "text", "gold", "kind", "options"}


def test_show_reads_a_file_of_ones_own(llmkit):
    rows = [{"question": f"What is {i} plus 1?", "answer": i + 1} for i in range(30)]
    Path("mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, out, _ = llmkit("data", "show", "mine.jsonl", "--limit", "2", "--json")
    assert code == 0
    assert llmkit("data", "show", "mine.jsonl")[2] == "3 of 30 questions\n"
    assert all(int(row["gold"]) == int(row["text"].split()[2]) + 1 for row in json.loads(out))


def test_what_is_not_there(llmkit):
    code, _, err = llmkit("data", "show", "arithmetc")
    assert code == 2
    assert "unknown task `arithmetc`" in err
    assert "did you mean `arithmetic`" in err
    code, _, err = llmkit("data", "show", "nowhere.jsonl")
    assert code == 2
    assert "nowhere.jsonl" in err


def test_env_says_what_runs_here(llmkit):
    code, out, _ = llmkit("env", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["llmkit"] == package.__version__
    assert found["hardware"]["cores"] >= 1
    lines = llmkit("env")[1].splitlines()
    assert lines[0].split() == ["llmkit", package.__version__]
