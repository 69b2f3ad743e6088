"""Run folders of an earlier release: they open, compare, merge, are scored again, and go on without asking twice.

earlier/runs.tar.xz holds five, made by helpers/earlier_runs.py with the code of that release: `whole` (eval, finished),
`search` (rop, finished), the two shards of `part`, and `half`, whose token budget ended it after 13 of 36 answers.
"""

from __future__ import annotations

import json
import tarfile
from collections import Counter
from pathlib import Path

import pytest
from helpers.earlier_runs import RECIPE, model

from llmkit.cli.app import run as shell
from llmkit.evaluate import plan
from llmkit.recipe import load
from llmkit.runs import Run

DIGEST = "77d5a23214bf"
WHOLE, SEARCH, HALF = (Path("runs") / f"{name}-{DIGEST}" for name in ("whole", "search", "half"))
SHARDS = [Path("runs") / f"part-{DIGEST}.{i}of2" for i in (1, 2)]


@pytest.fixture
def llmkit(tmp_path, monkeypatch, capfd):
    """Runs a command beside the unpacked runs; returns exit code, stdout and stderr."""
    with tarfile.open(RECIPE.with_name("runs.tar.xz")) as archive:
        archive.extractall(tmp_path, filter="data")
    (tmp_path / "eval.yaml").write_text(RECIPE.read_text())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LLMKIT_CACHE", str(tmp_path / "cache"))

    def go(*args):
        code = shell([str(arg) for arg in args])
        return code, *capfd.readouterr()

    return go


def untimed(metrics):
    return {name: value for name, value in metrics.items() if name not in ("timing", "run", "changed")}


@pytest.mark.parametrize(
    ("folder", "command", "state", "answers", "entries"),
    [
        (WHOLE, "eval", "finished", 36, {"canary": 1, "outcome": 36}),
        (SEARCH, "rop", "finished", 54, {"canary": 1, "outcome": 54, "search": 38}),
        (HALF, "eval", "unfinished", 13, {"canary": 1, "outcome": 13}),
        (SHARDS[0], "eval", "unfinished", 18, {"canary": 1, "outcome": 18}),
    ],
)
def test_it_opens(llmkit, folder, command, state, answers, entries):
    run = Run(folder)
    assert (run.command, run.state, run.count_answers()) == (command, state, answers)
    assert Counter(row["kind"] for row in run.entries()) == entries
    assert len(list(run.samples())) == answers
    assert (run.model, run.task, run.dtype, run.system_prompt) == ("scripted", "arithmetic", None, None)
    assert run.environment["llmkit"] == "0.1.0"
    assert run.instructions["instructions"]
    assert (run.metrics is None) == (state == "unfinished")


def test_it_is_listed_and_shown(llmkit):
    listed = {row["run"]: row["state"] for row in json.loads(llmkit("runs", "ls", "--json")[1])}
    assert Counter(listed.values()) == {"finished": 2, "unfinished": 3}
    for name in listed:
        code, out, _ = llmkit("runs", "show", Path("runs") / name)
        assert code == 0
        assert ("zero_shot_cot" in out) == (name == WHOLE.name)


def test_it_compares(llmkit):
    code, out, _ = llmkit("runs", "compare", WHOLE, SEARCH, "--json")
    assert code == 0
    rows = {(row["run"], row["arm"]): row["accuracy"]["clean"]["value"] for row in json.loads(out)["beside"]["rows"]}
    assert len(rows) == 5
    assert set(rows.values()) == {1.0}, "the scripted model knows every clean question"


@pytest.mark.parametrize("folder", [WHOLE, SEARCH])
def test_it_is_scored_as_before(llmkit, folder):
    before = Run(folder).metrics
    code, out, _ = llmkit("eval", "score", folder, "--json")
    after = json.loads(out)
    assert code == 3, "of its two gates one fails, as it did"
    assert after["changed"] == 0
    assert untimed(after) == untimed(before)


@pytest.mark.parametrize("record", ["env.json", "instructions.json"])
@pytest.mark.parametrize("content", ["", '{"cut', "[1]"])
def test_it_is_scored_although_a_record_of_it_is_damaged(llmkit, record, content):
    """Half a rewriting would leave a page that disagrees with the metrics."""
    (Path(WHOLE) / record).write_text(content)
    page = Path(WHOLE) / "report.html"
    assert llmkit("eval", "score", WHOLE)[0] == 3
    assert "arithmetic" in page.read_text(encoding="utf-8")


def test_its_shards_merge_into_what_the_whole_run_measured(llmkit):
    code, out, _ = llmkit("runs", "merge", *SHARDS, "--json")
    assert code == 0
    assert json.loads(out)["arms"] == Run(WHOLE).metrics["arms"]
    assert json.loads(out)["run"] == f"runs/part-{DIGEST}"


def test_an_unfinished_one_goes_on_and_asks_nothing_twice(llmkit):
    known = {call["messages"][-1]["content"] for row in Run(HALF).entries("outcome") for call in row["calls"]}
    with model() as server:
        code, _, err = llmkit("eval", "eval.yaml", "--name", "half", "--no-cache")
        assert code == 3, err
        asked = {text for text in server.tries if "Question: " in text}
    assert len(known) == 13
    assert len(asked) == 36 - 13
    assert not asked & known
    assert max(server.answered[text] for text in asked) == 1
    assert len(list(Path("runs").glob("half-*"))) == 1, "it has the name that it had"
    assert Run(HALF).metrics["arms"] == Run(WHOLE).metrics["arms"]


@pytest.mark.parametrize(("folder", "command"), [(WHOLE, "eval"), (SEARCH, "rop")])
def test_a_finished_one_has_nothing_left_to_ask(llmkit, folder, command):
    """Its questions, noise, prompts and names are what this release makes of the same recipe."""
    name = folder.name.partition("-")[0]
    with model() as server:
        code, out, _ = llmkit(command, "eval.yaml", "--name", name, "--no-cache", "--json", "--set", "eval.gates=[]")
        assert code == 0
        assert not [text for text in server.tries if "Question: " in text], "the canary is no question of the run"
    assert json.loads(out)["model_calls"] == 0
    assert json.loads(out)["run"] == str(folder)


def test_every_question_is_still_the_same(llmkit):
    planned = plan(load("eval.yaml").recipe, "eval")
    assert {v.text for v in planned.variants} == {sample.text for sample in Run(WHOLE).samples()}
