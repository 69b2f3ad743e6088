"""Alpha spending: boundaries agree with published tables, and the error of all looks is that of one test."""

from __future__ import annotations

import math
from itertools import pairwise
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.measure import spending

FIFTHS = (0.2, 0.4, 0.6, 0.8, 1.0)


@pytest.mark.parametrize(
    ("shares", "alpha", "published"),
    [
        # Reboussin, DeMets, Kim and Lan (2000), Controlled Clinical Trials 21, 190-207; and R's ldbounds.
        (FIFTHS, 0.025, (4.8769, 3.3569, 2.6803, 2.2898, 2.0310)),
        ((0.5, 1.0), 0.025, (2.9626, 1.9686)),
        # The example of SeqBounds.jl, one-sided.
        ((0.25, 0.5, 0.75, 1.0), 0.05, (3.7496, 2.5399, 2.0160, 1.7201)),
    ],
)
def test_boundaries_of_obrien_and_fleming_are_the_published_ones(shares, alpha, published):
    assert spending.boundaries(shares, alpha) == pytest.approx(published, abs=2e-4)


def test_boundaries_of_another_function_are_the_published_ones():
    """Pocock's type, from the same program of Reboussin and others."""

    def pocock(share, alpha):
        return alpha * math.log(1 + (math.e - 1) * share)

    published = (2.4380, 2.4268, 2.4101, 2.3966, 2.3859)
    assert spending.boundaries(FIFTHS, 0.025, pocock) == pytest.approx(published, abs=2e-4)


def shares_of_looks():
    return st.lists(st.floats(0.05, 0.95), max_size=6, unique=True).map(
        lambda xs: (*sorted(round(x, 3) for x in xs), 1.0)
    )


@settings(max_examples=30, deadline=None)
@given(shares=shares_of_looks(), level=st.sampled_from((0.8, 0.95, 0.99)))
def test_levels_are_stricter_than_one_test_and_relax(shares, level):
    shares = sorted(set(shares))
    levels = spending.levels(shares, level)
    assert all(one >= level - 1e-9 for one in levels)
    spent = [spending.obrien_fleming(share, (1 - level) / 2) for share in shares]
    assert all(before <= after for before, after in pairwise(spent))
    # No look spends more on its own than is allowed by then.
    assert all((1 - one) / 2 <= allowed + 1e-9 for one, allowed in zip(levels, spent, strict=True))


def test_levels_of_earlier_looks_do_not_depend_on_later_ones():
    for looks in (1, 2, 4):
        assert spending.levels(FIFTHS[:looks], 0.95) == pytest.approx(spending.levels(FIFTHS, 0.95)[:looks])


def test_200_000_paths_pass_a_boundary_as_often_as_is_allowed():
    ends = np.array(spending.boundaries(FIFTHS, 0.025))
    steps = np.random.default_rng(1).normal(size=(200_000, 5)) * math.sqrt(0.2)
    deviates = steps.cumsum(1) / np.sqrt(FIFTHS)
    passed = (deviates >= ends).any(1).mean()
    assert abs(passed - 0.025) < 4 * math.sqrt(0.025 * 0.975 / 200_000)
    drift = 2.5
    moved = np.abs(deviates + drift * np.sqrt(FIFTHS)) >= ends
    first = np.where(moved.any(1), moved.argmax(1), 4)
    shares = np.bincount(first, minlength=5) / 200_000
    assert spending.stops(FIFTHS, tuple(ends), drift) == pytest.approx(shares, abs=0.005)


@pytest.mark.parametrize("shares", [FIFTHS, (0.5, 1.0), tuple(k / 10 for k in range(1, 11))])
def test_one_sided_ends_at_the_levels_of_looks_err_no_more_than_one(shares):
    """`lost_at_most` has an upper end that holds with the level alone: its error at a look is twice that of an end of
    an interval, and in all no more than what the level leaves."""
    ends = [NormalDist().inv_cdf(level) for level in spending.levels(shares, 0.95)]
    steps = np.random.default_rng(2).normal(size=(100_000, len(shares)))
    paths = (steps * np.sqrt(np.diff(shares, prepend=0))).cumsum(1) / np.sqrt(shares)
    assert (paths >= ends).any(1).mean() <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 100_000)
