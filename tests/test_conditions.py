"""`Condition` reads and writes every name that runs have had."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmkit.conditions import POOLED, REPLICATE, Condition

RATES = st.floats(0, 1).map(lambda x: float(f"{x:g}"))


@pytest.mark.parametrize(
    ("name", "condition"),
    [
        ("clean", Condition("clean")),
        ("clean#2", Condition("clean", replicate=2)),
        ("ec@0.3", Condition("ec", 0.3)),
        ("nlpaug:keyboard@1e-05", Condition("nlpaug:keyboard", 1e-05)),
        ("file:clean#2.csv|ec", Condition("file:clean#2.csv|ec")),
        ("all but ec", Condition(POOLED, held_out="ec")),
        ("mix(ec:0.7,sc:0.3)", Condition("mix(ec:0.7,sc:0.3)")),
    ],
)
def test_a_name_is_read_and_written(name, condition):
    assert Condition.parse(name) == condition
    assert str(condition) == name


@given(st.text())
def test_every_string_is_the_name_of_a_condition(name):
    condition = Condition.parse(name)
    assert Condition.parse(str(condition)) == condition


@given(st.sampled_from(["ec", "chars:4", "mix(ec,sc)", "file:a@b|ec"]), RATES)
def test_a_rate_survives(spec, rate):
    assert Condition.parse(str(Condition(spec, rate))) == Condition(spec, rate)


def test_strength_is_stated_by_a_rate_or_by_the_operator():
    assert Condition.parse("ec@0.1").strength == ("ec", 0.1)
    assert Condition.parse("chars:4").strength == Condition.parse("chars(4)").strength == ("chars", 4.0)
    assert Condition.parse("nlpaug:keyboard@0.1").strength == ("nlpaug:keyboard", 0.1)
    assert Condition.parse("clean").strength is Condition.parse("mix(ec:0.7,sc:0.3)").strength is None


def test_clean_and_strength_zero_are_not_noisy():
    assert not any(Condition.parse(name).noisy for name in ("clean", REPLICATE, "ec@0", "chars:0"))
    assert Condition.parse("ec").noisy
    assert Condition.parse("ec@0.1").noisy
