"""Macro-F1 as a mean over questions: equal to that of sklearn, with intervals that hold the true value often enough."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmkit.measure import statistics
from llmkit.measure.classes import influences, reach

PRIOR = np.array([0.4, 0.3, 0.2, 0.1])
CLEAN, NOISY = np.array([0.9, 0.8, 0.7, 0.8]), np.array([0.8, 0.6, 0.6, 0.6])  # share of right answers by label


def one_hot(labels):
    return np.eye(len(PRIOR))[labels]


def values(gold, said):
    return influences(one_hot(gold) * one_hot(said), one_hot(said), one_hot(gold))


def true_value(right):
    """Macro-F1 of endless rows; a wrong answer is any other label alike."""
    confusion = np.outer(PRIOR * (1 - right) / 3, np.ones(4)) * (1 - np.eye(4)) + np.diag(PRIOR * right)
    return (2 * np.diag(confusion) / (confusion.sum(0) + confusion.sum(1))).mean()


def drawn(rng, rows, right, gold):
    wrong = (gold + rng.integers(1, 4, rows)) % 4
    return np.where(rng.random(rows) < right[gold], gold, wrong)


@pytest.fixture(scope="module")
def sklearn():
    return pytest.importorskip("sklearn.metrics")


@given(pairs=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30))
def test_the_mean_is_macro_f1(pairs, sklearn):
    gold, said = np.array([*pairs, (0, 0), (1, 2), (2, 1), (3, 3)]).T
    expected = sklearn.f1_score(gold, said, average="macro", labels=range(4))
    assert values(gold, said).mean() == pytest.approx(expected)


def test_one_answer_counts_more_where_a_label_is_rare():
    assert reach(np.array([10.0, 10.0])) == 1.0
    assert reach(np.array([19.0, 1.0])) == pytest.approx(2.294, abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 4])
def test_intervals_hold_the_true_macro_f1_and_its_loss(size):
    """2,000 draws of 160 rows, alone and in groups of four that share half of their luck."""
    rng, rows = np.random.default_rng(11), 160
    truth = [true_value(CLEAN), true_value(CLEAN) - true_value(NOISY)]
    clusters = np.arange(rows) // size
    held = np.zeros(2)
    for _ in range(2000):
        gold = rng.choice(4, rows, p=PRIOR)
        said = [drawn(rng, rows, right, gold) for right in (CLEAN, NOISY)]
        if size > 1:  # half of the rows repeat the first of their group
            first = clusters * size
            alike = rng.random(rows) < 0.5
            gold, said = np.where(alike, gold[first], gold), [np.where(alike, s[first], s) for s in said]
        clean, noisy = (values(gold, s) for s in said)
        weight = reach(np.bincount(gold, minlength=4).astype(float))
        limits = [(0.0, weight), (-weight, weight)]
        means = statistics.contrasts(np.stack([clean, clean - noisy], axis=1), clusters, limits)
        held += [mean.low <= value <= mean.high for mean, value in zip(means, truth, strict=True)]
    assert np.all(np.abs(held / 2000 - 0.95) < 0.02), held / 2000
