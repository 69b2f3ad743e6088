"""Rows without answers: what changed, what can have gone wrong at most, and what a repair brings back."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from helpers.unlabelled import CONDITIONS, FAST, LABELS, answer, measured, repaired, run
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.errors import UsageError
from llmkit.measure import bounds, doubts, gates, limits, missing
from llmkit.measure.stability import Assumed
from llmkit.recipe.schema import Gate


def test_changes_under_noise_and_by_themselves_are_counted_apart():
    found = measured(run("AABB", "AAAA", "ABAA", "AAAA", "AACC")).arms["stand"]
    stable = found.stability["typing"]
    assert stable.changed.value == 0.4
    assert stable.kinds == {"label": 2}
    assert stable.itself.value == 0.1  # one of ten texts asked twice
    assert found.repeated["clean"].value == 0.2
    assert found.repeated["typing"].value == 0
    assert stable.lost_at_most.value == stable.changed.value
    assert stable.lost_at_most.high > stable.changed.value
    # twice 0.4, less the 0.2 of the rows as sent that change by themselves
    assert stable.effect.value == pytest.approx(0.6)
    assert (stable.effect.n, stable.n) == (5, 5)


def test_an_engine_that_changes_by_itself_alone_has_no_effect():
    rows = [("AABA", "ABAA", "AAAB", "BAAA")[i % 4] for i in range(60)]
    effect = measured(run(*rows)).arms["stand"].stability["typing"].effect
    assert effect.value == 0
    assert effect.low < 0 < effect.high
    assert effect.p > 0.3


def test_noise_that_turns_answers_has_an_effect():
    effect = measured(run(*["AABB" if i % 3 else "AAAA" for i in range(60)])).arms["stand"].stability["typing"].effect
    assert effect.low > 0
    assert effect.p < 0.01


def test_rows_without_all_four_answers_take_no_part_in_the_test_of_an_effect():
    stable = measured(run("AABB", ("A", None, "B", "B"), "AAB")).arms["stand"].stability["typing"]
    assert stable.n == 3
    assert stable.effect.n == 1


def test_failed_calls_count_as_changed():
    stable = measured(run("AAAA", ("A", "A", None, "A"))).arms["stand"].stability["typing"]
    assert stable.changed.value == stable.lost_at_most.value == 0.5
    assert stable.kinds == {"failed": 1}
    best = measured(run("AAAA", ("A", "A", None, "A")), Assumed(stand=False)).arms["stand"].stability["typing"]
    assert best.changed.value == best.lost_at_most.value == 0


def test_only_other_facts_are_a_change_of_free_text():
    cost = "Your order ships on March {}rd and costs $20 in all, as agreed."
    replies = [
        (cost.format(3), cost.format(23)),
        ("You can return the shoes within 30 days.", "Within 30 days, you can return the shoes."),
    ]
    rows = [
        answer(i, condition, said, kind="text")
        for i, pair in enumerate(replies)
        for condition, said in zip(("clean", "typing"), pair, strict=True)
    ]
    stable = measured(rows).arms["stand"].stability["typing"]
    assert stable.changed.value == 0.5
    assert stable.wording.value == 0.5
    assert stable.kinds == {"date": 1}
    assert stable.lost_at_most is None


def test_free_text_whose_answers_are_labels_has_a_bound():
    stable = measured(run(("billing",) * 4, ("billing", "billing", "returns", "returns"), kind="text")).arms["stand"]
    assert stable.stability["typing"].lost_at_most.value == 0.5


def test_copies_of_one_row_weigh_as_one_row():
    rows = [answer(0, "clean", "A"), answer(1, "clean", "A"), answer(1, "typing", "A")]
    rows += [answer(0, "typing", "AB"[draw % 2], draw=draw) for draw in range(4)]
    assert measured(rows).arms["stand"].stability["typing"].changed.value == 0.25


def test_rows_that_belong_together_are_one_cluster():
    lone = [("A", "A", "AB"[i % 5 == 0]) for i in range(60)]
    alone = measured(run(*lone)).arms["stand"].stability["typing"]
    together = [
        replace(s, outcome=replace(s.outcome, cluster_id=f"c{int(s.outcome.question_id[1:]) // 15}"))
        for s in run(*lone)
    ]
    clustered = measured(together).arms["stand"].stability["typing"]
    assert clustered.changed.value == alone.changed.value
    assert clustered.lost_at_most.high > alone.lost_at_most.high


FRACTIONS = st.fractions(0, 1, max_denominator=7)
ANSWERS = st.sampled_from([*LABELS, None, "failed"])


@settings(deadline=None)  # the machine may be busy
@given(
    rows=st.lists(st.tuples(ANSWERS, ANSWERS), min_size=1, max_size=30),
    worth=st.dictionaries(st.tuples(st.integers(0, 29), st.sampled_from([*LABELS, None])), FRACTIONS),
    labels=st.lists(st.sampled_from(LABELS), min_size=30, max_size=30),
)
def test_no_accuracy_loses_more_than_the_bound_whatever_the_labels(rows, worth, labels):
    samples = [
        answer(i, condition, None if said == "failed" else said, failed=said == "failed")
        for i, pair in enumerate(rows)
        for condition, said in zip(("clean", "typing"), pair, strict=True)
    ]
    bound = measured(samples).arms["stand"].stability["typing"].lost_at_most

    def loss(points):
        """Mean points as sent less mean points under noise; a failed call is worth nothing."""
        lost = [points(i, clean) - points(i, noisy) for i, (clean, noisy) in enumerate(rows)]
        return sum(lost, Fraction()) / len(rows)

    labelled = loss(lambda i, said: Fraction(said == labels[i]))
    any_function = loss(lambda i, said: Fraction() if said == "failed" else worth.get((i, said), Fraction(1, 2)))
    assert max(labelled, any_function) <= bound.value + 1e-6  # as rounded in metrics.json
    assert bound.low <= bound.value <= bound.high


@given(hits=st.integers(0, 60), more=st.integers(0, 60), level=st.sampled_from([0.8, 0.95, 0.99]))
def test_the_upper_end_is_the_rate_that_would_rarely_show_so_few(hits, more, level):
    from math import comb

    n = hits + more
    low, high = bounds.one_sided(hits, n, level)
    if more:
        fewer = sum(comb(n, k) * high**k * (1 - high) ** (n - k) for k in range(hits + 1))
        assert fewer == pytest.approx(1 - level, abs=1e-6)
    else:
        assert high == 1
    assert low == pytest.approx(1 - bounds.one_sided(more, n, level)[1], abs=1e-6)


def test_a_repair_restores_breaks_and_touches():
    arm = measured(repaired("AAAAA", "BBAAB", "ACABA", "AABAA")).arms["spell_fix"]
    repair = arm.repair["typing"]
    assert (repair.restored.value, repair.broken.value, repair.net.value) == (0.4, 0.2, 0.2)
    assert (repair.net.better, repair.net.worse, repair.net.p) == (2, 1, 0.625)
    assert arm.touched.value == 0.2


@settings(deadline=None, max_examples=30)
@given(rows=st.lists(st.tuples(*[st.sampled_from("AB.")] * 3), min_size=1, max_size=12), filling=st.randoms())
def test_no_answer_in_place_of_a_failed_call_lies_outside_what_is_assumed(rows, filling):
    sent, noisy, arm = zip(*rows, strict=True)
    samples = repaired(sent, noisy, arm)
    full = [tuple(filling.choice("AB") if said == "." else said for said in row) for row in rows]
    truth = measured(repaired(*zip(*full, strict=True)))
    for metric in ("restored", "broken", "net", "changed", "lost_at_most", "touched"):
        name = "stand" if metric in ("changed", "lost_at_most") else "spell_fix"
        values = {}
        for way in (False, True):
            found = measured(samples, missing._assumed(metric, way))
            values[way] = _value(found.arms[name], metric)
        assert values[False] - 1e-9 <= _value(truth.arms[name], metric) <= values[True] + 1e-9


def _value(arm, metric):
    if metric == "touched":
        return arm.touched.value
    part = arm.stability if metric in ("changed", "lost_at_most") else arm.repair
    return getattr(part["typing"], metric).value


def test_a_constant_answer_leaves_gates_undecided():
    rows = run(*["AA" + "AB"[i == 0] for i in range(20)])
    section = FAST.model_copy(update={"gates": (Gate(metric="stand.changed", condition="typing", max=0.5),)})
    found = measured(rows, section=section)
    assert found.arms["stand"].conditions["clean"].commonest == 1
    (result,) = gates.evaluate(section.gates, found)
    assert (result.verdict, "eval.max_same" in result.reason) == ("undecided", True)
    varied = measured([*rows, *(answer(i, c, "C") for i in range(20, 40) for c in ("clean", "typing"))])
    (result,) = gates.evaluate(section.gates, varied)
    assert result.verdict == "pass"


def test_agreement_beyond_chance_is_gwets():
    # 3 of 4 pairs agree; shares of A and B are 5/8 and 3/8, so chance is 2 * 15/64
    stable = measured(run("AAA", "AAA", "BBB", "AAB")).arms["stand"].stability["typing"]
    assert stable.agreement == pytest.approx((3 / 4 - 30 / 64) / (1 - 30 / 64), abs=1e-6)


def test_gates_on_accuracy_are_undecided_and_name_what_would_decide_them():
    found = measured(run(*["AAB" if i % 9 else "ABA" for i in range(40)], *["CCC"] * 40))
    for metric in ("accuracy", "drop", "relative_drop"):
        (result,) = gates.evaluate([Gate(metric=f"stand.{metric}", max=0.99, bound="point")], found)
        assert result.verdict == "undecided"
        assert "no answers" in result.reason
        assert ("llmkit label" in result.reason) == (metric == "drop")


def test_gates_know_their_metrics_limits_and_what_cannot_pass():
    known = {"baseline": False, "unlabelled": True}
    gates.validate([Gate(metric="stand.changed", condition="typing", max=0.05)], ["stand"], CONDITIONS, **known)
    with pytest.raises(UsageError, match=r"unknown gate metric `stand\.chnged`") as caught:
        gates.validate([Gate(metric="stand.chnged", max=0.05)], ["stand"], CONDITIONS, **known)
    assert "stand.changed" in caught.value.hint
    with pytest.raises(UsageError, match="unknown condition in the gate"):
        gates.validate([Gate(metric="stand.changed", condition="typing#2", max=0.05)], ["stand"], CONDITIONS, **known)
    with pytest.raises(UsageError, match="rows without answers"):
        gates.validate([Gate(metric="stand.changed", max=0.05)], ["stand"], CONDITIONS, baseline=False)
    with pytest.raises(UsageError, match="against `stand`"):
        gates.validate([Gate(metric="stand.touched", max=0.05)], ["stand"], CONDITIONS, **known)
    with pytest.raises(Exception, match="cannot fail"):
        limits.refuse_idle([Gate(metric="stand.lost_at_most", max=5)])
    strict = Gate(metric="stand.lost_at_most", max=0.03)
    with pytest.raises(Exception, match=r"with 98 questions .* it needs 99"):
        gates.refuse_hopeless([strict], 98)
    gates.refuse_hopeless([strict], 99)


def test_every_unlabelled_metric_has_a_value():
    found = measured(repaired("AAB" * 20, "BAB" * 20, "AAC" * 20))
    for metric in set(gates.UNLABELLED) - set(doubts.OF_A_JUDGE):  # those have one once a judge was asked
        arm = "stand" if metric in ("changed", "lost_at_most") else "spell_fix"
        (result,) = gates.evaluate([Gate(metric=f"{arm}.{metric}", max=1.5)], found)
        assert result.verdict == "pass", result
        assert result.low <= result.value <= result.high
