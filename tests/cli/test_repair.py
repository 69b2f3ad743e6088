"""`llmkit repair` as a user runs it: from tables and pipes, with a model, into `head`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from helpers.fault_server import FaultServer
from helpers.processes import run

from llmkit.perturb import undo
from llmkit.repair import document
from llmkit.repair.document import AskedModel, GateFile, Guarantee, Knots, RepairFile
from llmkit.types import Edit

NOISY, CLEAN = "How mnay alppes does Tom hvae?", "How many apples does Tom have?"
SCALES = (
    Knots(detector="lookalikes", knots=((0.0, 0.0), (0.01, 3.0))),
    Knots(detector="unknown_words", knots=((0.0, 0.0), (0.1, 2.0), (0.5, 2.5))),
)
GATED = RepairFile(chain="fold+spell", gate=GateFile(scales=SCALES, threshold=1.5))


@pytest.fixture
def rows(llmkit):
    """Rows as CSV and JSON lines, and a repair, in the folder of the test."""
    bodies = [NOISY, CLEAN, "Each of the w\u043erds, how many?", ""]
    Path("rows.jsonl").write_text("".join(json.dumps({"id": i, "body": body}) + "\n" for i, body in enumerate(bodies)))
    Path("rows.csv").write_text("id,body\n" + "".join(f'{i},"{body}"\n' for i, body in enumerate(bodies)))
    document.write(GATED, "repair.json")
    return llmkit


def lines(out):
    return [json.loads(line) for line in out.splitlines()]


@pytest.mark.parametrize("file", ["rows.csv", "rows.jsonl"])
def test_rows_are_repaired_in_order_and_say_what_was_done(rows, file):
    code, out, err = rows("repair", file, "--field", "body", "--with", "repair.json")
    repaired_rows = lines(out)
    assert code == 0
    assert [row["repair"]["action"] for row in repaired_rows] == ["repaired", "passed", "repaired", "passed"]
    assert [row["body"] for row in repaired_rows] == [CLEAN, CLEAN, "Each of the words, how many?", ""]
    assert [str(row["id"]) for row in repaired_rows] == ["0", "1", "2", "3"]
    assert undo(repaired_rows[0]["body"], [Edit(**edit) for edit in repaired_rows[0]["repair"]["edits"]]) == NOISY
    assert "repair: 4 texts, fired on 2 (unknown_words 1, lookalikes 1), repaired 2" in err
    assert "no guarantee: the gate was not calibrated" in err


def test_workers_change_nothing(rows):
    Path("many.jsonl").write_text(Path("rows.jsonl").read_text() * 200)
    command = ["repair", "many.jsonl", "--field", "body", "--with", "repair.json"]
    assert rows(*command)[1] == rows(*command, "--workers", "2")[1] != ""


def test_differences_are_shown(rows):
    code, out, _ = rows("repair", "rows.csv", "--field", "body", "--with", "repair.json", "--preview", "2")
    assert code == 0
    assert out == (
        "repaired (unknown_words)\nHow [-mnay-]{+many+} [-alppes-]{+apples+} does Tom [-hvae-]{+have+}?\n\n"
        f"passed\n{CLEAN}\n\n"
    )


def test_a_chain_is_tried_without_a_file(rows):
    code, out, err = rows("repair", "rows.csv", "--field", "body", "--chain", "fold", "--out", "out.jsonl")
    assert (code, out) == (0, "")
    assert "no guarantee: it has no gate" in err
    assert [row["body"] for row in lines(Path("out.jsonl").read_text())][2] == "Each of the words, how many?"


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        (["rows.csv"], "a repair is needed"),
        (["rows.csv", "--with", "repair.json", "--chain", "fold"], "a repair is needed"),
        (["rows.csv", "--chain", "fodl"], "unknown corrector `fodl`"),
        (["rows.csv", "--with", "none.json"], "none.json: cannot be read"),
        (["rows.csv", "--with", "repair.json"], "no field `question`"),
        (["none.csv", "--with", "repair.json"], "none.csv: no such file"),
        (["rows.txt", "--with", "repair.json"], "no such file"),
        (["bad.jsonl", "--with", "repair.json", "--field", "body"], "bad.jsonl:1"),
        (["number.jsonl", "--with", "repair.json", "--field", "body"], "field `body` holds a number"),
        (["rows.csv", "--chain", "model", "--field", "body"], "asks a model"),
    ],
)
def test_bad_input_ends_in_a_clear_error(rows, args, problem):
    Path("bad.jsonl").write_text("{nonsense\n")
    Path("number.jsonl").write_text('{"body": 3}\n')
    code, out, err = rows("repair", *args)
    assert (code, out) == (2, "")
    assert problem in err
    assert "hint:" in err
    assert "Traceback" not in err


def test_a_model_behind_a_server_corrects(rows):
    def change(answer):
        answer["choices"][0]["message"]["content"] = CLEAN
        return answer

    document.write(RepairFile(chain="model", instruction="Correct the text.", gate=GATED.gate), "model.json")
    with FaultServer(change=change) as server:
        command = ["repair", "rows.csv", "--field", "body", "--with", "model.json"]
        code, out, err = rows(*command, "--base-url", server.url, "--model", "tiny")
        assert code == 0
        assert [row["body"] for row in lines(out)][:2] == [CLEAN, CLEAN]
        asked = [body["messages"][-1]["content"] for body in server.bodies if "Correct the text." in str(body)]
        assert len(asked) == 2
        assert not any(CLEAN in text for text in asked)
    assert "fired on 2" in err


def test_a_model_that_fails_lets_the_texts_pass_and_says_so(rows):
    def fault(text, attempt):
        return "400" if "Correct the text." in text else None

    document.write(RepairFile(chain="model", instruction="Correct the text.", gate=GATED.gate), "model.json")
    with FaultServer(fault) as server:
        command = ["repair", "rows.csv", "--field", "body", "--with", "model.json"]
        code, out, err = rows(*command, "--base-url", server.url, "--model", "tiny")
    repaired_rows = lines(out)
    assert code == 4
    assert "2 texts passed as they came" in err
    assert [row["repair"]["action"] for row in repaired_rows] == ["failed", "passed", "failed", "passed"]
    assert repaired_rows[0]["body"] == NOISY
    assert repaired_rows[0]["repair"]["reason"]


def test_a_reader_that_leaves_early_is_no_error(rows):
    Path("many.jsonl").write_text(Path("rows.jsonl").read_text() * 500)
    command = f"{sys.executable} -m llmkit repair many.jsonl --field body --with repair.json | head -n 1"
    done = run(["sh", "-c", command])
    assert lines(done.stdout)[0]["body"] == CLEAN
    assert "Traceback" not in done.stderr
    assert "error" not in done.stderr.lower()


def test_no_text_is_lost_to_the_field_that_says_what_was_done(rows):
    Path("own.jsonl").write_text(json.dumps({"id": 1, "repair": NOISY}) + "\n")
    code, out, err = rows("repair", "own.jsonl", "--field", "repair", "--chain", "spell")
    assert (code, out) == (2, "")
    assert "the field `repair`" in err


def test_an_output_that_exists_is_kept_and_no_flag_is_named_that_there_is_not(rows):
    Path("out.jsonl").write_text("mine\n")
    code, _, err = rows("repair", "rows.csv", "--field", "body", "--chain", "fold", "--out", "out.jsonl")
    assert (code, Path("out.jsonl").read_text()) == (2, "mine\n")
    assert "--resume" not in err


@pytest.mark.parametrize(("corrector", "void"), [("other", True), ("mine", False), (None, False)])
def test_a_guarantee_with_another_corrector_is_void(rows, corrector, void):
    """Also in vain: the gate fires on none of the rows that are read, so nobody is asked."""
    guarantee = Guarantee(harm=0.01, confidence=0.95, definition="changed", rows=900, fired=9, harmed=1, upper=0.006,
                          date="2026-11-30")  # fmt: skip
    model = AskedModel(model="m", corrector=corrector)
    given = RepairFile(chain="model", instruction="Correct it.", gate=GATED.gate, guarantee=guarantee, model=model)
    document.write(given, "asking.json")
    Path("clean.jsonl").write_text(json.dumps({"id": 1, "body": CLEAN}) + "\n")
    server = ("--base-url", "http://127.0.0.1:9/v1", "--model", "mine")
    _, _, err = rows("repair", "clean.jsonl", "--field", "body", "--with", "asking.json", *server)
    assert ("guarantee void" in err) == void
    assert ("another corrector (mine, not other)" in err) == void
