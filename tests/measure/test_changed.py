"""Copies that noise could not change: shown, warned of, refused, and never counted as measured."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace
from xml.etree import ElementTree as xml

import pytest
from helpers import synthetic
from helpers.fakes import FakeEngine
from rich.console import Console

from llmkit import evaluate
from llmkit.errors import DataError, GateUndecided
from llmkit.measure import gates
from llmkit.measure.beside import beside
from llmkit.measure.compare import compare
from llmkit.measure.metrics import metrics
from llmkit.recipe import load
from llmkit.recipe.schema import EvalSection, Gate, IntervalSection
from llmkit.report import comparison, html, junit, summary, tabular, terminal, view
from llmkit.runs.samples import Sample

FAST = EvalSection(interval=IntervalSection(draws=300))


def unchanged(rows, condition, share):
    """The rows, with this share of the questions of one condition asked clean, and answered as the clean ones."""
    clean = {(r["arm"], r["question_id"]): r for r in rows if r["condition"] == "clean"}
    count = len({r["question_id"] for r in rows})
    out = []
    for row in rows:
        if row["condition"] == condition and int(row["question_id"][1:]) < share * count:
            twin = clean[row["arm"], row["question_id"]]
            row = row | {"text": row["question"], "rejected": "hw: no eligible word", "strength": {"words": 0.0}}
            row |= {"correct": twin["correct"], "parsed": twin["parsed"]}
        out.append(row)
    return out


def measured(share, **more):
    rows = synthetic.rows(questions=100, conditions=["ec", "hw"], **more)
    return metrics([Sample.from_row(r) for r in unchanged(rows, "hw", share)], FAST, 7)


def printed(what, width=100):
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(what)
    return console.export_text()


@pytest.mark.parametrize("share", [0.0, 0.03, 0.3, 0.7])
def test_every_table_shows_the_share_and_a_small_one_is_a_warning(share):
    found = measured(share)
    changed = found.noise["hw"].changed
    assert found.noise["hw"].share == pytest.approx(changed / 100)
    assert changed <= 100 - 100 * share
    text = printed(summary(found))
    shown = f"{changed / 100:.3f}"
    table = text[text.index("Accuracy") :].partition("\n\n")[0]
    assert shown in next(line for line in table.splitlines() if line.startswith("questions changed"))
    assert shown in next(line for line in text.partition("Ablation")[2].splitlines() if line.startswith("hw"))
    assert ("warning: hw changed" in text) == (changed < 95)
    assert max(map(len, text.splitlines()[:40])) <= 100


def test_a_condition_of_which_less_than_half_was_changed_is_not_measured():
    found = measured(0.6)
    stand, rop = found.arms["stand"], found.arms["rop"]
    for cell in (stand.drop["hw"], stand.drop["hw"].relative, rop.gain["hw"], rop.recovery["hw"]):
        assert cell.value is None
        assert "changed only" in cell.reason
    assert stand.drop["noisy"].value is None, "an average over what did not happen"
    assert stand.drop["ec"].value > 0
    assert not [row for row in found.holm if row.condition == "hw"]
    for gate in (
        "stand.drop@hw <= 0.9",
        "stand.accuracy@hw >= 0.01",
        "rop.gain@noisy >= -0.9",
        "rop.accuracy@noisy >= 0.01",
    ):
        (verdict,) = gates.evaluate([Gate(**gates.parse(gate))], found)
        assert verdict.verdict == "undecided"
        assert "changed only" in verdict.reason
        with pytest.raises(GateUndecided):
            gates.enforce([verdict])
    assert "it is not measured" in printed(summary(found))


def test_strength_0_and_noise_elsewhere_have_no_share():
    rows = synthetic.rows(questions=20, conditions=["ec"])
    still = [Sample.from_row(r | {"text": r["question"]}) for r in rows]
    found = metrics(still, FAST, 7)
    assert found.noise == {}
    assert found.arms["stand"].drop["ec"].value is not None


def test_junit_and_tables_of_answers_say_what_was_changed():
    found = measured(0.6)
    results = gates.evaluate([Gate(metric="stand.drop", condition="hw", max=0.5)], found)
    judged = found.model_copy(update={"gates": tuple(results)})
    suite = xml.fromstring(junit.document(view.of_run(judged))).find("testsuite")
    shares = {p.get("name"): float(p.get("value")) for p in suite.find("properties")}
    assert shares["questions changed by hw"] == found.noise["hw"].share
    assert "warning: hw changed" in suite.findtext("system-err")
    rows = [Sample.from_row(r) for r in unchanged(synthetic.rows(questions=10, conditions=["hw"]), "hw", 0.5)]
    told = [r["changed"] for r in tabular.Answers(rows) if r["arm"] == "stand"]
    assert told.count(None) == 10
    assert told.count(False) >= 5


def test_runs_beside_each_other_show_the_share(tmp_path):
    rows = synthetic.rows(questions=40, conditions=["hw"])
    folders = [
        synthetic.write_run(tmp_path / name, unchanged(rows, "hw", share)) for name, share in (("a", 0.0), ("b", 0.7))
    ]
    together, paired = beside(folders, FAST.interval), compare(folders, FAST.interval)
    for compared in (together, paired):
        assert compared.json()["noise"]["b"]["hw"]["changed"] <= 12
    shown = comparison.comparison(together, paired)
    text = " ".join(printed(terminal.comparison(shown), 200).split())
    assert "b: share of questions that noise changed: hw 0." in text
    assert "warning: b: hw changed" in text
    assert "warning: b: hw changed" in html.comparison(shown)
    assert not [row for row in paired.rows if row.metric == "drop"]


@pytest.mark.parametrize("target", ["question", "instruction"])
def test_noise_that_changes_nothing_is_refused_before_any_call(tmp_path, opens, target):
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text(json.dumps({"original_question": "Who are you?", "rewritten_question": "Who aer you?"}))
    asked = []
    engine = FakeEngine(lambda request: asked.append(request) or "The answer is 1")
    opens(lambda model, section: engine)
    recipe = {"model.path": "scripted", "engine.kind": "fake", "data.task": "arithmetic", "data.size": 20}
    recipe |= {"data.limit": 4, "output.dir": str(tmp_path / "runs"), "perturb.target": target}
    loaded = load(None, recipe | {"perturb.conditions": [f"file:{pairs}"]})
    if target == "question":
        with pytest.raises(DataError, match=r"pairs\.jsonl` matches none of the 4 questions"):
            evaluate.run(loaded, "eval", quiet=True)
        assert not asked
        with pytest.raises(DataError, match="matches none"):
            evaluate.plan(loaded.recipe, "eval", shard=(1, 2))
    else:
        assert evaluate.run(loaded, "eval", quiet=True).metrics.noise == {}


def test_noise_that_finds_no_word_names_itself_and_the_reason(tmp_path):
    own = tmp_path / "own.jsonl"
    own.write_text("".join(json.dumps({"question": f"{n} + {n} = ?", "answer": 2 * n}) + "\n" for n in range(6)))
    recipe = {"model.path": "m", "data.path": str(own), "data.split": "all", "perturb.conditions": ["hw"]}
    with pytest.raises(DataError, match="`hw` changed none of 6 copies: hw: no "):
        evaluate.plan(load(None, recipe).recipe, "eval")
    # Strength 0 is a point of a curve, not noise that failed.
    evaluate.plan(load(None, recipe | {"perturb.rate": 0.0}).recipe, "eval")


def test_a_run_says_what_it_left_out_and_what_it_computed_in(tmp_path, opens, capsys):
    own = tmp_path / "own.jsonl"
    rows = [{"question": f"What is {i} plus {i}, and why?", "answer": 2 * i} for i in range(30)]
    own.write_text("".join(json.dumps(row) + "\n" for row in rows) + "no row\n")
    engine = FakeEngine(lambda request: "The answer is 4")
    engine.identity = replace(engine.identity, dtype="bfloat16")
    opens(lambda model, section: engine)
    recipe = {"model.path": "m", "data.path": str(own), "data.skip_bad_lines": True, "perturb.conditions": ["ec"]}
    recipe |= {"engine.kind": "fake", "output.dir": str(tmp_path / "runs")}
    loaded = load(None, recipe | {"eval.interval.draws": 100})
    result = evaluate.run(loaded, "eval")
    said = capsys.readouterr().err
    asked = result.metrics.questions
    assert asked < 30
    aside = json.loads((result.folder / "run.json").read_text())["set_aside"]
    assert sum(aside.values()) == 30 - asked
    assert f"set aside are {aside['dev']} in `dev` and {aside['train']} in `train`" in said
    assert "bad rows left out: 1" in said
    assert "in bfloat16." in printed(summary(result.metrics))
    assert f"{result.folder.name}: dtype bfloat16" in beside_itself(result.folder, tmp_path)


def beside_itself(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "again")
    runs = [folder, tmp_path / "again"]
    view = comparison.comparison(beside(runs, FAST.interval), compare(runs, FAST.interval))
    return printed(terminal.comparison(view), 200)


def test_a_shard_without_a_question_that_can_be_changed_still_runs(tmp_path):
    own = tmp_path / "own.jsonl"
    texts = ["What is 1 + 1?", "2 + 2 = ?", "3 + 3 = ?", "4 + 4 = ?"]
    own.write_text("".join(json.dumps({"question": t, "answer": 1}) + "\n" for t in texts))
    recipe = {"model.path": "m", "data.path": str(own), "data.split": "all", "perturb.conditions": ["ec"]}
    recipe = load(None, recipe).recipe
    for part in range(1, 5):
        evaluate.plan(recipe, "eval", shard=(part, 4))
