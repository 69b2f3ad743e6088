"""A run is answered by one model, or says that it was not."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from helpers.fault_server import FaultServer

from llmkit import evaluate
from llmkit.cli.app import run as shell
from llmkit.errors import DataError, EngineError, Incomplete
from llmkit.evaluate.rescore import rescore
from llmkit.recipe import load
from llmkit.runs import Run

QUESTIONS = 6
GATE = {"metric": "stand.accuracy", "max": 0.9, "bound": "point"}  # the server says words backwards
CANARY = 5


@pytest.fixture
def start(tmp_path, monkeypatch):
    """start(server, **overrides) -> Result of a run over 6 clean questions, asked one after the other."""
    monkeypatch.setenv("LLMKIT_CACHE", str(tmp_path / "cache"))

    def go(server, if_changed="stop", shard=None, **more):
        keys = {
            "model.path": "tiny",
            "engine.base_url": [server.url],
            "engine.retries": 0,
            "engine.max_num_seqs": 1,
            "data.task": "arithmetic",
            "data.limit": QUESTIONS,
            "data.size": 60,
            "perturb.conditions": [],
            "eval.interval.draws": 100,
            "output.dir": str(tmp_path / "runs"),
        }
        loaded = load(None, keys | {k.replace("__", "."): v for k, v in more.items()})
        return evaluate.run(loaded, "eval", quiet=True, if_changed=if_changed, shard=shard)

    return go


def rows_of(tmp_path, kind="outcome"):
    text = next((tmp_path / "runs").glob("*/samples.jsonl")).read_text()
    return [row for row in map(json.loads, text.splitlines()) if row["kind"] == kind]


def voices(samples):
    """Returns which models said it: the second one shouts."""
    return {"b" if s.said("answer").endswith("!") else "a" for s in samples}


def half(start, server):
    with pytest.raises(Incomplete, match="budget"):
        start(server, eval__max_tokens_total=150)


@pytest.mark.parametrize("logprobs", [True, False])
def test_a_run_that_is_half_done_does_not_go_on_with_another_model(start, tmp_path, logprobs):
    with FaultServer(logprobs=logprobs) as server:
        half(start, server)
        before = rows_of(tmp_path)
        assert 0 < len(before) < QUESTIONS
        questions = [text for text in server.tries if "Question" in text]
        server.bias = 1.0
        with pytest.raises(EngineError, match="another model answers as `tiny`") as stop:
            start(server)
        assert "--anew" in stop.value.hint
        assert "--keep" in stop.value.hint
        assert [text for text in server.tries if "Question" in text] == questions
        assert rows_of(tmp_path) == before
        server.bias = 0.01  # rounding is no change
        assert voices(start(server).samples) == {"a"}


def test_a_new_generation_asks_everything_again_and_keeps_the_old_rows_marked(start, tmp_path):
    with FaultServer() as server:
        half(start, server)
        old = rows_of(tmp_path)
        server.bias = 1.0
        result = start(server, "anew")
        assert voices(result.samples) == {"b"}
        assert len(result.samples) == QUESTIONS
        rows = rows_of(tmp_path)
        assert rows[: len(old)] == old
        assert {row.get("generation") for row in rows[len(old) :]} == {2}
        assert voices(Run(result.folder).samples()) == {"b"}
        asked = sum(server.answered.values())
        start(server)
        assert sum(server.answered.values()) == asked, "a finished generation asks nothing"
        start(server, "anew")
        assert sum(server.answered.values()) >= asked + QUESTIONS, "also where the cache could answer"


def test_a_new_generation_that_is_stopped_goes_on(start, tmp_path):
    with FaultServer() as server:
        half(start, server)
        server.bias = 1.0
        with pytest.raises(Incomplete, match="budget"):
            start(server, "anew", eval__max_tokens_total=300)
        assert 0 < len([row for row in rows_of(tmp_path) if row.get("generation") == 2]) < QUESTIONS
        assert voices(start(server).samples) == {"b"}
        keys = [row["key"] for row in rows_of(tmp_path) if row.get("generation") == 2]
        assert len(keys) == len(set(keys)) == QUESTIONS


def test_going_on_with_both_models_leaves_every_gate_undecided(start):
    with FaultServer() as server:
        half(start, server)
        server.bias = 1.0
        for if_changed in ("keep", "stop"):  # the next start need not be told again
            result = start(server, if_changed, eval__gates=[GATE])
            assert voices(result.samples) == {"a", "b"}
            assert [(g.verdict, "two models" in g.reason) for g in result.gates] == [("undecided", True)]
        loaded = load(result.folder / "recipe.resolved.yaml", {"eval.gates": [GATE]})
        assert [g.verdict for g in rescore(result.folder, loaded).gates] == ["undecided"]


def test_where_nothing_was_answered_yet_any_model_may_begin(start):
    with FaultServer(lambda text, attempt: "500" if "Question" in text and not server.bias else None) as server:
        with pytest.raises(EngineError, match=f"all {QUESTIONS} answers failed"):
            start(server)
        server.bias = 1.0
        result = start(server)
        assert voices(result.samples) == {"b"}
        assert {s.outcome.error for s in result.samples} == {None}


def test_a_finished_run_with_gates_asks_who_answers_now(start, tmp_path):
    with FaultServer() as server:
        first = start(server, eval__gates=[GATE])
        assert [g.verdict for g in first.gates] == ["pass"]
        asked = sum(server.answered.values())
        start(server, eval__gates=[GATE])
        assert sum(server.answered.values()) == asked + CANARY
        server.bias = 1.0
        assert voices(start(server).samples) == {"a"}, "without gates a finished run asks nobody"
        again = start(server, eval__gates=[GATE])
        assert voices(again.samples) == {"b"}
        assert len(rows_of(tmp_path)) == 2 * QUESTIONS
        server.bias = 0.0
        kept = start(server, "keep", eval__gates=[GATE])
        assert voices(kept.samples) == {"b"}
        assert [g.verdict for g in kept.gates] == ["undecided"]


def test_a_run_in_which_calls_failed_is_not_finished(start, tmp_path):
    """Its gates may not silently be judged for another model either: the user says what is to happen."""
    bad = []
    with FaultServer(lambda text, attempt: "500" if text in bad else None) as server:
        questions = [s.text for s in start(server).samples]
        bad += [text for text in server.tries if questions[0] in text]
        result = start(server, "anew", eval__gates=[GATE])
        assert sum(s.outcome.error is not None for s in result.samples) == 1
        bad.clear()
        server.bias = 1.0
        with pytest.raises(EngineError, match="another model answers"):
            start(server, eval__gates=[GATE])
        assert {g.verdict for g in start(server, "keep", eval__gates=[GATE]).gates} == {"undecided"}


def test_the_gates_of_a_finished_run_are_not_judged_for_a_server_that_is_gone(start):
    with FaultServer() as server:
        folder = start(server, eval__gates=[GATE]).folder
    with pytest.raises(EngineError, match="no server answers") as gone:
        start(server, eval__gates=[GATE])
    assert f"`llmkit eval score {folder}`" in gone.value.hint
    assert gone.value.exit_code == 1
    assert start(server).metrics.questions == QUESTIONS
    assert shell(["eval", "score", str(folder), "--gate", "stand.accuracy <= 0.9 point"]) == 0


def test_of_a_model_that_answers_differently_each_time_only_its_name_is_compared(start, tmp_path, caplog):
    noise = random.Random(1)

    def change(answer):
        answer["choices"][0]["message"]["content"] += f" {noise.random()}"
        return answer | {"model": name}

    name = "tiny"
    with FaultServer(logprobs=False, change=change) as server:
        half(start, server)
        assert "state which one it is with --revision" in caplog.text
        assert rows_of(tmp_path, "canary")[0]["seen"] == [None] * CANARY
        name = "tiny-of-today"
        with pytest.raises(EngineError, match="another model"):
            start(server)
        name = "tiny"
        assert len(start(server).samples) == QUESTIONS


def test_only_prompts_that_are_answered_consistently_count(start, tmp_path, caplog):
    noise = random.Random(1)

    def change(answer):
        if "colour." in answer["choices"][0]["message"]["content"]:
            answer["choices"][0]["message"]["content"] += f" {noise.random()}"
        return answer

    with FaultServer(logprobs=False, change=change) as server:
        half(start, server)
        assert caplog.text == ""
        assert server.tries["Is a whale a fish? Answer in one word."] == 3
        assert [sight is None for sight in rows_of(tmp_path, "canary")[0]["seen"]] == [True] + [False] * 4
        assert len(start(server).samples) == QUESTIONS
        assert server.tries["Is a whale a fish? Answer in one word."] == 4, "a known model is asked once"


def test_shards_of_two_models_are_not_merged(start, tmp_path):
    with FaultServer() as server:
        one = start(server, shard=(1, 2)).folder
        server.bias = 1.0
        other = start(server, shard=(2, 2)).folder
        loaded = load(one / "recipe.resolved.yaml", {"output.dir": str(tmp_path / "joined")})
        with pytest.raises(DataError, match="another model answered"):
            evaluate.merge(loaded, "eval", [one, other])
        one = start(server, "anew", shard=(1, 2)).folder
        loaded = load(one / "recipe.resolved.yaml", {"output.dir": str(tmp_path / "again")})
        assert voices(evaluate.merge(loaded, "eval", [one, other]).samples) == {"b"}


def test_a_run_of_an_older_llmkit_goes_on(start, tmp_path, caplog):
    with FaultServer() as server:
        half(start, server)
        journal = next((tmp_path / "runs").glob("*/samples.jsonl"))
        lines = [line for line in journal.read_text().splitlines(keepends=True) if '"kind":"outcome"' in line]
        journal.write_text("".join(lines))
        store = next((tmp_path / "cache" / "canaries").glob("*.json"))
        canary = json.loads(store.read_text())["canaries"][0]
        store.write_text(json.dumps({"server": {}, "seen": [canary["seen"]]}))  # as it was written before
        asked = sum(server.tries.values())
        assert len(start(server).samples) == QUESTIONS
        assert "does not know yet by what to recognise its model" in caplog.text
        asked = sum(server.tries.values()) - asked
        assert asked <= QUESTIONS - len(lines) + CANARY + 1, "the old canary is known again; one was in flight"


@pytest.mark.parametrize("command", ["eval", "rop"])
def test_anew_and_keep_exclude_each_other(command, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert shell([command, "demo", "--anew", "--keep"]) == 2
    assert "exclude each other" in capsys.readouterr().err
    assert not Path("runs").exists()
