"""Several scorers in a run: a scripted model with known errors, from its replies to gates, report and a new scoring."""

from __future__ import annotations

import json
import re

import pytest

from llmkit.errors import DataError, EngineError, GateFailed, UsageError
from llmkit.evaluate.rescore import rescore
from llmkit.measure import Metrics
from llmkit.measure.gates import enforce
from llmkit.recipe import load
from llmkit.report import view
from llmkit.runs import Run

ROWS = 40
FREE = {
    "data.task": None,
    "data.size": 1000,
    "data.limit": None,
    "data.kind": "text",
    "data.split": "all",
    "eval.arms": ["stand"],
    "perturb.conditions": ["ec"],
    "perturb.rate": 0.4,
}


@pytest.fixture
def free(tmp_path, run):
    """free(answer, **more): a run over rows whose gold answer is "grey cat number N"."""
    path = tmp_path / "rows.jsonl"
    rows = [
        {"question": f"Which animal is the cat number {n} of the whole quiet street?", "answer": f"grey cat number {n}"}
        for n in range(ROWS)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def go(answer=half_wrong, **more):
        overrides = FREE | {"data.path": str(path)} | more
        return run(answer, "eval", **{key.replace(".", "__"): value for key, value in overrides.items()})

    return go


def asked(request):
    return request.messages[0].content.rpartition("Question: ")[2]


def half_wrong(request):
    """Right on clean questions; under noise it says two of the four words."""
    text = asked(request)
    number = re.search(r"\d+", text)[0]
    clean = text == f"Which animal is the cat number {number} of the whole quiet street?"
    return f"The answer is {'grey cat number' if clean else 'blue dog number'} {number}."


def test_each_scorer_is_measured_beside_the_verdict(free):
    result, _ = free(**{"eval.scores": ["f1", "contains", "exact", "rouge_l"]})
    stand = result.metrics.arms["stand"]
    assert stand.conditions["clean"].accuracy.value == 1.0
    assert stand.conditions["ec"].accuracy.value == 0.0
    f1 = stand.scores["f1"]
    assert f1.conditions["clean"].value == 1.0
    assert f1.conditions["ec"].value == 0.5
    assert f1.drop["ec"].value == 0.5
    assert f1.drop["ec"].low < 0.5 < f1.drop["ec"].high
    assert f1.drop["ec"].test == "sign_flip"
    assert stand.scores["contains"].drop["ec"].value == 1.0
    # six words "the answer is grey cat number 7" and four of them gold: 2 * 4 / (7 + 4), and two of them under noise
    assert stand.scores["rouge_l"].conditions["clean"].value == pytest.approx(8 / 11, abs=1e-6)
    assert stand.scores["rouge_l"].conditions["ec"].value == pytest.approx(4 / 11, abs=1e-6)
    assert Metrics.read(result.folder / "metrics.json").arms["stand"].scores == stand.scores
    assert {"Scores", "What noise takes from scores"} <= {table.title for table in view.summary(result.metrics)}


def test_a_graded_scorer_can_decide(free):
    result, _ = free(**{"eval.scorer": "f1"})
    stand = result.metrics.arms["stand"]
    assert stand.conditions["clean"].accuracy.value == 1.0
    assert stand.scores["f1"].conditions["ec"].value == 0.5


def test_gates_name_scores(free):
    gates = [{"metric": "stand.f1_drop", "max": 0.1}, {"metric": "stand.f1", "condition": "ec", "min": 0.4}]
    result, _ = free(**{"eval.scores": ["f1"], "eval.gates": gates})
    first, second = result.gates
    assert (first.verdict, first.value, first.condition) == ("fail", 0.5, "noisy")
    assert (second.verdict, second.value) == ("pass", 0.5)
    with pytest.raises(GateFailed, match=r"stand\.f1_drop@noisy <= 0\.1 high"):
        enforce(result.gates)


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        ("stand.rouge_l", "unknown gate metric"),
        ("stand.f1_gain", "is measured against `stand`"),
        ("nobody.f1", "unknown arm in the gate"),
    ],
)
def test_a_gate_on_a_score_that_a_run_lacks_is_refused_before_it_starts(free, metric, said):
    with pytest.raises(UsageError, match=said):
        free(**{"eval.scores": ["f1"], "eval.gates": [{"metric": metric, "min": 0.5}]})


def test_missing_answers_cannot_pass_a_gate_on_a_score(free):
    def failing(request):
        return EngineError("down") if " 7 " in asked(request) else half_wrong(request)

    gates = [{"metric": "stand.f1", "min": 0.9}, {"metric": "stand.f1", "min": 0.2}]
    result, _ = free(failing, **{"eval.scores": ["f1"], "eval.gates": gates, "eval.max_errors": 0.2})
    near, far = result.gates
    assert near.verdict == "undecided"
    assert "answers it needs failed" in near.reason
    assert far.verdict == "pass"


def test_a_run_is_scored_again_with_other_scorers(free):
    result, _ = free()
    assert result.metrics.arms["stand"].scores == {}
    again = rescore(result.folder, load(result.folder / "recipe.resolved.yaml", {"eval.scores": ["f1", "rouge_l"]}))
    assert again.changed == 0
    assert again.metrics.arms["stand"].scores["f1"].drop["ec"].value == 0.5
    assert all(set(sample.outcome.scores) == {"f1", "rouge_l"} for sample in Run(result.folder).samples())
    # once more changes nothing, and adds no line
    lines = len((result.folder / "samples.jsonl").read_text().splitlines())
    rescore(result.folder, load(result.folder / "recipe.resolved.yaml", {"eval.scores": ["f1", "rouge_l"]}))
    assert len((result.folder / "samples.jsonl").read_text().splitlines()) == lines


def test_a_resumed_run_keeps_its_scores(free):
    first, _ = free(**{"eval.scores": ["f1"]})
    second, engine = free(**{"eval.scores": ["f1"]})
    assert second.folder == first.folder
    assert engine.asked == []
    assert second.metrics.arms["stand"].scores == first.metrics.arms["stand"].scores


def test_names_that_are_not_scorers_are_refused(free):
    with pytest.raises(UsageError, match="unknown scorer `rogue_l`"):
        free(**{"eval.scores": ["rogue_l"]})
    with pytest.raises(UsageError, match="named twice"):
        free(**{"eval.scores": ["f1", "f1"]})


def test_a_pattern_is_one_of_the_recipe_or_of_the_row(free):
    result, _ = free(**{"eval.scores": ["regex"], "eval.pattern": r"(?i)\bcat number \d+"})
    assert result.metrics.arms["stand"].scores["regex"].drop["ec"].value == 1.0
    with pytest.raises(UsageError, match=r"eval\.pattern: '\(' is no pattern"):
        free(**{"eval.scores": ["regex"], "eval.pattern": "("})


def test_a_gold_answer_that_is_no_pattern_is_refused_with_its_row(run, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(
        '{"id": "a", "question": "Which one?", "answer": "ab+"}\n{"id": "b", "question": "And?", "answer": "("}\n'
    )
    overrides = FREE | {"data.path": str(path), "data.id": "id", "eval.scorer": "regex"}
    with pytest.raises(DataError, match=r"b: '\(' is no pattern: missing \)"):
        run(half_wrong, "eval", **{key.replace(".", "__"): value for key, value in overrides.items()})
