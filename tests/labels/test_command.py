"""`llmkit label`: a file instead of the page, a part, exit codes, and what a killed one leaves."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import urllib.parse
import urllib.request
from contextlib import contextmanager

import pytest
from helpers import processes

from llmkit.cli import app, common
from llmkit.labels import table
from llmkit.runs.labels import read


@pytest.fixture
def llmkit(capfd, monkeypatch):
    """Runs a command; returns exit code, stdout and stderr."""
    monkeypatch.setenv("CI", "1")

    def go(*args):
        code = app.run([str(arg) for arg in args])
        return code, *capfd.readouterr()

    yield go
    common.settings.debug = common.settings.quiet = False


@pytest.fixture
def fill(opened, oracle):
    """fill(folder, file, skip=0): gives every row of a CSV file but the first `skip` its right verdict."""

    def go(folder, file, skip=0):
        with opened(folder) as one:
            said = {table._name(pair): oracle(pair) for pair in one.run.pairs}
        with file.open(encoding="utf-8-sig", newline="") as source:
            rows = list(csv.DictReader(source))
        with file.open("w", encoding="utf-8", newline="") as target:
            writer = csv.DictWriter(target, table.COLUMNS, delimiter=";")
            writer.writeheader()
            writer.writerows({**row, "verdict": said[row["pair"]] if i >= skip else ""} for i, row in enumerate(rows))
        return rows

    return go


def test_a_file_is_written_filled_in_and_read(asked, llmkit, fill, tmp_path):
    hidden, wanted = asked(), asked(gold=True)
    file = tmp_path / "changed.csv"
    code, out, err = llmkit("label", hidden.folder, "--csv", file)
    assert code == 0
    assert "pairs of answers to" in err
    assert "all of them would know the loss of stand to about +-0." in err
    assert "what stand lost under typing is not known: none of the" in out
    rows = fill(hidden.folder, file)
    assert all(row.keys() == set(table.COLUMNS) and not row["verdict"] for row in rows)
    code, out, err = llmkit("label", hidden.folder, "--import", file)
    assert code == 0
    assert f"{len(rows)} new verdicts in {file}" in err
    drop = wanted.metrics.arms["stand"].drop["typing"]
    assert f"stand lost {100 * drop.value:.1f} points under typing [{100 * drop.low:.1f}, {100 * drop.high:.1f}]" in out
    assert f"rest on labels of {len(rows)} of {len(rows)} pairs of answers, all rows that changed." in out
    code, out, err = llmkit("label", hidden.folder, "--import", file, "--json")
    assert "0 new verdicts" in err
    assert json.loads(out)["labels"]["labelled"] == len(rows) == len(read(hidden.folder / "labels.jsonl"))
    code, out, _ = llmkit("label", hidden.folder)  # nothing is left to ask
    assert code == 0
    assert "stand lost" in out


def test_a_file_that_is_there_is_not_overwritten(asked, llmkit, tmp_path):
    hidden, file = asked(), tmp_path / "changed.csv"
    file.write_text("my verdicts")
    code, _, err = llmkit("label", hidden.folder, "--csv", file)
    assert code == 2
    assert "is there already" in err
    assert file.read_text() == "my verdicts"


def test_bad_rows_are_named_with_their_lines_and_nothing_is_taken(asked, llmkit, tmp_path):
    hidden, file = asked(), tmp_path / "changed.csv"
    llmkit("label", hidden.folder, "--csv", file)
    with file.open(encoding="utf-8-sig", newline="") as source:
        names = [row["pair"] for row in csv.DictReader(source)]
    lines = ["pair,verdict", f"{names[0]},first", f"{names[1]},best", "pair-x,both", f"{names[0]},2", names[2]]
    file.write_text("\n".join(lines) + "\n")
    code, _, err = llmkit("label", hidden.folder, "--import", file)
    assert code == 2
    for said in (
        ":3: 'best' is no verdict",
        ":4: the pair 'pair-x' is none",
        ":5: the pair",
        ":6: the number of columns",
    ):
        assert f"{file}{said}" in err
    assert "nothing was taken over" in err
    assert read(hidden.folder / "labels.jsonl") == []
    for content, said in (("a,b\n1,2\n", "no column `pair`"), (b"pair,verdict\n\xff,first\n", "not UTF-8")):
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        code, _, err = llmkit("label", hidden.folder, "--import", file)
        assert code == 2
        assert said in err
    assert "there is no file" in llmkit("label", hidden.folder, "--import", tmp_path / "gone.csv")[2]
    assert "exclude each other" in llmkit("label", hidden.folder, "--import", file, "--csv", file)[2]


def test_no_cell_is_a_formula(asked, llmkit, tmp_path, sums):
    def evil(request):
        text = request.messages[0].content.rpartition("Question: ")[2]
        return "=HYPERLINK(1)\nIt is 4." if text in sums else "@SUM(A1) \x1b[2J\nIt is 5."

    hidden, file = asked(answer=evil), tmp_path / "changed.csv"
    llmkit("label", hidden.folder, "--csv", file, "--rows", "3")
    with file.open(encoding="utf-8-sig", newline="") as source:
        rows = list(csv.DictReader(source))
    assert len(rows) == 3
    assert all(cell[:1] not in tuple("=+-@\t\r") for row in rows for cell in row.values())
    assert all("\x1b" not in cell for row in rows for cell in row.values())
    assert any("=HYPERLINK" in row["first"] + row["second"] for row in rows)


def test_the_exit_code_is_that_of_the_gates(asked, llmkit, fill, tmp_path):
    hidden, file = asked(eval__gates=[{"metric": "stand.drop", "condition": "typing", "max": 0.9}]), tmp_path / "c.csv"
    code, _, err = llmkit("label", hidden.folder, "--csv", file)
    assert code == 5
    assert "none of the" in err
    fill(hidden.folder, file)
    assert llmkit("label", hidden.folder, "--import", file)[0] == 0
    assert llmkit("label", hidden.folder, "--gate", "stand.drop@typing <= -0.9 point")[0] == 3
    assert llmkit("label", hidden.folder, "--gate", "stand.drop@typing <= 5")[0] == 2


def test_a_part_is_at_random_and_a_gap_in_it_is_said(asked, llmkit, fill, tmp_path):
    hidden, file = asked(), tmp_path / "changed.csv"
    llmkit("label", hidden.folder, "--csv", file, "--rows", "9")
    fill(hidden.folder, file, skip=0)
    _, out, _ = llmkit("label", hidden.folder, "--import", file)
    assert "a random 9 of" in " ".join(out.split())
    file.unlink()
    llmkit("label", hidden.folder, "--csv", file)
    fill(hidden.folder, file, skip=2)
    _, out, err = llmkit("label", hidden.folder, "--import", file)
    assert "a random 9 of" in " ".join(out.split()) or "a random 10 of" in " ".join(out.split())
    assert "behind" in err


def test_labels_of_another_folder_are_read_when_they_are_named(asked, llmkit, fill, tmp_path):
    hidden, file = asked(), tmp_path / "changed.csv"
    llmkit("label", hidden.folder, "--csv", file)
    fill(hidden.folder, file)
    llmkit("label", hidden.folder, "--import", file)
    kept = tmp_path / "kept.jsonl"
    (hidden.folder / "labels.jsonl").rename(kept)
    code, out, err = llmkit("label", hidden.folder, "--labels", kept)
    assert code == 0
    assert "labels of other runs speak of these answers" in err
    assert "stand lost" in out
    code, _, err = llmkit("label", hidden.folder, "--labels", tmp_path / "gone.jsonl")
    assert code == 2
    assert "there is no file" in err


def test_repairs_are_compared_on_rows_as_sent_where_there_is_no_noise(asked, llmkit, fill, tmp_path):
    hidden, file = asked(perturb__conditions=[]), tmp_path / "changed.csv"
    code, _, err = llmkit("label", hidden.folder, "--csv", file)
    assert code == 0
    assert "would know the gain of zero_shot_cot to about" in err
    fill(hidden.folder, file)
    _, out, _ = llmkit("label", hidden.folder, "--import", file)
    harm = asked(gold=True, perturb__conditions=[]).metrics.arms["zero_shot_cot"].clean_drop
    assert f"zero_shot_cot lost {100 * harm.value:.1f} points against stand on the rows as sent" in out


# A shell that started the tests in the background has them ignore SIGINT, and children inherit that.
INTERRUPTIBLE = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from llmkit.cli.app import main
main()
"""


@pytest.mark.slow
def test_what_was_said_outlives_a_kill_and_ctrl_c_ends_with_the_result(asked, oracle, opened):
    hidden = asked()
    with opened(hidden.folder) as one:
        said = [oracle(pair) for pair in one.open_pairs()]

    @contextmanager
    def begun():
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        command = [sys.executable, "-c", INTERRUPTIBLE, "label", hidden.folder]
        with processes.started(command, 120, env=os.environ | {"CI": "1"}, **pipes) as process:
            yield process, next(line for line in process.stderr if "http://" in line).split()[-1]

    def give(address, number, verdict):
        form = urllib.parse.urlencode({"number": number, "verdict": verdict}).encode()
        with urllib.request.urlopen(address, form, timeout=20) as answer:
            return answer.read()

    with begun() as (process, address):
        for number in range(3):
            give(address, number, said[number])
        process.kill()
    assert len(read(hidden.folder / "labels.jsonl")) == 3

    with begun() as (process, address):
        for number in range(4):
            give(address, number, said[3 + number])
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate()
        assert process.returncode == 0
    assert "rest on labels of 7 of" in out

    with begun() as (process, address):
        for number, verdict in enumerate(said[7:]):
            last = give(address, number, verdict)
        assert b"Every pair has a verdict" in last
        out, _ = process.communicate()
        assert process.returncode == 0
    assert "all rows that changed" in out
