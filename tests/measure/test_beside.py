"""Several runs in one table."""

from __future__ import annotations

import json

import pytest
from helpers import synthetic
from rich.console import Console

from llmkit.errors import UsageError
from llmkit.measure.beside import beside
from llmkit.measure.compare import compare
from llmkit.recipe.schema import IntervalSection
from llmkit.report import terminal
from llmkit.report.comparison import comparison

FAST = IntervalSection(draws=500)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A base with RoP, a fine-tuned one without, and a robust one with RoP; the last has one kind of noise less."""
    home, rows = tmp_path_factory.mktemp("runs"), synthetic.rows(questions=200, arms=["stand", "rop"])
    weak = [{**row, "correct": row["correct"] and int(row["question_id"][1:]) % 2 == 0} for row in rows]
    made = [
        synthetic.write_run(home / "base", weak),
        synthetic.write_run(home / "tuned", [row for row in rows if row["arm"] == "stand"]),
        synthetic.write_run(home / "robust", [row for row in rows if row["condition"] != "uic"]),
    ]
    for run in made[1:]:
        trained = home / f"training of {run.name}"
        (trained / "adapter").mkdir(parents=True)
        if run.name == "tuned":
            (trained / "metrics.json").write_text(json.dumps({"seconds": 90.0, "method": "talklora"}))
        (run / "recipe.resolved.yaml").write_text(f"model: {{adapter: '{trained / 'adapter'}'}}\n")
    return made


def test_every_arm_of_every_run_is_a_row_against_the_first(runs):
    found = beside(runs, FAST)
    assert [(row.run, row.arm) for row in found.rows] == [
        ("base", "stand"), ("base", "rop"), ("tuned", "stand"), ("robust", "stand"), ("robust", "rop")
    ]  # fmt: skip
    assert found.conditions == ["ec", "sc", "woo", "hw"]
    first, *_, last = found.rows
    assert first.change == {"clean": None, "noisy": None}
    for condition in ("clean", "noisy"):
        change = last.change[condition]
        assert change.low > 0
        gap = last.accuracy[condition].value - first.accuracy[condition].value
        assert change.value == pytest.approx(gap, abs=1e-5)
        assert last.accuracy[condition].low < last.accuracy[condition].value


def test_training_time_is_the_adapters_own(runs):
    base, _, tuned, robust, _ = beside(runs, FAST).rows
    assert base.training is None
    assert tuned.training.seconds == 90
    assert robust.training.seconds is None


def test_runs_of_one_recipe_are_named_by_what_answered(tmp_path):
    rows = synthetic.rows(questions=40, arms=["stand"])
    adapters = {"a1": None, "b2": "runs/tuned-c3/adapter", "c4": "demo-loop"}
    made = [synthetic.write_run(tmp_path / f"same-{digest}", rows) for digest in adapters]
    for run, adapter in zip(made, adapters.values(), strict=True):
        (run / "recipe.resolved.yaml").write_text(f"model: {{path: org/base, adapter: {adapter or 'null'}}}\n")
    found = beside(made, FAST).rows
    assert [row.run for row in found] == ["base", "tuned-c3", "demo-loop"]
    assert found[2].training.steps == 400  # of the adapter that comes with llmkit
    (made[2] / "recipe.resolved.yaml").write_text("model: {path: org/base, adapter: null}\n")
    assert [row.run for row in beside(made, FAST).rows] == ["same-a1", "same-b2", "same-c4"]


def test_tokens_count_every_call_of_an_answer(runs):
    stand, rop = beside(runs, FAST).rows[:2]
    assert rop.tokens_per_answer > stand.tokens_per_answer > 0


def test_json_and_table(runs):
    together = beside(runs, FAST)
    assert [row["run"] for row in json.loads(json.dumps(together.json(), allow_nan=False))["rows"]][-1] == "robust"
    console = Console(width=160, record=True)
    console.print(terminal.comparison(comparison(together, compare(runs, FAST))))
    text = console.export_text()
    assert "robust, rop" in text
    assert "1.5 min" in text
    assert "unknown" in text


def test_one_run_is_no_comparison(runs):
    with pytest.raises(UsageError, match="two runs"):
        beside(runs[:1])
