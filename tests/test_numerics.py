"""The numerical routines against scipy's, which the development installation has."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.numerics import root, student_t


@settings(deadline=None)  # the first call imports scipy
@given(probability=st.floats(0.5, 0.9999), freedom=st.floats(1, 100_000))
def test_students_quantile_is_scipys(probability, freedom):
    from scipy.special import stdtrit

    assert student_t(probability, freedom) == pytest.approx(float(stdtrit(freedom, probability)), rel=1e-9, abs=1e-12)


@given(crossing=st.floats(-0.99, 0.99), steep=st.floats(0.1, 100), shape=st.sampled_from([math.atan, math.tanh, float]))
def test_the_root_is_where_the_function_crosses_zero(crossing, steep, shape):
    found = root(lambda x, slope: -shape(slope * (x - crossing)), -1.0, 1.0, steep)
    assert found == pytest.approx(crossing, abs=1e-12)


def test_the_root_costs_no_more_evaluations_than_brents():
    from scipy.optimize import brentq

    calls = []

    def falling(x, shift):
        calls.append(x)
        return math.exp(-3 * x) - shift

    shifts = [0.06 + 0.09 * k for k in range(10)]
    expected = [float(brentq(falling, 0, 1, args=(shift,), xtol=1e-12)) for shift in shifts]
    brents = len(calls)
    calls.clear()
    assert [root(falling, 0, 1, shift) for shift in shifts] == pytest.approx(expected, abs=2e-12)
    assert len(calls) <= brents
