"""Learn then Test: exact tails, the rows that a limit takes, and the fixed sequence."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, binom

from llmkit.measure import learn_then_test as ltt


@given(rows=st.integers(1, 5000), share=st.floats(0, 1), limit=st.floats(0.0005, 0.3))
def test_the_p_value_is_the_binomial_tail(rows, share, limit):
    harmed = round(share * rows)
    assert ltt.p_value(harmed, rows, limit) == pytest.approx(binom.cdf(harmed, rows, limit), abs=1e-9)


@given(rows=st.integers(1, 5000), share=st.floats(0, 1), confidence=st.sampled_from([0.9, 0.95, 0.99]))
def test_the_upper_end_is_clopper_and_pearsons(rows, share, confidence):
    harmed = round(share * rows)
    exact = 1.0 if harmed == rows else beta.ppf(confidence, harmed + 1, rows - harmed)
    assert ltt.upper(harmed, rows, confidence) == pytest.approx(exact, abs=1e-9)


@given(rows=st.integers(1, 4000), limit=st.floats(0.001, 0.2), confidence=st.sampled_from([0.9, 0.95, 0.99]))
def test_a_threshold_passes_as_long_as_its_upper_end_is_below_the_limit(rows, limit, confidence):
    most = ltt.most_harms(rows, limit, confidence)
    assert most < 0 or ltt.upper(most, rows, confidence) <= limit + 1e-9
    assert ltt.upper(most + 1, rows, confidence) > limit - 1e-9


def test_the_rows_that_a_limit_takes():
    assert ltt.rows_needed(0.005) == 598
    assert ltt.most_harms(598, 0.005) == 0
    assert ltt.most_harms(597, 0.005) == -1
    assert ltt.most_harms(3000, 0.005) == 8
    # Hoeffding and Bentkus, the usual bounds, allow 6 of them.
    assert [ltt.Tested(2.0, 9, harmed, 3000, 0.005, 0.95).passes for harmed in (8, 9)] == [True, False]


@pytest.mark.parametrize(("harm", "rows"), [(0.001, 1258), (0.002, 2366)])
def test_the_rows_for_a_power_of_four_in_five(harm, rows):
    assert ltt.rows_for_power(0.005, harm) == rows
    for count in (rows, rows - 1):
        most = max(k for k in range(30) if binom.cdf(k, count, 0.005) <= 0.05)
        assert bool(binom.cdf(most, count, harm) >= 0.8) is (count == rows)


def test_no_number_of_rows_shows_a_harm_below_itself():
    assert ltt.rows_for_power(0.005, 0.005) is None


def test_the_sequence_ends_with_the_first_threshold_that_fails():
    rarities = np.repeat([3.0, 2.0, 1.0, 0.0], [10, 10, 10, 970])
    harmed = np.zeros(1000, bool)
    harmed[20:22] = True  # at threshold 1
    tested = ltt.fixed_sequence(rarities, harmed, (3.0, 2.0, 1.0, 0.0), 0.005)
    assert [(one.fired, one.harmed, one.passes) for one in tested] == [(10, 0, True), (20, 0, True), (30, 2, False)]
    assert ltt.loosest(tested) == tested[1]


def test_a_later_threshold_that_would_pass_is_never_reached():
    """Harm of this family only grows with looser thresholds; the order holds whatever the counts."""
    harmed = np.ones(700, bool)
    tested = ltt.fixed_sequence(np.full(700, 9.0), harmed, (2.0, 1.0), 0.005)
    assert len(tested) == 1
    assert ltt.loosest(tested) is None


@given(
    rarities=st.lists(st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0, 3.0]), min_size=1, max_size=300),
    limit=st.floats(0.005, 0.4),
    seed=st.integers(0, 99),
)
def test_every_accepted_threshold_has_its_own_evidence(rarities, limit, seed):
    harmed = np.random.default_rng(seed).random(len(rarities)) < 0.2
    tested = ltt.fixed_sequence(np.array(rarities), harmed, (3.0, 2.0, 1.0, 0.5), limit)
    for one in tested[:-1]:
        assert one.passes
        assert one.upper <= limit + 1e-9
    assert all(one.fired == sum(r >= one.threshold for r in rarities) for one in tested)


@pytest.mark.parametrize("thresholds", [(1.0, 2.0), (2.0, 2.0)])
def test_thresholds_in_another_order_are_refused(thresholds):
    with pytest.raises(ValueError, match="strict to loose"):
        ltt.fixed_sequence(np.zeros(3), np.zeros(3, bool), thresholds, 0.1)


def test_rows_without_a_harm_of_their_own_are_refused():
    with pytest.raises(ValueError, match="rarities and"):
        ltt.fixed_sequence(np.zeros(3), np.zeros(2, bool), (1.0,), 0.1)
