"""Exported runs: complete, readable by others, and judged the same by lm-eval with the same model."""

from __future__ import annotations

import json

import pytest
from helpers import synthetic
from ruamel.yaml import YAML

from llmkit.errors import UsageError
from llmkit.report.export import export
from llmkit.runs import Run

SYSTEM = "Be brief. {{ not a template }} {% raw"


@pytest.fixture
def run(tmp_path):
    rows = synthetic.rows(questions=6, conditions=["ec@0.1", "ec_0p1"], draws=2)
    for row in rows:
        row["calls"][-1]["messages"].insert(0, {"role": "system", "content": SYSTEM})
    folder = synthetic.write_run(tmp_path / "rop-demo-abc", rows)
    (folder / "recipe.resolved.yaml").write_text("rop: {max_tokens: 77}\n")
    return folder


def test_lm_eval_folder_holds_every_condition(run, tmp_path):
    paths = export(run, "lm-eval", tmp_path / "out")
    tasks = {p.stem: _yaml(p) for p in paths if p.suffix == ".yaml"}
    assert set(tasks) == {"clean", "ec_0p1", "ec_0p1_", "all"}
    assert tasks["all"]["task"] == [tasks[name]["task"] for name in ("clean", "ec_0p1", "ec_0p1_")]
    assert tasks["clean"]["generation_kwargs"]["max_gen_toks"] == 77
    docs = [json.loads(line) for line in (tmp_path / "out" / "ec_0p1.jsonl").read_text().splitlines()]
    asked = [s for s in Run(run).samples() if s.outcome.arm == "stand" and s.outcome.condition == "ec@0.1"]
    assert len(docs) == len(asked) == 12
    assert {(d["id"], d["draw"]): d["prompt"] for d in docs} == {
        (s.outcome.question_id, s.outcome.draw): s.calls[-1]["messages"][-1]["content"] for s in asked
    }
    assert all(d["system"] == SYSTEM for d in docs)


def test_a_system_prompt_is_no_template(run, tmp_path):
    from jinja2 import Environment

    export(run, "lm-eval", tmp_path / "out")
    description = _yaml(tmp_path / "out" / "clean.yaml")["description"]
    assert Environment().from_string(description).render() == SYSTEM


def test_exported_code_judges_as_the_run_did(run, tmp_path):
    export(run, "lm-eval", tmp_path / "out")
    scope: dict = {"__file__": str(tmp_path / "out" / "utils.py")}
    exec(compile((tmp_path / "out" / "utils.py").read_text(), "utils.py", "exec"), scope)
    docs = list(scope["dataset"]("clean.jsonl")["test"])
    ours = {s.outcome.question_id: s for s in Run(run).samples() if s.outcome.arm == "stand" and s.text == s.question}
    assert len(docs) == len(ours) == 6
    for doc in docs:
        found = ours[doc["id"]]
        assert scope["generated"](doc, [found.said("answer")]) == {"acc": float(found.outcome.correct)}


def test_inspect_task_compiles_and_names_its_files(run, tmp_path):
    paths = export(run, "inspect", tmp_path / "out", arm="rop")
    assert {p.name for p in paths} == {"clean.jsonl", "ec_0p1.jsonl", "ec_0p1_.jsonl", "conditions.json", "task.py"}
    source = (tmp_path / "out" / "task.py").read_text()
    compile(source, "task.py", "exec")
    assert "MAX_TOKENS = 77" in source
    doc = json.loads((tmp_path / "out" / "clean.jsonl").read_text().splitlines()[0])
    assert [m["role"] for m in doc["messages"]] == ["system", "user"]


def test_the_default_place_is_the_run_folder(run):
    assert all(path.parent == run / "lm-eval" for path in export(run, "lm-eval"))


def test_names_that_do_not_exist(run):
    with pytest.raises(UsageError) as caught:
        export(run, "lmeval")
    assert "lm-eval" in caught.value.hint
    with pytest.raises(UsageError) as caught:
        export(run, "inspect", arm="ropp")
    assert "rop" in caught.value.hint


def test_an_arm_of_several_requests_is_refused(run):
    rows = [json.loads(line) for line in (run / "samples.jsonl").read_text().splitlines()]
    for row in rows:
        row["calls"] = [{**row["calls"][-1], "purpose": "answer"}] * 2
    synthetic.write_run(run, rows)
    with pytest.raises(UsageError, match="several requests"):
        export(run, "lm-eval")


def test_inspect_is_refused_where_options_were_compared_by_likelihood(run, tmp_path):
    rows = [json.loads(line) for line in (run / "samples.jsonl").read_text().splitlines()]
    for row in rows:
        row |= {"gold": "A", "question_kind": "choice", "options": ["x", "y"]}
        row["calls"] = [{**row["calls"][-1], "purpose": "score", "continuation": option} for option in ("x", "y")]
    synthetic.write_run(run, rows)
    with pytest.raises(UsageError, match="likelihood") as caught:
        export(run, "inspect", tmp_path / "out")
    assert "lm-eval" in caught.value.hint
    assert not (tmp_path / "out").exists()
    assert export(run, "lm-eval", tmp_path / "out")


@pytest.mark.tiny
@pytest.mark.xdist_group("engine")
@pytest.mark.parametrize("answer", ["generate", "likelihood"])
def test_lm_eval_gives_the_same_verdicts(tiny_llama, tmp_path, monkeypatch, answer):
    """The same tiny model and prompts, run by lm-eval: the same replies, so the same verdict on every question."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    from llmkit import evaluate, recipe

    monkeypatch.setenv("LLMKIT_CACHE", str(tmp_path / "cache"))
    asked = {
        "model.path": tiny_llama,
        "engine.kind": "transformers",
        "engine.dtype": "float32",
        "data.task": "coin_flip",
        "data.limit": 6,
        "perturb.conditions": ["ec"],
        "eval.answer": answer,
        "eval.interval.draws": 200,
        "rop.max_tokens": 12,
        "output.dir": str(tmp_path / "runs"),
    }
    folder = evaluate.run(recipe.load(None, asked), "eval", quiet=True).folder
    export(folder, "lm-eval", tmp_path / "tasks")
    manager = TaskManager(include_path=str(tmp_path / "tasks"), include_defaults=False)
    found = simple_evaluate(
        model="hf",
        model_args={"pretrained": tiny_llama, "dtype": "float32"},
        tasks=[_yaml(tmp_path / "tasks" / "all.yaml")["group"]],
        task_manager=manager,
        apply_chat_template=True,
        log_samples=True,
        device="cpu",
        bootstrap_iters=0,
    )
    theirs = [s for samples in found["samples"].values() for s in samples]
    ours = {(s.outcome.condition, s.outcome.question_id): s for s in Run(folder).samples()}
    assert len(theirs) == len(ours) == 12
    for sample in theirs:
        mine = ours[sample["doc"]["condition"], sample["doc"]["id"]]
        assert sample["acc"] == float(mine.outcome.correct)
        if answer == "generate":
            # half a character at the cut is shown by one tool and left out by the other
            assert sample["resps"][0][0].rstrip("\ufffd").strip() == mine.said("answer").rstrip("\ufffd").strip()
    if answer == "likelihood":
        assert {s["acc"] for s in theirs} == {0.0, 1.0}


def _yaml(path) -> dict:
    yaml = YAML(typ="safe", pure=True)
    yaml.constructor.add_constructor("!function", lambda _, node: node.value)
    return yaml.load(path.read_text())
