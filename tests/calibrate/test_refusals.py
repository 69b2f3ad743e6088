"""What `llmkit calibrate` refuses, and the labels that it takes."""

from __future__ import annotations

import csv
import json

import pytest
from helpers.shop import tickets

from llmkit.runs import names


@pytest.fixture
def refused(llmkit, write):
    """refused(*flags, source=..., texts=...): exit code and stderr of a calibration that asks nobody."""

    def go(*more, source="shop.yaml", texts=None):
        path = write("rows.csv", tickets(300) if texts is None else texts)
        code, out, err, engine = llmkit("calibrate", source, "--rows", path, "--harm", "0.05", *more)
        assert (out, engine.asked) == ("", [])
        return code, err

    return go


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--harm", "0"], "--harm 0 is no share between 0 and 1"),
        (["--confidence", "1"], "--confidence 1 is no share"),
        (["--field", "bdy"], "no field `bdy`"),
        (["--chains", "fold+spel"], "unknown corrector `spel`"),
        (["--chains", "spell+spell"], "names a corrector twice"),
        (["--detectors", "unknown"], "unknown detector `unknown`"),
        (["--conditions", "llm:ec"], "`llm:ec` asks a model for noise"),
        (["--set", "output.texts=hash"], "keeps no text"),
        (["--set", "perturb.fields=[body, body2]"], "no field `body2`"),
        (["--set", "perturb.target=fewshot"], "perturb.target: fewshot"),
        (["--chains", "model", "--set", "engine.kind=http", "--set", "engine.url=http://127.0.0.1:9/"], "application"),
        (["--labels", "nowhere.jsonl"], "there is no file nowhere.jsonl"),
        (["--clean", "nowhere.csv"], "there is no file nowhere.csv"),
        (["-o", "nowhere/repair.json"], "there is no folder nowhere"),
        (["-o", "."], "is a folder"),
        (["--limit", "90"], "too few to show a harm below 0.05 at 95%, which takes 59"),
    ],
)
def test_bad_input_is_refused_before_a_model_is_asked(refused, flags, message):
    code, err = refused(*flags)
    assert code == 2, err
    assert message in err
    assert "hint:" in err or "--harm" in err or "target" in err


def test_too_few_rows_say_how_many_it_takes_and_what_they_can_show(refused):
    code, err = refused(texts=tickets(40))
    assert code == 2
    assert "give about 98 rows or more; these can show a harm of 0." in err


def test_rows_of_few_users_are_few(refused, write):
    path = write("users.csv", tickets(300), user=[str(n % 30) for n in range(300)])
    code, err = refused("--rows", path, "--set", "data.cluster=user")
    assert code == 2
    assert "30 rows, one of each cluster" in err


def test_no_rows(refused, llmkit):
    code, err = refused(texts=[])
    assert code == 2
    assert "holds no questions" in err
    code, _, err, _ = llmkit("calibrate", "shop.yaml")
    assert code == 2
    assert "--rows FILE, --clean FILE, or both" in err


def test_a_run_that_cannot_be_calibrated(refused, tmp_path, llmkit):
    code, err = refused(source="nosuch")
    assert code == 2
    assert "nosuch is neither a run nor a recipe" in err
    folder = tmp_path / "runs" / "eval-old-1"
    folder.mkdir(parents=True)
    (folder / names.RESOLVED_RECIPE).write_text((tmp_path / "shop.yaml").read_text())
    code, err = refused(source="eval-old-1")
    assert code == 2
    assert "is unfinished" in err
    (folder / names.METRICS).write_text("{}")
    code, err = refused(source="eval-old-1")
    assert code == 2
    assert "is not a run of `rop` or `eval`" in err
    (folder / names.FACTS).write_text('{"command": "eval"}')
    (folder / names.RESOLVED_RECIPE).write_text("version: 1\nmodel: {path: shop}\nrop: {a_key_of_later: 3}\n")
    code, err = refused(source="eval-old-1")
    assert code == 2
    assert "a_key_of_later" in err


def test_a_search_that_found_no_correction_best_leaves_no_model_to_ask(refused, tmp_path):
    from llmkit.rop import default_instructions, to_json
    from llmkit.rop.instructions import NO_CORRECTION

    content = to_json([default_instructions()], {})
    content["instructions"][0]["correction"] |= {"best": NO_CORRECTION, "verdict": {"score": -0.1}}
    (tmp_path / "none.json").write_text(json.dumps(content))
    code, err = refused("--instructions", "none.json", "--chains", "fold+model")
    assert code == 2
    assert "the search found that no correction is best" in err


def test_answers_that_cannot_be_read_measure_nothing(llmkit, write):
    path = write("rows.csv", tickets(300))
    code, _, err, _ = llmkit("calibrate", "shop.yaml", "--rows", path, "--harm", "0.05", "--kind", "numeric")
    assert code == 5
    assert "no answer could be read from" in err


def test_labels_turn_changed_answers_into_those_that_got_worse(llmkit, write, tmp_path):
    """A person finds the repaired answer right for half of the rows."""
    path = write("rows.csv", tickets(400, slips=0.1, fragile=1.0))
    flags = ("calibrate", "shop.yaml", "--rows", path, "--harm", "0.2", "--json")
    code, out, err, _ = llmkit(*flags)
    assert code == 0, err
    first = json.loads(out)
    assert first["guarantee"]["definition"] == "changed_of_all"
    changed = first["guarantee"]["harmed"] + first["guarantee"]["reported_harmed"]
    assert changed > 10
    file = tmp_path / "pairs.csv"
    code, _, err, _ = llmkit("label", first["run"], "--csv", file)
    assert code == 0, err
    with file.open(encoding="utf-8-sig", newline="") as source:
        pairs = list(csv.DictReader(source))
    assert len(pairs) == changed
    right = {pair["pair"]: "both" if n % 2 else _first_is_the_day(pair) for n, pair in enumerate(pairs)}
    with file.open("w", encoding="utf-8", newline="") as target:
        writer = csv.DictWriter(target, list(pairs[0]), delimiter=",")
        writer.writeheader()
        writer.writerows({**pair, "verdict": right[pair["pair"]]} for pair in pairs)
    code, _, err, _ = llmkit("label", first["run"], "--import", file)
    assert code == 0, err
    code, out, err, engine = llmkit(*flags)
    assert (code, engine.asked) == (0, []), err
    second = json.loads(out)
    assert second["guarantee"]["definition"] == "worse"
    assert second["unjudged"] == 0
    worse = second["guarantee"]["harmed"] + second["guarantee"]["reported_harmed"]
    assert worse == sum(verdict != "both" for verdict in right.values())
    other = llmkit(*flags, "--name", "other", "--labels", f"{first['run']}/labels.jsonl")
    assert json.loads(other[1])["guarantee"] == second["guarantee"]


def _first_is_the_day(pair):
    return "second" if "never" in pair["first"] else "first"


def test_copies_of_rows_are_no_evidence(refused, llmkit, write):
    """Of 100 texts 60 calibrate: enough for .05, and not for .02 however often the file has them."""
    code, err = refused("--harm", "0.02", texts=tickets(100) * 4)
    assert code == 2
    assert "one of each cluster and text, leave" in err
    assert "too few to show a harm below 0.02" in err


def test_both_rows_and_distinct_texts_have_to_pass(llmkit, write):
    often = [*tickets(300), *tickets(60) * 5]  # some users send the same
    path = write("rows.csv", often)
    code, out, err, _ = llmkit("calibrate", "shop.yaml", "--rows", path, "--harm", "0.05", "--json")
    assert code == 0, err
    assert "300 rows have the text of another" in err
    found = json.loads(out)["guarantee"]
    assert found["rows"] < 250  # distinct ones that tuning did not see
