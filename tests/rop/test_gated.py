"""The arm `repair`: a repair.json measured like every arm, and named with what is guaranteed of it."""

from __future__ import annotations

import json

import pytest
from helpers.scripted import OVERRIDES, scholar

from llmkit.errors import DataError, UsageError
from llmkit.evaluate.estimate import estimate
from llmkit.evaluate.plan import plan
from llmkit.recipe import digest, load
from llmkit.repair import document
from llmkit.repair.document import AskedModel, GateFile, Guarantee, Knots, RepairFile
from llmkit.report import facts
from llmkit.rop.gated import how_asked
from llmkit.rop.instructions import hand_written

SCALE = Knots(detector="unknown_words", knots=((0.0, 0.0), (0.05, 2.0), (0.5, 3.0)))
GATE = GateFile(scales=(SCALE,), threshold=1.5)
GUARANTEE = Guarantee(
    harm=0.01, confidence=0.95, definition="changed", rows=900, fired=9, harmed=1, upper=0.006, date="2026-11-30"
)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "repair.json"
    document.write(RepairFile(chain="model", instruction="Correct the text.", gate=GATE), path)
    return path


def accuracy(result, arm, condition):
    return result.metrics.arms[arm].conditions[condition].accuracy.value


def test_the_gated_repair_restores_and_leaves_clean_questions_alone(run, path):
    result, engine = run(scholar, "eval", rop__repair=str(path), perturb__conditions=["ec"], eval__arms=["stand"])
    assert accuracy(result, "stand", "ec") < accuracy(result, "repair", "ec") == 1.0
    assert accuracy(result, "repair", "clean") == 1.0
    asked = {sample.outcome.question_id for sample in result.samples}
    corrections = [request for request in engine.asked if request.purpose == "correct"]
    assert 0 < len(corrections) <= len(asked)  # of the noisy questions alone
    clean = [s for s in result.samples if (s.outcome.arm, s.outcome.condition) == ("repair", "clean")]
    assert all(sample.outcome.corrected_text == sample.text and sample.outcome.calls == 1 for sample in clean)


def test_the_content_of_the_file_is_part_of_the_runs_name(run, path):
    options = {"rop__repair": str(path), "perturb__conditions": ["ec"]}
    first, _ = run(scholar, "eval", **options)
    again, engine = run(scholar, "eval", **options)
    assert again.folder == first.folder
    assert engine.asked == []
    document.write(RepairFile(chain="fold"), path)
    other, _ = run(scholar, "eval", **options)
    assert other.folder != first.folder
    assert run(scholar, "eval", perturb__conditions=["ec"])[0].folder not in (first.folder, other.folder)


def test_a_recipe_without_a_repair_keeps_its_digest_and_a_missing_file_has_one(tmp_path):
    assert digest(load().recipe) == digest(load(None, {"rop.repair": None}).recipe)
    missing = load(None, {"rop.repair": str(tmp_path / "none.json")}).recipe
    assert digest(missing) != digest(load().recipe)


def test_the_report_says_what_is_guaranteed(run, path, capsys):
    result, _ = run(scholar, "eval", rop__repair=str(path), perturb__conditions=["ec"])
    assert dict(facts.facts(result.folder).rows)["Repair"] == "model: no guarantee: the gate was not calibrated"


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (AskedModel(model="fake", revision="0"), "model: at most 1 % of clean texts get another answer"),
        (AskedModel(model="fake"), "model: at most 1 % of clean texts get another answer"),
        (
            AskedModel(model="other"),
            "model: guarantee void: it was calibrated for another model (model fake, not oth",
        ),
        (AskedModel(model="fake", revision="1"), "(revision 0, not 1)"),
        (AskedModel(model="fake", adapter="d1"), "(adapter none, not d1)"),
    ],
)
def test_a_guarantee_for_another_model_is_void(run, path, model, said):
    repair = RepairFile(
        chain="model", instruction="Correct the text.", gate=GATE, guarantee=GUARANTEE, model=model
    )  # fmt: skip
    document.write(repair, path)
    result, _ = run(scholar, "eval", rop__repair=str(path), perturb__conditions=["ec"])
    assert said in json.loads((result.folder / "run.json").read_text())["repair"]


def test_a_guarantee_for_another_prompt_or_sampling_is_void(run, path):
    recipe = load(None, OVERRIDES).recipe
    model = AskedModel(model="fake", **how_asked(recipe, "model", "fake"))
    written = RepairFile(chain="model", instruction="Correct the text.", gate=GATE, guarantee=GUARANTEE, model=model)
    document.write(written, path)
    same = {"rop__repair": str(path), "perturb__conditions": ["ec"]}
    said = []
    for way in ({}, {"rop__max_tokens": 8}, {"rop__temperature": 0.7}, {"rop__corrector": "other"}):
        result, _ = run(scholar, "eval", **same | way)
        said.append(json.loads((result.folder / "run.json").read_text())["repair"])
    assert ["void" in one for one in said] == [False, True, True, True]
    assert all("prompt, answers or sampling" in one for one in said[1:3])
    assert "(corrector other, not fake)" in said[3]


def test_a_run_without_its_file_or_with_another_file_is_refused(tmp_path):
    recipe = {"model.path": "fake", "data.task": "arithmetic"}
    with pytest.raises(UsageError, match=r"needs a repair\.json"):
        plan(load(None, recipe | {"eval.arms": ["repair"]}).recipe, "eval")
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(DataError, match=r"other\.json: is no repair"):
        plan(load(None, recipe | {"rop.repair": str(tmp_path / "other.json")}).recipe, "eval")


def test_an_estimate_counts_what_the_gate_lets_through(path):
    recipe = {
        "model.path": "fake",
        "data.task": "arithmetic",
        "data.size": 60,
        "data.limit": 6,
        "perturb.conditions": ["ec"],
        "perturb.rate": 0.3,
        "rop.repair": str(path),
    }
    arms = {arm.arm: arm for arm in estimate(plan(load(None, recipe).recipe, "eval")).arms}
    assert arms["stand"].calls == 12
    assert 12 < arms["repair"].calls <= 18


def test_rop_writes_the_correction_that_it_found_as_a_repair_without_a_guarantee(run):
    result, _ = run(rop__correction_shots=2)
    repair = document.read(result.folder / "repair.json")
    assert (repair.chain, repair.gate, repair.guarantee) == ("model", None, None)
    assert repair.instruction == result.instructions[0].correction.best
    assert repair.provenance["run"] == result.folder.name
    assert len(repair.shots) == 2
    assert repair.model == AskedModel(model="scripted", corrector="scripted")


def test_rop_names_the_model_that_corrects_beside_the_one_that_answers(run):
    result, _ = run(rop__corrector="another")
    assert document.read(result.folder / "repair.json").model == AskedModel(model="scripted", corrector="another")


def test_rop_writes_no_repair_where_it_searched_none(run, tmp_path):
    given = {"correction": hand_written("correction")[0], "guidance": "Think."}
    (tmp_path / "given.json").write_text(json.dumps(given))
    for options in ({"rop__search__budget": 0}, {"rop__instructions": str(tmp_path / "given.json")}):
        result, _ = run(**options)
        assert not (result.folder / "repair.json").exists()
