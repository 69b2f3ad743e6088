"""A run with looks (`eval.looks`) stops once its gates are decided, at the same look however often it is resumed."""

from __future__ import annotations

import json
import re
import zlib

import pytest

from llmkit.errors import Incomplete, UsageError
from llmkit.evaluate import estimate, plan, rescore
from llmkit.measure.results import Metrics
from llmkit.recipe import load

ROWS = 200
DROP = {"metric": "stand.drop", "max": 0.15}


def text_of(row):
    return f"Box {row} holds {row} green apples and receives {row % 7} more. How many apples are in the box afterwards?"


CLEAN = {text_of(row): str(row + row % 7) for row in range(ROWS)}


def apples(lost):
    """Answers clean rows rightly, and so many of a hundred noisy ones wrongly."""

    def answer(request):
        text = request.messages[-1].content.rpartition("Question: ")[2]
        row, more = (int(re.findall(r"\d+", text)[i]) for i in (0, 2))
        wrong = text not in CLEAN and zlib.crc32(str(row).encode()) % 100 < lost
        return f"The answer is {-1 if wrong else row + more}"

    return answer


@pytest.fixture
def looks(run, tmp_path):
    """looks(lost, **overrides) -> (Result, engine) of an eval of ROWS rows with five looks."""
    file = tmp_path / "apples.jsonl"
    rows = ({"question": text, "answer": gold} for text, gold in CLEAN.items())
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    mine = {
        "data__task": None, "data__path": str(file), "data__kind": "numeric", "data__limit": None, "data__split": "all",
        "perturb__conditions": ["typing"], "perturb__rate": 0.5, "eval__looks": 5, "eval__gates": [DROP],
    }  # fmt: skip
    return lambda lost, **more: run(apples(lost), "eval", **{**mine, **more})


def test_a_clear_verdict_stops_the_run(looks):
    result, engine = looks(60)
    metrics = result.metrics
    assert [gate.verdict for gate in result.gates] == ["fail"]
    assert metrics.looks.stopped
    assert metrics.looks.asked == metrics.questions == metrics.looks.number * ROWS // 5 < ROWS
    assert len(engine.asked) == len(result.samples) == 2 * metrics.questions
    assert metrics.level == 0.95 < metrics.looks.nominal
    assert Metrics.read(result.folder / "metrics.json").looks == metrics.looks
    page = (result.folder / "report.html").read_text()
    assert f"Stopped at look {metrics.looks.number} of 5: {metrics.questions} of 200 questions asked" in page
    assert "lean towards what made it stop" in page
    whole = looks(60, eval__looks=1, output__name="whole", use_cache=False)[0].metrics
    assert whole.looks is None
    stopped, fixed = metrics.arms["stand"].drop["typing"], whole.arms["stand"].drop["typing"]
    assert stopped.high - stopped.low > fixed.high - fixed.low


def test_an_unclear_one_asks_everything(looks):
    result, engine = looks(15)
    assert result.metrics.looks.number == result.metrics.looks.of == 5
    assert len(engine.asked) == 2 * ROWS
    assert "Look 5 of 5, the last: 200 of 200 questions asked" in (result.folder / "report.html").read_text()


def test_all_gates_have_to_be_decided(looks):
    unclear = {"metric": "stand.accuracy", "condition": "typing", "min": 0.4}
    result, _ = looks(60, eval__gates=[DROP, unclear])
    assert not result.metrics.looks.stopped
    assert [gate.verdict for gate in result.gates] == ["fail", "undecided"]


def test_a_gate_by_the_value_alone_stops_only_by_its_interval(looks):
    point = {**DROP, "bound": "point"}
    assert not looks(15, eval__gates=[point])[0].metrics.looks.stopped
    clear, _ = looks(0, eval__gates=[point], output__name="clear", use_cache=False)
    assert clear.metrics.looks.stopped
    assert clear.gates[0].verdict == "pass"


def test_an_interrupted_run_comes_to_the_same_looks(looks):
    whole, engine = looks(40, output__name="whole", use_cache=False)
    assert whole.metrics.looks.stopped
    for budget in range(500, whole.tokens, whole.tokens // 7):
        with pytest.raises(Incomplete):
            looks(40, output__name="parts", use_cache=False, eval__max_tokens_total=budget)
    parts, _ = looks(40, output__name="parts", use_cache=False)
    again, engine = looks(40, output__name="parts", use_cache=False)
    assert engine.asked == []
    for one in (parts, again):
        assert untimed(one.metrics) == untimed(whole.metrics)
        assert one.tokens == whole.tokens


def untimed(metrics):
    return metrics.model_copy(update={"timing": {}}).as_dict()


def test_a_run_that_knows_all_answers_comes_to_the_same_look(looks):
    stopped = looks(60, output__name="stopped", use_cache=False)[0]
    looks(60, output__name="all", eval__looks=1)
    later, engine = looks(60, output__name="all")
    assert engine.asked == []
    assert untimed(later.metrics) == untimed(stopped.metrics)
    # Its journal holds every answer; scoring it again measures those of the look.
    recipe = load(later.folder / "recipe.resolved.yaml")
    assert untimed(rescore(later.folder, recipe).metrics) == untimed(stopped.metrics)


def test_the_rest_can_be_asked_later(looks):
    looks(60)
    whole, engine = looks(60, eval__looks=1)
    assert whole.metrics.questions == ROWS
    assert 0 < len(engine.asked) < 2 * ROWS


def test_a_stopped_run_is_no_baseline(looks):
    stopped, _ = looks(60)
    changed = {"metric": "stand.accuracy_change", "min": -0.1}
    with pytest.raises(UsageError, match=r"stopped at look . of 5, so it cannot be a baseline") as refused:
        looks(60, output__name="later", eval__gates=[changed], eval__baseline=str(stopped.folder))
    assert "eval.looks=1" in refused.value.hint
    whole, _ = looks(60, eval__looks=1)
    assert looks(60, output__name="later", eval__gates=[changed], eval__baseline=str(whole.folder))[0].metrics.looks


def test_shards_and_gateless_runs_have_no_looks(looks):
    with pytest.raises(UsageError, match="shard"):
        looks(60, shard=(1, 2))
    with pytest.raises(UsageError, match="needs gates"):
        looks(60, eval__gates=[])


def test_a_plan_says_what_looks_may_save(looks):
    recipe = load(looks(60)[0].folder / "recipe.resolved.yaml").recipe
    planned = estimate(plan(recipe, "eval"))
    assert planned.looks.startswith("5 looks: at most 200 questions; about 0.")
    assert planned.json()["looks"] == planned.looks
