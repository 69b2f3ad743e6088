"""A run whose answers are labels: macro-F1, and the labels that noise turns into others, for known errors."""

from __future__ import annotations

import json
import re

import pytest

from llmkit.errors import EngineError, UsageError
from llmkit.evaluate.rescore import rescore
from llmkit.recipe import load
from llmkit.report import view
from llmkit.runs import Run

QUEUES = ("billing", "delivery", "returns")
ROWS = 48
TEXTS = [
    f"Dear shop, please look into the matter with number {n} that I have written about before." for n in range(ROWS)
]


def queue(number):
    """Half of the rows are billing, a quarter delivery, a quarter returns."""
    return QUEUES[(0, 0, 1, 2)[number % 4]]


def clerk(request):
    """Right on clean rows. Under noise it calls every second return a delivery, and every eighth bill nothing."""
    text = request.messages[0].content.rpartition("Question: ")[2]
    number = int(re.search(r"\d+", text)[0])
    label = queue(number)
    if text not in TEXTS and label == "returns" and number % 8 == 3:
        label = "delivery"
    if text not in TEXTS and label == "billing" and number % 16 == 0:
        return "I cannot tell."
    return f"The answer is {label}."


@pytest.fixture
def sorted_rows(tmp_path, run):
    path = tmp_path / "rows.jsonl"
    rows = [{"question": text, "answer": queue(n)} for n, text in enumerate(TEXTS)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def go(answer=clerk, **more):
        overrides = {
            "data.task": None, "data.path": str(path), "data.kind": "label", "data.split": "all", "data.limit": None,
            "data.size": 1000, "eval.arms": ["stand"], "perturb.conditions": ["ec"], "perturb.rate": 0.3,
        } | more  # fmt: skip
        return run(answer, "eval", **{key.replace(".", "__"): value for key, value in overrides.items()})[0]

    return go


def test_macro_f1_and_flips_are_those_of_the_model(sorted_rows):
    sklearn = pytest.importorskip("sklearn.metrics")
    result = sorted_rows(**{"eval.gates": [{"metric": "stand.macro_f1_drop", "max": 0.5}]})
    stand = result.metrics.arms["stand"]
    assert result.metrics.chance == pytest.approx(1 / 3, abs=1e-6)
    # billing 21 of 24, delivery 12 of 12, returns 6 of 12, which are called deliveries
    f1 = (2 * 21 / (21 + 24), 2 * 12 / (18 + 12), 2 * 6 / (6 + 12))
    macro = stand.scores["macro_f1"]
    assert macro.conditions["clean"].value == 1.0
    assert macro.conditions["ec"].value == pytest.approx(sum(f1) / 3, abs=1e-6)
    assert macro.drop["ec"].value == pytest.approx(1 - sum(f1) / 3, abs=1e-6)
    assert macro.drop["ec"].low < macro.drop["ec"].value < macro.drop["ec"].high
    noisy = [s.outcome for s in Run(result.folder).samples() if s.outcome.condition == "ec"]
    gold, said = [o.gold for o in noisy], [o.parsed or "none" for o in noisy]
    by_sklearn = sklearn.f1_score(gold, said, labels=QUEUES, average="macro")
    assert macro.conditions["ec"].value == pytest.approx(by_sklearn, abs=1e-6)
    (first, second) = stand.turned["ec"].most
    assert (first.before, first.after, first.answers, first.right_before) == ("returns", "delivery", 6, 6)
    assert (second.before, second.after, second.answers, second.right_before) == ("billing", None, 3, 3)
    assert (stand.turned["ec"].pairs, stand.turned["ec"].turned) == (48, 9)
    assert result.gates[0].verdict == "pass"
    assert "Labels that noise turns into others" in [table.title for table in view.summary(result.metrics)]


def test_labels_survive_a_new_scoring(sorted_rows):
    result = sorted_rows()
    again = rescore(result.folder, load(result.folder / "recipe.resolved.yaml"))
    assert again.changed == 0
    assert again.metrics.arms["stand"].scores == result.metrics.arms["stand"].scores


def test_a_label_can_be_the_likeliest_answer(sorted_rows):
    result = sorted_rows(**{"eval.answer": "likelihood"})
    assert result.metrics.arms["stand"].conditions["clean"].unparsed == 0


def test_missing_answers_leave_a_gate_on_macro_f1_undecided(sorted_rows):
    def failing(request):
        return EngineError("down") if "number 7 " in request.messages[0].content else clerk(request)

    gates = [{"metric": "stand.macro_f1", "min": 0.5}]
    result = sorted_rows(failing, **{"eval.gates": gates, "eval.max_errors": 0.5})
    assert result.gates[0].verdict == "undecided"
    assert "each changes what the others are worth" in result.gates[0].reason


def test_texts_that_are_not_kept_keep_the_numbers(sorted_rows):
    shown, hidden = sorted_rows(), sorted_rows(**{"output.texts": "hash", "output.name": "hidden"})
    numbers = [run.metrics.arms["stand"].scores["macro_f1"] for run in (shown, hidden)]
    assert numbers[0] == numbers[1]
    assert "billing" not in (hidden.folder / "samples.jsonl").read_text()
    assert "billing" not in (hidden.folder / "metrics.json").read_text()


def test_a_gate_on_a_score_of_another_kind_is_refused(sorted_rows):
    with pytest.raises(UsageError, match=r"unknown gate metric `stand\.span_f1`"):
        sorted_rows(**{"eval.gates": [{"metric": "stand.span_f1", "min": 0.5}]})
