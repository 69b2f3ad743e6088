"""Runs and prompts of rows without answers, paired by the answers that change."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from helpers import synthetic
from helpers.unlabelled import FAST, LABELS, answer, measured, run
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from llmkit.errors import DataError
from llmkit.measure.beside import beside
from llmkit.measure.compare import against, compare
from llmkit.report import html, terminal
from llmkit.report.comparison import comparison

ROWS = st.lists(st.text(alphabet=LABELS, min_size=4, max_size=4), min_size=2, max_size=12)
SECTION = FAST.interval


@settings(max_examples=40, deadline=None)
@given(first=ROWS, later=ROWS)
def test_a_change_is_the_difference_of_the_shares_that_each_run_has(first, later):
    n = min(len(first), len(later))
    before, after = run(*first[:n]), run(*later[:n])
    changes = against(after, before, SECTION).arms["stand"].changed_change
    shares = [measured(samples).arms["stand"] for samples in (before, after)]
    expected = shares[1].stability["typing"].changed.value - shares[0].stability["typing"].changed.value
    assert changes["typing"].value == pytest.approx(expected, abs=2e-6)
    assert changes["typing"].low <= changes["typing"].value <= changes["typing"].high
    itself = shares[1].repeated["clean"].value - shares[0].repeated["clean"].value
    assert changes["clean#2"].value == pytest.approx(itself, abs=2e-6)
    steadier = sum(a[0] != a[2] and b[0] == b[2] for a, b in zip(first, later, strict=False))
    assert changes["typing"].better == steadier


def test_the_test_is_mcnemars_and_knows_of_clusters():
    before, after = run(*["AABB"] * 12), run(*["AAAA"] * 12)
    change = against(after, before, SECTION).arms["stand"].changed_change["typing"]
    assert (change.value, change.better, change.worse) == (-1, 12, 0)
    assert change.p < 0.001
    assert change.high < 0
    pairs = [
        [dataclasses.replace(s, outcome=dataclasses.replace(s.outcome, cluster_id="one")) for s in samples]
        for samples in (after, before)
    ]
    clumped = against(*pairs, SECTION).arms["stand"].changed_change["typing"]
    assert (clumped.low, clumped.high) == (-1, 1), "one group of rows shows nothing"


def test_a_failed_call_has_changed():
    before, after = run("AAAA", "AAAA"), run("AAAA", ("A", "A", None, "A"))
    assert against(after, before, SECTION).arms["stand"].changed_change["typing"].value == 0.5


def lines(samples):
    for s in samples:
        row = dataclasses.asdict(s.outcome)
        row |= {"kind": "outcome", "key": f"{s.outcome.question_id}/{s.outcome.condition}", "question": s.question}
        yield row | {"text": s.text, "options": list(s.options), "question_kind": s.kind, "said": s.reply, "calls": []}


def test_two_runs_are_shown_beside_each_other(tmp_path):
    weak, steady = run(*["AABB", "BBBB"] * 20), run(*["AAAA", "BBCB"] * 4, *["AAAA"] * 32)
    folders = [synthetic.write_run(tmp_path / name, lines(s)) for name, s in (("weak", weak), ("steady", steady))]
    table, changes = beside(folders, SECTION), compare(folders, SECTION)
    assert [row.changed["noisy"].value for row in table.rows] == [0.5, 0.1]
    assert table.rows[1].change["noisy"].value == pytest.approx(-0.4)
    assert table.rows[1].accuracy == {}
    assert {row.metric for row in changes.rows} == {"changed"}
    view = comparison(table, changes)
    console = Console(width=140, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(terminal.comparison(view))
    text = console.export_text()
    for words in ("40 shared rows", "by itself", "steady against weak", "changed"):
        assert words in text
    assert "accuracy" not in text
    assert "clean#2" not in html.comparison(view)


def test_a_run_with_answers_is_compared_with_one_without_by_what_changes(tmp_path):
    without = run(*["AABB"] * 6)
    labelled = [
        dataclasses.replace(s, outcome=dataclasses.replace(s.outcome, gold="A", correct=s.outcome.parsed == "A"))
        for s in run(*["AAAA"] * 6)
    ]
    change = against(without, labelled, SECTION).arms["stand"]
    assert change.accuracy_change == {}
    assert change.changed_change["typing"].value == 1


def test_rows_that_were_asked_once_have_nothing_to_compare(tmp_path):
    once = [answer(i, "clean", "A") for i in range(3)]
    with pytest.raises(DataError, match="asked under noise or a second time"):
        against(once, once, SECTION)


def test_the_interval_covers_a_difference_that_is_there():
    rng = np.random.default_rng(5)
    inside = 0
    for _ in range(60):
        flips = [["AAB"[int(x)] if x else "A" for x in 2 * (rng.random(60) < share)] for share in (0.3, 0.15)]
        before, after = (run(*[f"AA{noisy}{noisy}" for noisy in column]) for column in flips)
        change = against(after, before, SECTION).arms["stand"].changed_change["typing"]
        inside += change.low <= -0.15 <= change.high
    assert inside >= 52
