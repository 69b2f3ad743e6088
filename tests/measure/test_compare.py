"""Runs paired question by question."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from helpers import synthetic
from rich.console import Console

from llmkit.errors import DataError, UsageError
from llmkit.measure.beside import beside
from llmkit.measure.compare import against, compare
from llmkit.recipe.schema import IntervalSection
from llmkit.report import terminal
from llmkit.report.comparison import comparison

FAST = IntervalSection(draws=500)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    home = tmp_path_factory.mktemp("runs")
    weak = {**synthetic.KEPT, "rop": 0.9}
    return [
        synthetic.write_run(home / "weak", synthetic.rows(questions=200, kept=weak)),
        synthetic.write_run(home / "strong", synthetic.rows(questions=200)),
    ]


def find(found, **wanted):
    return next(row for row in found.rows if all(getattr(row, key) == value for key, value in wanted.items()))


def test_a_change_is_paired_and_has_the_sign_of_the_second_run(runs):
    found = compare(runs, FAST)
    assert found.questions == 200
    row = find(found, arm="rop", condition="uic", metric="accuracy")
    assert row.change.low > 0
    assert row.after - row.before == pytest.approx(row.change.value, abs=1e-5)
    assert row.change.better - row.change.worse == pytest.approx(200 * row.change.value, abs=0.01)
    drop = find(found, arm="rop", condition="noisy", metric="drop")
    assert drop.change.high < 0
    back = compare(runs[::-1], FAST)
    assert find(back, arm="rop", condition="uic", metric="accuracy").change.high < 0


def test_a_run_against_itself_changed_nothing():
    rows = synthetic.samples(questions=50)
    found = against(rows, rows, FAST)
    for arm in found.arms.values():
        for change in arm.accuracy_change.values():
            assert change.value == 0
            assert change.low < 0 < change.high
            assert change.p == 1


def test_only_shared_questions_with_the_same_text_count(tmp_path):
    rows = synthetic.rows(questions=20, arms=["stand"], conditions=["ec"])
    other = [{**row, "question": "Another text?"} if row["question_id"] == "q00003" else row for row in rows]
    other = [row for row in other if row["question_id"] != "q00005"]
    found = compare([synthetic.write_run(tmp_path / "a", rows), synthetic.write_run(tmp_path / "b", other)], FAST)
    assert (found.questions, found.left_out) == (18, 1)
    assert find(found, metric="accuracy", condition="clean").change.n == 18


def test_table_and_json(runs):
    paired = compare(runs, FAST)
    assert json.loads(json.dumps(paired.json(), allow_nan=False))["runs"] == ["weak", "strong"]
    console = Console(width=140, record=True)
    console.print(terminal.comparison(comparison(beside(runs, FAST), paired)))
    text = console.export_text()
    assert "strong against weak" in text
    assert "uic" in text
    assert "…" not in text


def test_several_runs_are_measured_against_the_first(runs):
    found = compare([*runs, copy_of(runs[1])], FAST)
    assert {row.run for row in found.rows} == {"strong", "again"}


def copy_of(run):
    twin = run.parent / "again"
    twin.mkdir(exist_ok=True)
    (twin / "samples.jsonl").write_bytes((run / "samples.jsonl").read_bytes())
    return twin


def test_errors_say_what_to_do(runs, tmp_path):
    with pytest.raises(UsageError, match="two runs"):
        compare(runs[:1])
    with pytest.raises(UsageError, match="twice"):
        compare([runs[0], runs[0]])
    with pytest.raises(DataError, match="no samples"):
        compare([runs[0], tmp_path])
    strangers = [{**row, "question_id": f"x{i}"} for i, row in enumerate(synthetic.rows(questions=3))]
    with pytest.raises(DataError, match="share no question"):
        compare([runs[0], synthetic.write_run(tmp_path / "other", strangers)])


def test_bare_outcomes_compare_too():
    rows = [s.outcome for s in synthetic.samples(questions=30)]
    better = [replace(o, correct=True) for o in rows]
    assert against(better, rows, FAST).arms["stand"].accuracy_change["uic"].low > 0
