"""baseline.json: a run in a few kB, which pairs with a later run as its folder would."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path

import pytest
from helpers import synthetic, unlabelled
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from llmkit.errors import DataError
from llmkit.measure import metrics, stored
from llmkit.measure.baseline import BaselineFile, read
from llmkit.measure.packed import digests_in, flags_in, pack_digests, pack_flags
from llmkit.measure.schema import schema, text
from llmkit.measure.settings import differences, settings
from llmkit.recipe import digest, load, to_yaml
from llmkit.runs import Run, RunFolder
from llmkit.runs.samples import Sample

PUBLISHED = Path(__file__).parents[2] / "docs" / "baseline.schema.json"
RECIPE = load("demo").recipe
FAST = unlabelled.FAST


def folder(tmp_path, rows, recipe=RECIPE, finished=True, gates=(), **more):
    """A run folder with these lines in its journal, finished unless said otherwise."""
    with RunFolder.open(tmp_path, "run", digest(recipe), recipe=None, resolved=to_yaml(recipe)) as opened:
        for row in rows:
            opened.append(row)
        if finished:
            measured = metrics([Sample.from_row(row) for row in rows], FAST, 7).as_dict()
            opened.write_json("metrics.json", {**measured, "gates": list(gates), **more})
    return Run(opened.path)


def written(tmp_path, run):
    path = tmp_path / "baseline.json"
    path.write_text(stored.of_run(run).as_text(), encoding="utf-8")
    return path


def against(path, recipe=RECIPE, **keys):
    return recipe.model_copy(update={"eval": recipe.eval.model_copy(update={"baseline": str(path), **keys})})


@given(st.lists(st.booleans(), max_size=70))
def test_flags_come_back(flags):
    assert flags_in(pack_flags(flags), len(flags), "flags") == flags


@given(st.lists(st.binary(min_size=3, max_size=3)))
def test_digests_come_back(digests):
    assert digests_in(pack_digests(digests), 3, len(digests), "digests") == digests


@pytest.mark.parametrize("packed", ["", "!", "AAAA", "/w==", "AA=A"])
def test_other_flags_are_refused(packed):
    with pytest.raises(ValueError, match="`right`"):
        flags_in(packed, 3, "`right`")


@pytest.mark.parametrize(
    "shape",
    [
        {"conditions": ["ec", "uic"]},
        {"conditions": ["ec"], "draws": 3, "replicate": 0.1},
        {"conditions": ["ec", "uic"], "search_seeds": 2, "per_template": 5},
        {"conditions": ["ec", "uic"], "holdout": True},
    ],
)
def test_a_file_pairs_as_its_folder_does(tmp_path, shape):
    """The property that all rests on: every change, interval, test and count is the same."""
    old = synthetic.rows(questions=40, arms=["stand", "rop"], **shape)
    new = [Sample.from_row(row) for row in synthetic.rows(questions=40, arms=["stand", "rop"], clean=0.6, **shape)]
    old[3]["error"] = "no answer"
    run = folder(tmp_path, old)
    by_file = stored.answers(against(written(tmp_path, run)), new)
    assert metrics(new, FAST, 7, by_file).baseline == metrics(new, FAST, 7, list(run.samples())).baseline
    assert sum(s.outcome.error is not None for s in by_file) == 1


def test_a_part_of_the_rows_pairs_too(tmp_path):
    old = synthetic.rows(questions=40, arms=["stand"], conditions=["ec"])
    new = [Sample.from_row(row) for row in old if row["question_id"] < "q00010" or row["question_id"] > "q00035"]
    other = [replace(s, question="another question") if s.outcome.question_id == "q00002" else s for s in new]
    changed = metrics(other, FAST, 7, stored.answers(against(written(tmp_path, folder(tmp_path, old))), other)).baseline
    assert (changed.questions, changed.left_out) == (13, 1)
    assert changed.arms["stand"].accuracy_change["clean"].value == 0


def journal(samples):
    """The lines that a journal has of made-up answers to rows without labels."""
    for number, s in enumerate(samples):
        o = s.outcome
        yield {
            "kind": "outcome", "key": f"k{number}", "question_id": o.question_id, "cluster_id": o.cluster_id,
            "condition": o.condition, "arm": o.arm, "draw": o.draw, "parsed": o.parsed, "correct": None, "gold": None,
            "error": o.error, "meta": {}, "question": s.question, "text": s.text, "question_kind": s.kind,
            "options": list(s.options), "said": s.reply, "calls": [],
        }  # fmt: skip


def test_answers_without_labels_pair_by_what_changed(tmp_path):
    then = ["AAAA", "BBCC", "CCCC", "AABA", "BBBB"]
    now = ["AAAA", "BBBB", "CCAA", "AACA", "CCCC"]
    run = folder(tmp_path, list(journal(unlabelled.run(*then))))
    samples = [Sample.from_row(row) for row in journal(unlabelled.run(*now))]
    by_file = stored.answers(against(written(tmp_path, run)), samples)
    changed = metrics(samples, FAST, 7, by_file).baseline
    assert changed == metrics(samples, FAST, 7, list(run.samples())).baseline
    assert changed.arms["stand"].changed_change["typing"].value == 0
    moved = {
        (new.outcome.question_id, new.outcome.condition)
        for new, old in zip(samples, sorted(by_file, key=lambda s: _place(s, samples)), strict=True)
        if stored.said(new) != stored.said(old)
    }
    assert moved == {
        (f"r{i}", condition)
        for i, (a, b) in enumerate(zip(then, now, strict=True))
        for condition, one, other in zip(unlabelled.CONDITIONS, a, b, strict=True)
        if one != other
    }


def _place(sample, samples):
    names = [(s.outcome.question_id, s.outcome.condition) for s in samples]
    return names.index((sample.outcome.question_id, sample.outcome.condition))


def test_three_hundred_rows_take_a_few_kilobytes(tmp_path):
    rows = synthetic.rows(questions=300, arms=["stand", "rop"])
    content = written(tmp_path, folder(tmp_path, rows)).read_text()
    assert len(json.loads(content)["answers"]) == 12
    assert len(content) < 10_000
    assert not any(word in content for word in ("marbles", "q00001", "Tom"))


def test_the_published_schema_is_that_of_the_files(tmp_path):
    assert PUBLISHED.read_text() == text(BaselineFile), "python -m llmkit.measure.schema baseline > docs/..."
    file = json.loads(written(tmp_path, folder(tmp_path, synthetic.rows(questions=5))).read_text())
    Draft202012Validator(schema(BaselineFile)).validate(file)


@pytest.mark.parametrize(
    ("made", "says"),
    [
        ({"finished": False}, "is unfinished"),
        ({"failed": {"answers": 5, "of": 10, "share": 0.5, "said": []}}, "more than eval.max_errors"),
        ({"gates": [{"gate": "stand.accuracy >= 1", "verdict": "fail"}]}, "failed stand.accuracy >= 1"),
    ],
)
def test_no_baseline_is_made_of_a_run_that_did_not_end_well(tmp_path, made, says):
    run = folder(tmp_path, synthetic.rows(questions=5), **made)
    with pytest.raises(DataError, match=says):
        stored.of_run(run)
    if "gates" not in made:
        with pytest.raises(DataError, match=says):
            stored.check(against(run.folder))


def test_an_undecided_gate_is_no_failure(tmp_path):
    run = folder(tmp_path, synthetic.rows(questions=5), gates=[{"gate": "x", "verdict": "undecided"}])
    assert stored.of_run(run).rows == 5


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("seed=9", "seed was 7 and is 9"),
        ("data.task=gsm8k", 'data.task was "arithmetic" and is "gsm8k"'),
        ("perturb.rate=0.4", "perturb.rate was"),
        ("perturb.conditions=[uic]", "perturb.conditions was"),
        ("eval.draws=2", "eval.draws was 1 and is 2"),
    ],
)
def test_the_baseline_of_another_recipe_is_refused_by_name(tmp_path, change, says):
    path = written(tmp_path, folder(tmp_path, synthetic.rows(questions=5)))
    with pytest.raises(DataError, match="is the baseline of another recipe: ") as error:
        stored.check(against(path, load("demo", [change]).recipe))
    assert says in error.value.message


def test_what_a_change_may_change_is_no_other_recipe(tmp_path):
    free = ["model.path=other", "data.limit=3", "rop.temperature=1", "eval.interval.level=0.9", "engine.dtype=float32"]
    other = load("demo", free).recipe
    assert settings(other) == settings(RECIPE)
    assert differences(settings(RECIPE), other) == []


def test_a_file_of_rows_counts_by_its_name(tmp_path):
    one, other = (load(None, {"data.path": path}).recipe for path in ("/home/ann/rows.csv", "rows.csv"))
    assert settings(one) == settings(other)
    assert differences(settings(one), load(None, {"data.path": "other.csv"}).recipe) == [
        'data.path was "rows.csv" and is "other.csv"'
    ]


def hostile():
    """Name to a change of a good file that makes it a bad one, and the words of the refusal."""
    beyond = base64.b64encode(b"\xff" * 1).decode()
    return {
        "nothing": (lambda f: None, "it has no `llmkit_baseline`"),
        "a list": (lambda f: [f], "it has no `llmkit_baseline`"),
        "a later format": (lambda f: f | {"llmkit_baseline": 2}, "format 2, and this llmkit reads 1"),
        "another key": (lambda f: f | {"__reduce__": "os.system"}, "Extra inputs"),
        "settings changed": (lambda f: f | {"settings": {"seed": 8}}, "one of them was changed"),
        "rows as text": (lambda f: f | {"rows": "5"}, "rows"),
        "a million rows": (lambda f: f | {"rows": 1_000_000}, "bytes where 8000000 belong"),
        "endless rows": (lambda f: f | {"rows": 10**12}, "less than or equal"),
        "no base64": (lambda f: f | {"ids": "<script>"}, "ids"),
        "ids twice": (lambda f: f | {"ids": base64.b64encode(b"12345678" * 5).decode()}, "ascending order"),
        "no answers": (lambda f: f | {"answers": []}, "answers"),
        "flags beyond": (lambda f: f | {"answers": [f["answers"][0] | {"right": beyond}]}, "flags beyond row 5"),
        "flags short": (lambda f: f | {"answers": [f["answers"][0] | {"asked": ""}]}, "0 bytes where 1 belong"),
        "both forms": (lambda f: f | {"answers": [f["answers"][0], {"arm": "a", "condition": "b"}]}, "for some"),
    }


@pytest.mark.parametrize("name", hostile())
def test_a_hostile_file_is_refused(tmp_path, name):
    path = written(tmp_path, folder(tmp_path, synthetic.rows(questions=5)))
    change, says = hostile()[name]
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(DataError, match=r"baseline\.json: is ") as error:
        read(path)
    assert says in error.value.message


@pytest.mark.parametrize("content", [b"", b"{", b"\x80\x04\x95.", b"[" * 100_000, b'{"llmkit_baseline": NaN}'])
def test_what_is_no_json_is_refused(tmp_path, content):
    path = tmp_path / "baseline.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"baseline\.json: is "):
        read(path)


def test_a_baseline_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match="no run folder and no file"):
        stored.check(against(tmp_path / "nowhere.json"))


def test_another_version_of_llmkit_is_named(tmp_path):
    rows = synthetic.rows(questions=5)
    path = written(tmp_path, folder(tmp_path, rows))
    samples = [Sample.from_row(row) for row in rows]
    measured = metrics(samples, FAST, 7, stored.answers(against(path), samples))
    assert stored.marked(measured, against(path)).baseline.made_by is None
    path.write_text(json.dumps(json.loads(path.read_text()) | {"llmkit": "0.0.1"}))
    assert stored.marked(measured, against(path)).baseline.made_by == "0.0.1"
