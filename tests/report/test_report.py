"""What a run leaves to be read, other than the page: terminal, JUnit, CSV and Parquet."""

from __future__ import annotations

import csv
import errno
import io
import os
from dataclasses import replace
from xml.etree import ElementTree as xml

import pytest
from helpers import synthetic
from rich.console import Console

from llmkit.errors import Incomplete
from llmkit.measure import gates
from llmkit.measure.metrics import metrics
from llmkit.recipe.schema import EvalSection, Gate, IntervalSection
from llmkit.report import junit, summary, tabular, view, write
from llmkit.report.elements import Facts
from llmkit.types import CLEAN

FAST = EvalSection(interval=IntervalSection(draws=300), price_prompt=1.0, price_completion=4.0)
GATES = [
    Gate(metric="rop.gain", condition="each", min=-0.5, bound="low"),
    Gate(metric="rop.accuracy", min=0.99),
    Gate(metric="rop.clean_drop", max=0.001, bound="high"),
]


@pytest.fixture(scope="module")
def run():
    samples = synthetic.samples(questions=60, arms=list(synthetic.KEPT), replicate=0.05)
    measured = metrics(samples, FAST, 7)
    return samples, measured.model_copy(update={"gates": tuple(gates.evaluate(GATES, measured))})


def printed(measured):
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(summary(measured))
    return console.export_text()


def test_terminal_summary_shows_every_number_that_decides(run):
    _, measured = run
    text = printed(measured)
    assert max(map(len, text.splitlines())) <= 100
    assert "…" not in text
    for word in ("Accuracy", "Against stand", "Ablation", "Cost", "Gates", "undecided", "Noise floor", "60 questions"):
        assert word in text
    assert f"{measured.arms['rop'].conditions['ec'].accuracy.value:.3f}" in text
    assert f"{measured.arms['rop'].gain['noisy'].value:+.3f}" in text


def test_a_repair_from_the_table_that_the_noise_came_from_is_said_to_be_one():
    measured = metrics(synthetic.samples(questions=20, arms=["stand", "unicode_fold", "spell_fix"]), FAST, 7)

    def under(*conditions):
        return printed(measured.model_copy(update={"conditions": conditions}))

    same = " ".join(under(CLEAN, "ec", "mix(sc:1,hw:2)@0.3").split())
    assert "unicode_fold repairs mix(sc:1,hw:2)@0.3 from the table that this noise is drawn from" in same
    assert "spell_fix repairs" not in same
    assert "repairs file:rop_perturbed/SC|sc from" in under("file:rop_perturbed/SC|sc")
    for noise in ("ec", "file:/data/sc/pairs.json"):
        assert "from the table" not in under(CLEAN, noise)


def test_terminal_summary_of_one_arm_shows_its_losses():
    measured = metrics(synthetic.samples(questions=40, arms=["stand"]), FAST, 7)
    text = printed(measured)
    assert "Loss of stand" in text
    assert "Ablation" not in text
    assert "Gates" not in text


@pytest.mark.parametrize("arms", [["stand"], ["stand", "rop"]])
def test_terminal_summary_of_clean_questions_alone_has_no_losses(arms):
    samples = [s for s in synthetic.samples(questions=20, arms=arms) if s.outcome.condition == CLEAN]
    text = printed(metrics(samples, FAST, 7))
    assert "Accuracy" in text
    assert "Loss of" not in text
    assert ("clean accuracy lost" in text) == (len(arms) > 1)


@pytest.mark.parametrize("arms", [["stand"], ["stand", "correct_only", "guide_only", "rop"]])
@pytest.mark.parametrize("family", [("gain",), ("drop", "clean_drop")])
def test_terminal_summary_shows_adjusted_p_values_and_calls_others_raw(arms, family):
    section = FAST.model_copy(update={"family": family})
    measured = metrics(synthetic.samples(questions=40, arms=arms, conditions=["ec", "uic"]), section, 7)
    text = printed(measured)
    assert max(map(len, text.splitlines())) <= 100
    tables = {name: part for name in ("Loss of", "Ablation", "Against stand") if (part := text.partition(name)[2])}
    several, declared = len(arms) > 1, family != ("gain",)
    losses = tables.get("Loss of", "").partition("Loss of")[0].partition("Ablation")[0]
    assert bool(losses) == (declared or not several)
    adjusted = {(test.metric, test.arm, test.condition): test.adjusted for test in measured.holm}
    if losses:
        lines = {line.split()[0]: line for line in losses.splitlines() if line.strip()}
        assert lines["noise"].rstrip().endswith("p, Holm" if declared else "p, raw")
        p = adjusted["drop", "stand", "ec"] if declared else measured.arms["stand"].drop["ec"].p
        assert lines["ec"].split()[-1] == ("<0.001" if p < 0.001 else f"{p:.3f}")
        assert ("raw" in lines["noisy"]) == declared
    if several:
        assert ("p, Holm" in tables["Ablation"].partition("\n\n")[0]) == (not declared)
        assert ("p, Holm" in tables["Against stand"].partition("\n\n")[0]) == declared


def test_terminal_summary_of_many_conditions_is_split():
    rates = [f"ec@{r / 100}" for r in range(2, 22, 2)]
    text = printed(metrics(synthetic.samples(questions=20, conditions=rates), FAST, 7))
    assert max(map(len, text.splitlines())) <= 100
    assert "Accuracy, continued" in text


def test_no_number_is_cut_beside_the_long_name_of_a_file():
    paths = {
        kind: f"file:/home/somebody/evaluation/data/of/others/{kind}/rewritten_{kind}.json" for kind in ("ec", "sc")
    }
    samples = [
        replace(s, outcome=replace(s.outcome, condition=paths.get(s.outcome.condition, s.outcome.condition)))
        for s in synthetic.samples(questions=20, arms=["stand"])
        if s.outcome.condition in (CLEAN, *paths)
    ]
    measured = metrics(samples, FAST, 7)
    text = printed(measured)
    assert max(map(len, text.splitlines())) <= 100
    assert "…" not in text
    assert f"{measured.arms['stand'].conditions['clean'].accuracy.value:.3f}" in text


def test_terminal_summary_of_nothing_does_not_crash():
    assert "0 questions" in printed(metrics([], FAST, 7))


def test_junit_has_a_case_for_each_gate_and_condition(run):
    _, measured = run
    suite = xml.fromstring(junit.document(view.of_run(measured, Facts(run="rop-demo-abc")))).find("testsuite")
    assert suite.get("name") == "llmkit gates of rop-demo-abc"
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("7", "1", "1")
    shares = {row.get("name"): row.get("value") for row in suite.iter("property")}
    assert shares == {f"questions changed by {c}": f"{copies.share:.4f}" for c, copies in measured.noise.items()}
    cases = suite.findall("testcase")
    assert cases[0].get("name") == "rop.gain@ec >= -0.5 low"
    assert [case.find("failure") is not None for case in cases] == [False] * 5 + [True, False]
    assert cases[6].find("error").get("type") == "undecided"
    assert "interval" in cases[5].find("failure").get("message")


def test_junit_holds_whatever_a_name_is_made_of(run):
    _, measured = run
    changes = {"gate": 'a<b>&"\x00\x1b]]>', "verdict": "fail", "value": None, "reason": "\ud800"}
    odd = measured.model_copy(update={"gates": (measured.gates[0].model_copy(update=changes),)})
    (case,) = xml.fromstring(junit.document(view.of_run(odd, Facts(run="run\x07")))).iter("testcase")
    assert case.get("name").startswith('a<b>&"')


def test_csv_and_parquet_hold_every_outcome(run):
    from pyarrow import parquet

    samples, _ = run
    lines, groups = io.BytesIO(), io.BytesIO()
    tabular.write(tabular.Answers(samples), lines, groups)
    back = list(csv.DictReader(io.StringIO(lines.getvalue().decode())))
    table = parquet.read_table(groups)
    assert len(back) == table.num_rows == len(samples)
    assert list(back[0]) == table.column_names
    assert sum(row["correct"] == "True" for row in back) == sum(s.outcome.correct for s in samples)
    assert sum(table["correct"].to_pylist()) == sum(s.outcome.correct for s in samples)
    assert str(table.schema.field("seconds").type) == "double"
    one = next(s for s in samples if s.outcome.corrected_text)
    match = next(r for r in table.to_pylist() if r["corrected_text"] and r["question_id"] == one.outcome.question_id)
    assert match["question"] == one.question


@pytest.mark.parametrize("cell", ["=1+1", "@SUM(A1)", "+1+cmd|' /C calc'!A0", "-2+3", "\t=1", "\r=1", "-", "+"])
def test_a_spreadsheet_runs_no_cell_as_a_formula(cell, run):
    samples, _ = run
    outcome = replace(samples[0].outcome, gold="-4.5", parsed=cell)
    rows, lines = tabular.Answers([replace(samples[0], text=cell, outcome=outcome)]), io.BytesIO()
    tabular.write(rows, lines)
    back = next(csv.DictReader(io.StringIO(lines.getvalue().decode(), newline="")))
    assert back["text"] == back["parsed"] == "'" + cell.replace("\r", "\n")
    assert back["gold"] == "-4.5"
    assert rows[0]["text"] == cell


def test_texts_that_utf8_cannot_hold_do_not_stop_a_table(run):
    samples, _ = run
    rows = tabular.Answers([replace(samples[0], text='line\n"quoted", \ud800 \x00')])
    lines, groups = io.BytesIO(), io.BytesIO()
    tabular.write(rows, lines, groups)
    assert b"quoted" in lines.getvalue()
    assert len(groups.getvalue()) > 100


def test_a_table_without_rows_has_its_columns():
    from pyarrow import parquet

    lines, groups = io.BytesIO(), io.BytesIO()
    tabular.write(tabular.Answers([]), lines, groups)
    names = parquet.read_table(groups).column_names
    assert lines.getvalue().decode() == ",".join(names) + "\n"
    assert "corrected_text" in names


def test_write_leaves_all_files_and_no_drafts(run, tmp_path):
    samples, measured = run
    paths = write(tmp_path, samples, measured)
    assert {p.name for p in paths} == {"report.html", "junit.xml", "outcomes.csv", "outcomes.parquet"}
    assert {p.name for p in tmp_path.iterdir()} == {p.name for p in paths}
    write(tmp_path, samples, measured)
    assert (tmp_path / "outcomes.csv").stat().st_size > 1000


def test_a_full_disk_is_incomplete_and_leaves_no_half_written_file(run, tmp_path, monkeypatch):
    samples, measured = run

    def full(fd):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Incomplete, match="no space left"):
        write(tmp_path, samples, measured)
    assert list(tmp_path.iterdir()) == []
