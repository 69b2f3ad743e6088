"""Gates: names, verdicts, exit codes, and gates that could never pass."""

from __future__ import annotations

from dataclasses import replace

import pytest
from helpers import synthetic
from helpers.scripted import OVERRIDES
from pydantic import ValidationError

from llmkit import evaluate
from llmkit.errors import GateFailed, GateUndecided, RecipeError, UsageError
from llmkit.measure import gates, statistics
from llmkit.measure.metrics import metrics
from llmkit.recipe import load as load_recipe
from llmkit.recipe.schema import EvalSection, Gate, IntervalSection

FAST = EvalSection(interval=IntervalSection(draws=500))


@pytest.fixture(scope="module")
def measured():
    old = synthetic.samples(questions=300, kept={**synthetic.KEPT, "rop": 0.9})
    return metrics(synthetic.samples(questions=300), FAST, 7, baseline=old)


@pytest.mark.parametrize(
    ("limit", "bound", "expected"),
    [
        ({"min": 0.4}, "low", "pass"),
        ({"min": 0.5}, "low", "undecided"),
        ({"min": 0.6}, "low", "undecided"),
        ({"min": 0.8}, "low", "fail"),
        ({"min": 0.5}, "point", "pass"),
        ({"min": 0.51}, "point", "fail"),
        ({"min": 0.65}, "high", "pass"),
        ({"min": 0.8}, "high", "fail"),
        ({"max": 0.7}, "high", "pass"),
        ({"max": 0.5}, "high", "undecided"),
        ({"max": 0.3}, "high", "fail"),
        ({"max": 0.5}, "point", "pass"),
        ({"max": 0.45}, "low", "pass"),
        ({"max": 0.3}, "low", "fail"),
    ],
)
def test_verdicts(limit, bound, expected):
    assert gates.verdict(Gate(metric="rop.gain", bound=bound, **limit), 0.5, 0.4, 0.7) == expected


def test_a_gate_has_one_limit():
    for limits in ({}, {"min": 0.1, "max": 0.2}):
        with pytest.raises(ValidationError, match="either `min` or `max`"):
            Gate(metric="rop.gain", **limits)


@pytest.mark.parametrize(
    "text", ["rop.gain@ec >= 0.05 low", "stand.drop@ec@0.1 <= 0.2 high", "rop.clean_drop <= 0.03 point"]
)
def test_a_gate_on_the_command_line_reads_as_it_is_written(text):
    gate = Gate(**gates.parse(text))
    assert gates.describe(gate, gate.condition) == text


@pytest.mark.parametrize("text", ["rop.gain", "rop.gain > 0.05", "rop.gain >= much", "rop.gain >= 1.2.3", ""])
def test_an_unreadable_gate_is_a_usage_error(text):
    with pytest.raises(UsageError):
        gates.parse(text)


@pytest.mark.parametrize(
    ("gate", "says"),
    [
        ({"metric": "rop.gian"}, "rop.gain"),
        ({"metric": "gain"}, ".gain"),
        ({"metric": "rob.gain"}, "rop.gain"),
        ({"metric": "rop.gain", "condition": "uci"}, "uic"),
        ({"metric": "rop.clean_drop", "condition": "ec"}, "takes no condition"),
        ({"metric": "stand.gain"}, "measured against"),
    ],
)
def test_names_that_do_not_exist_are_refused_with_the_nearest(measured, gate, says):
    with pytest.raises(UsageError) as caught:
        gates.evaluate([Gate(min=0.0, **gate)], measured)
    assert caught.value.exit_code == 2
    assert says in f"{caught.value.message} {caught.value.hint}"


def test_change_gates_need_a_baseline():
    found = metrics(synthetic.samples(questions=20), FAST, 7)
    with pytest.raises(UsageError, match="stored run"):
        gates.evaluate([Gate(metric="rop.accuracy_change", min=-0.05)], found)


def test_every_metric_is_found(measured):
    for metric in set(gates.METRICS) - set(gates.UNLABELLED):
        (result,) = gates.evaluate([Gate(metric=f"rop.{metric}", min=-5.0)], measured)
        assert result.verdict == "pass", result
        assert result.low <= result.value <= result.high


def test_results_carry_value_interval_and_limit(measured):
    (result,) = gates.evaluate([Gate(metric="rop.gain", condition="ec", min=0.05, bound="low")], measured)
    gain = measured.arms["rop"].gain["ec"]
    assert (result.value, result.low, result.high) == (gain.value, gain.low, gain.high)
    assert result.gate == "rop.gain@ec >= 0.05 low"
    assert result.as_dict()["verdict"] == result.verdict == "pass"


def test_each_condition_is_a_gate_of_its_own(measured):
    results = gates.evaluate([Gate(metric="stand.drop", condition="each", max=0.2)], measured)
    assert [r.condition for r in results] == ["ec", "sc", "woo", "hw", "uic"]
    assert {r.condition: r.verdict for r in results}["uic"] == "fail"


def test_failing_goes_before_undecided():
    found = metrics(synthetic.samples(questions=40, loss={"ec": 0.0}, conditions=["ec"]), FAST, 7)
    null = Gate(metric="rop.recovery", condition="ec", min=0.5)
    (undecided,) = gates.evaluate([null], found)
    assert undecided.verdict == "undecided"
    assert "includes 0" in undecided.reason
    with pytest.raises(GateUndecided) as caught:
        gates.enforce([undecided])
    assert caught.value.exit_code == 5
    assert "without a value" in caught.value.hint
    with pytest.raises(GateUndecided) as caught:
        gates.enforce([undecided.model_copy(update={"value": 0.5, "low": 0.2, "high": 0.8})])
    assert caught.value.hint is None
    with pytest.raises(GateFailed, match="1 of 2") as caught:
        gates.enforce(gates.evaluate([null, Gate(metric="rop.accuracy", min=0.99)], found))
    assert caught.value.exit_code == 3
    gates.enforce(gates.evaluate([Gate(metric="rop.accuracy", min=0.1)], found))


def test_non_inferiority_against_a_stored_run(measured):
    better = Gate(metric="rop.drop_change", max=-0.01, bound="high")  # the drop got smaller by more than a point
    unharmed = Gate(metric="stand.accuracy_change", min=-0.02, bound="low")
    assert [r.verdict for r in gates.evaluate([better, unharmed], measured)] == ["pass", "pass"]
    old, new = synthetic.samples(questions=300), synthetic.samples(questions=300, kept={**synthetic.KEPT, "rop": 0.9})
    turned = metrics(new, FAST, 7, baseline=old)
    (worse,) = gates.evaluate([Gate(metric="rop.drop_change", max=0.02, bound="high")], turned)
    assert worse.verdict == "fail"


def test_a_gate_that_could_never_pass_is_refused_with_the_number_needed():
    gate = Gate(metric="rop.clean_drop", max=0.03)
    needed = gates.questions_needed(gate)
    # Bonett and Price's pair with no disagreement: 1.96 sqrt(2) / n <= .03, and a little for the halves' chance sizes
    assert 92 <= needed <= 100
    with pytest.raises(RecipeError, match=f"needs {needed}"):
        gates.refuse_hopeless([gate], 50)
    gates.refuse_hopeless([gate, Gate(metric="rop.recovery", min=0.5)], needed)
    with pytest.raises(RecipeError, match="any number"):
        gates.refuse_hopeless([Gate(metric="rop.accuracy", min=1.0)], 5000)
    # n / (n + z2) >= .99
    assert gates.questions_needed(Gate(metric="rop.accuracy", min=0.99)) == 381
    assert gates.questions_needed(Gate(metric="rop.accuracy", min=0.99, bound="point")) == 1
    assert gates.questions_needed(Gate(metric="rop.accuracy_change", min=-0.03)) == needed
    assert gates.questions_needed(Gate(metric="rop.gain", min=0.05)) <= 7
    # A clean accuracy that must not merely hold but rise can, if the arm turns wrong answers right.
    assert gates.questions_needed(Gate(metric="rop.clean_drop", max=0.0)) <= 7
    assert gates.questions_needed(Gate(metric="rop.accuracy_change", min=0.0)) <= 7


def test_templates_are_counted_too():
    gate = Gate(metric="rop.clean_drop", max=0.03)
    needed = gates.questions_needed(gate, size=38)
    with pytest.raises(RecipeError, match=rf"from 13 templates .*{needed // 38} templates of this size \({needed} q"):
        gates.refuse_hopeless([gate], 13 * 38, templates=13)
    gates.refuse_hopeless([gate], needed, templates=needed // 38)
    with pytest.raises(RecipeError, match="it needs 6 templates"):
        gates.refuse_hopeless([Gate(metric="rop.gain", min=0.0)], 400, templates=4)
    assert gates.questions_needed(Gate(metric="rop.accuracy", min=0.5), size=20) < 20 * 13


@pytest.mark.usefixtures("opens")
def test_a_run_says_how_many_templates_a_test_takes():
    recipe = load_recipe(None, OVERRIDES | {"data.limit": 2000}).recipe
    planned = evaluate.plan(recipe, "eval")
    few = replace(planned, questions=[replace(q, cluster=f"t{i % 4}") for i, q in enumerate(planned.questions)])
    assert "too few to show any gain: that takes 6 templates" in few.remarks()[0]
    assert statistics.clusters_needed(5) == 8


def test_the_careful_end_is_the_default_and_point_must_be_written():
    assert Gate(metric="rop.gain", min=0.0).bound == "low"
    assert Gate(metric="rop.clean_drop", max=0.03).bound == "high"
    assert Gate(metric="rop.clean_drop", max=0.03, bound=None).bound == "high"
    assert Gate(metric="rop.gain", min=0.0, bound="point").bound == "point"
    assert Gate(**gates.parse("stand.drop@ec <= 0.2")).bound == "high"


def test_an_undecided_gate_says_what_would_decide_it():
    for per_template, what in ((1, "more questions would let it"), (25, "more templates of 25 questions would let it")):
        rows = synthetic.samples(questions=300, conditions=["ec"], per_template=per_template)
        found = metrics(rows, FAST, 7)
        gain = found.arms["rop"].gain["ec"]
        for limit, then in ((gain.value - 0.005, "pass"), (gain.value + 0.005, "fail")):
            (result,) = gates.evaluate([Gate(metric="rop.gain", condition="ec", min=limit)], found)
            assert result.verdict == "undecided"
            assert f"{what} {then}" in result.reason
            with pytest.raises(GateUndecided, match="more"):
                gates.enforce([result])


def test_a_gain_that_is_none_passes_seldom():
    """`rop.gain >= 0` passed in half of the runs without any gain while the point decided."""
    gate, passed = Gate(metric="rop.gain", min=0.0), 0
    for seed in range(60):
        rows = synthetic.samples(
            questions=60, arms=["stand", "rop"], conditions=["ec"], kept={"stand": 1, "rop": 1}, seed=seed
        )
        passed += gates.evaluate([gate], metrics(rows, FAST, 7))[0].verdict == "pass"
    assert passed <= 6


def test_the_number_needed_is_what_a_perfect_run_passes_with():
    gate = Gate(metric="rop.clean_drop", max=0.05)
    needed = gates.questions_needed(gate)
    for n, expected in ((needed, "pass"), (needed - 1, "undecided")):
        found = metrics(synthetic.samples(questions=n, conditions=["ec"]), FAST, 7)
        assert gates.evaluate([gate], found)[0].verdict == expected
