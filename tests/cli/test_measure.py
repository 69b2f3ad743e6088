"""`llmkit rop` and `llmkit eval` on a tiny real model, as a shell sees them."""

from __future__ import annotations

import json

import pytest

from llmkit.cli.app import run

KEYS = {
    "data.task": "arithmetic",
    "data.limit": 3,
    "data.size": 60,
    "engine.kind": "transformers",
    "engine.dtype": "float32",
    "perturb.conditions": "[ec]",
    "perturb.rate": 0.3,
    "rop.max_tokens": 8,
    "rop.correction_max_tokens": 8,
    "rop.search.pool": 4,
    "rop.search.demos": 1,
    "rop.search.completions": 1,
    "rop.search.max_tokens": 8,
    "eval.interval.draws": 200,
}
SMALL = [arg for key, value in KEYS.items() for arg in ("--set", f"{key}={value}")]


@pytest.fixture
def llmkit(tmp_path, monkeypatch, capsys, tiny_llama):
    """llmkit("rop", ...) -> (exit code, stdout, stderr), in an empty folder with a cache of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LLMKIT_CACHE", str(tmp_path / "cache"))

    def go(command, *args):
        code = run([command, "--model", tiny_llama, *SMALL, *args])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return go


@pytest.mark.tiny
def test_rop_ends_with_tables_and_a_second_run_asks_nothing(llmkit, tmp_path):
    code, out, err = llmkit("rop", "--budget", "4")
    assert code == 0, err
    assert "correct_only" in out
    assert "report.html" in out
    code, out, _ = llmkit("rop", "--budget", "4", "--json")
    assert code == 0
    assert json.loads(out)["model_calls"] == 0
    assert len(list((tmp_path / "runs").iterdir())) == 1


@pytest.mark.tiny
def test_gates_decide_the_exit_code_and_leave_a_junit_file(llmkit, tmp_path):
    rows = [{"question": f"What is written on page {i} of the large book?", "answer": "nothing"} for i in range(20)]
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    own = ("--path", "mine.jsonl", "--set", "data.task=", "--set", "data.kind=text")  # any reply can be read as a text
    assert llmkit("eval", *own, "--gate", "stand.accuracy <= 0.99 point")[0] == 0
    code, _, err = llmkit("eval", *own, "--gate", "stand.accuracy >= 0.99 point")
    assert code == 3
    assert "stand.accuracy" in err
    assert llmkit("eval", *own, "--gate", "stand.drop <= 0.5 point")[0] == 5  # never right, so nothing to lose
    assert llmkit("eval", "--gate", "stand.accuracy <= 0.99 point")[0] == 5  # no number in what the model says
    assert next((tmp_path / "runs").glob("*/junit.xml")).read_text().count("<testcase") >= 1


@pytest.mark.tiny
def test_flags_are_recipe_keys(llmkit):
    _, with_flags, _ = llmkit("eval", "--json", "--limit", "2")
    _, with_set, _ = llmkit("eval", "--json", "--set", "data.limit=2")
    assert json.loads(with_flags)["run"] == json.loads(with_set)["run"]


@pytest.mark.tiny
def test_score_and_shards_from_the_command_line(llmkit, capsys, tmp_path, monkeypatch):
    _, out, _ = llmkit("eval", "--json")
    whole = json.loads(out)
    assert run(["eval", "score", whole["run"], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["changed"] == 0
    monkeypatch.setenv("COLUMNS", "40")  # of a terminal; in a pipe nothing is cut to fit
    assert run(["eval", "score", whole["run"]]) == 0
    assert "…" not in capsys.readouterr().out
    # as on two machines: what differs between them changes no answer
    assert llmkit("eval", "--shard", "1/2", "--dir", "here")[0] == 0
    assert llmkit("eval", "--shard", "2/2", "--dir", "there", "--set", "engine.max_num_seqs=3")[0] == 0
    parts = [str(next((tmp_path / folder).iterdir())) for folder in ("here", "there")]
    assert run(["runs", "merge", *parts, "--json"]) == 0
    merged = json.loads(capsys.readouterr().out)
    assert merged["arms"] == whole["arms"]
    assert merged["run"].startswith("here/")

    assert run(["eval", "score", parts[1]]) == 2
    assert "is unfinished" in capsys.readouterr().err
    assert not list((tmp_path / "there").glob("*/metrics.json"))
    assert llmkit("eval", "--shard", "2/2", "--dir", "other", "--seed", "8")[0] == 0
    other = str(next((tmp_path / "other").iterdir()))
    assert run(["runs", "merge", parts[0], other]) == 2
    assert f"{other} is not a shard of the same run as {parts[0]}" in capsys.readouterr().err
    assert run(["runs", "merge", parts[0], "nowhere"]) == 2
    assert "nowhere is not a run folder" in capsys.readouterr().err


def test_several_sets_make_a_run_each_and_a_table(llmkit, capsys):
    sets = ["--set", "data.task=null", "--set", "data.tasks=[coin_flip,arithmetic]"]
    code, out, err = llmkit("eval", *sets)
    assert code == 0, err
    assert "Mean accuracy over 2 sets" in out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--arms", "stnd"], "did you mean `stand`"),
        (["--conditions", "wo"], "woo"),
        (["--gate", "stand.acuracy >= 0.5"], "stand.accuracy"),
        (["--gate", "nonsense"], "nonsense"),
        (["--shard", "3/2"], "3/2"),
        (["--set", "data.limt=3"], "did you mean `limit`"),
        (["--baseline", "nowhere", "--gate", "stand.accuracy_change >= 0 low"], "nowhere"),
    ],
)
def test_what_cannot_be_is_said_before_any_model_is_asked(llmkit, flags, message):
    code, _, err = llmkit("eval", *flags)
    assert code == 2
    assert message in err
    assert "Traceback" not in err


def test_a_profile_is_known_by_name(llmkit):
    assert llmkit("rop", "--profile", "papr")[0] == 2
    code, out, _ = llmkit("rop", "--profile", "paper", "--dry-run", "--json")
    assert code == 0
    assert json.loads(out)["search_calls"] > 1600
