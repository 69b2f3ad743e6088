"""Statistics against hand-computed values, scipy and statsmodels, and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmkit.evaluate import statistics


@pytest.mark.parametrize(("k", "n"), [(0, 20), (20, 20), (1, 10), (160, 254), (147, 254), (499, 1000)])
def test_wilson_is_scipys(k, n):
    from scipy.stats import binomtest

    expected = binomtest(k, n).proportion_ci(0.95, "wilson")
    assert statistics.wilson(k, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_wilson_of_the_papers_aqua():
    # rop.md 3.1: AQuA, n = 254, RoP 63.0 has [56.9, 68.7], Stand 57.9 has [51.8, 63.8]
    assert [round(100 * x, 1) for x in statistics.wilson(160, 254)] == [56.9, 68.7]
    assert [round(100 * x, 1) for x in statistics.wilson(0.579 * 254, 254)] == [51.8, 63.8]


@given(st.integers(1, 500), st.data())
def test_wilson_has_a_width_and_holds_the_rate(n, data):
    k = data.draw(st.integers(0, n))
    low, high = statistics.wilson(k, n)
    assert 0 <= low <= k / n <= high <= 1
    assert high - low > 0.001


@pytest.mark.parametrize(("b", "c"), [(0, 0), (9, 1), (6, 6), (30, 12), (0, 15), (120, 80)])
def test_mcnemar_is_statsmodels(b, c):
    from statsmodels.stats.contingency_tables import mcnemar

    expected = mcnemar([[10, b], [c, 10]], exact=True).pvalue if b + c else 1.0
    assert statistics.mcnemar(b, c) == pytest.approx(expected)


def test_mcnemar_by_hand():
    # 8 against 2 of 10: 2 * (1 + 10 + 45) / 1024
    assert statistics.mcnemar(8, 2) == pytest.approx(112 / 1024)


def test_flipping_all_signs_of_single_pairs_is_mcnemars_test():
    for b, c in ((8, 2), (5, 0), (3, 7)):
        pairs = np.array([1.0] * b + [-1.0] * c)[:, None]
        assert statistics.sign_flip(pairs, 0, 0)[0] == pytest.approx(statistics.mcnemar(b, c))
    many = np.array([1.0] * 30 + [-1.0] * 14 + [0.0] * 60)[:, None]
    assert statistics.sign_flip(many, 20_000, 3)[0] == pytest.approx(statistics.mcnemar(30, 14), abs=0.006)


def test_flipping_clusters_does_not_count_repeats_as_evidence():
    # one template whose 40 copies all got better is one observation, not 40
    values = np.array([[40.0], [0.0], [0.0], [-1.0]])
    assert statistics.sign_flip(values, 0, 0)[0] == 1.0
    assert statistics.mcnemar(40, 1) < 1e-9


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_statsmodels(p):
    from statsmodels.stats.multitest import multipletests

    ours = statistics.holm(dict(enumerate(p)))
    assert list(ours) == list(range(len(p)))
    assert list(ours.values()) == pytest.approx(list(multipletests(p, method="holm")[1]))


def test_minimum_detectable_effect_inverts_power():
    effect = statistics.minimum_detectable_effect(500, discordance=0.2)
    # (1.959964 sqrt(.2) + .841621 sqrt(.2 - d^2))^2 / d^2 = 500 at d = .0556
    assert effect == pytest.approx(0.0556, abs=5e-4)
    assert statistics.power(effect, 500, 0.2) == pytest.approx(0.8, abs=1e-6)
    assert statistics.minimum_detectable_effect(5) is None  # 2 x .5^5 > .05: the exact test finds nothing
    few = statistics.minimum_detectable_effect(25)  # more than .2 must change, so all that change are the difference
    assert statistics.power(few, 25, few) == pytest.approx(0.8, abs=1e-6)
    assert statistics.minimum_detectable_effect(2000, 0.2) < effect


def test_power_agrees_with_simulated_mcnemar_tests():
    rng = np.random.default_rng(5)
    n, better, worse = 200, 0.2, 0.08
    counts = rng.multinomial(n, [better, worse, 1 - better - worse], size=2000)
    found = np.mean([statistics.mcnemar(int(b), int(c)) <= 0.05 for b, c, _ in counts])
    assert statistics.power(better - worse, n, better + worse) == pytest.approx(found, abs=0.06)


def test_bonett_price_by_hand():
    # b = 9, c = 1, n = 100: (10 - 2) / 102 +- 1.959964 sqrt((12/102 - (8/102)^2) / 102)
    low, high = statistics.bonett_price(9, 1, 100)
    assert (low, high) == pytest.approx((0.013634, 0.143229), abs=1e-5)
    assert statistics.bonett_price(0, 0, 100) == pytest.approx((-0.027175, 0.027175), abs=1e-6)


def test_bootstrap_standard_error_is_that_of_the_mean():
    values = np.random.default_rng(1).normal(size=400)
    for clusters, size in ((np.arange(400), 1), (np.repeat(np.arange(80), 5), 5)):
        sums = np.bincount(clusters, values)[:, None]
        replicates = statistics.bootstrap_means(sums, np.full_like(sums, size), 4000, 2)
        means = sums[:, 0] / size
        assert replicates.std(ddof=1) == pytest.approx(means.std(ddof=1) / math.sqrt(len(means)), rel=0.1)


def test_bootstrap_agrees_with_scipys():
    from scipy.stats import bootstrap

    values = np.random.default_rng(4).choice([-1.0, 0.0, 1.0], 150, p=[0.1, 0.6, 0.3])
    ours = statistics.difference(values, np.arange(150), draws=5000)
    theirs = bootstrap((values,), np.mean, n_resamples=5000, method="percentile", rng=1)
    assert ours.method == "bootstrap"
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs.confidence_interval), abs=0.02)
    assert ours.se == pytest.approx(theirs.standard_error, rel=0.1)


def test_memory_blocks_change_nothing(monkeypatch):
    sums, counts = np.random.default_rng(2).random((30, 3)), np.ones((30, 3))
    whole = statistics.bootstrap_means(sums, counts, 500, 7)
    monkeypatch.setattr(statistics, "_CHUNK", 90)
    assert np.allclose(statistics.bootstrap_means(sums, counts, 500, 7), whole)


@pytest.mark.parametrize(
    ("clusters", "size", "better", "worse"),
    [
        (20, 1, 0.05, 0.3),
        (50, 1, 0.02, 0.1),
        (200, 1, 0.0, 0.02),
        (200, 1, 0.05, 0.3),
        (12, 5, 0.05, 0.3),
        (40, 5, 0.02, 0.1),
        (13, 38, 0.0, 0.02),
        (13, 38, 0.02, 0.02),
    ],
)
def test_intervals_of_differences_cover_as_often_as_they_say(clusters, size, better, worse):
    rng = np.random.default_rng(clusters * size)
    labels, held, runs = np.repeat(np.arange(clusters), size), 0, 250
    for seed in range(runs):
        values = rng.choice([1.0, -1.0, 0.0], (clusters, size), p=[better, worse, 1 - better - worse])
        alike = rng.random(clusters) < (0.3 if size > 1 else 0)  # some templates answer all their questions alike
        values[alike] = values[alike, :1]
        found = statistics.difference(values.ravel(), labels, draws=600, seed=seed)
        held += found.low <= better - worse <= found.high
    assert held / runs >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / runs)


def test_recovery_intervals_cover():
    rng = np.random.default_rng(9)
    held = bounded = 0
    for _ in range(600):
        # stand: clean .8, noisy .5; the arm wins back two thirds of what was lost
        clean = rng.random(150) < 0.8
        noisy = clean & (rng.random(150) < 0.625)
        arm = noisy | (clean & (rng.random(150) < 2 / 3))
        found = statistics.ratio(arm * 1.0 - noisy, clean * 1.0 - noisy, np.arange(150))
        if found:
            bounded += 1
            held += found[1] <= 2 / 3 <= found[2]
    assert bounded == 600
    assert held / bounded >= 0.93


def test_recovery_intervals_cover_few_clusters_of_many_questions():
    """And are no wider than the clusters make them: adding whole clusters to the variance gave four times the width."""
    rng = np.random.default_rng(11)
    held = bounded = 0
    widths = []
    labels = np.repeat(np.arange(13), 38)
    for _ in range(300):
        clean = rng.random(494) < np.repeat(rng.beta(2, 1, 13), 38)
        noisy = clean & (rng.random(494) < 0.625)
        arm = noisy | (clean & (rng.random(494) < 2 / 3))
        found = statistics.ratio(arm * 1.0 - noisy, clean * 1.0 - noisy, labels)
        if found:
            bounded += 1
            held += found[1] <= 2 / 3 <= found[2]
            widths.append(found[2] - found[1])
    assert bounded == 300
    assert held / bounded >= 0.93
    assert np.median(widths) < 0.6


def test_few_disagreements_in_few_clusters_are_no_unknown():
    values = np.zeros(500)
    values[[3, 170, 420]] = 1, -1, -1
    found = statistics.difference(values, np.arange(500) // 39)
    assert found.method == "bonett_price"
    assert -0.05 < found.low < found.value < found.high < 0.05
    together = np.zeros(500)
    together[:39] = -1  # one template of thirteen, as a whole
    assert statistics.difference(together, np.arange(500) // 39).low < -0.2


def test_fieller_by_hand():
    # independent means 1 and 2, both with variance .01, as a quadratic: (4 - .01 t2) r^2 - 4 r + (1 - .01 t2) = 0
    n = 20_000
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=n), rng.normal(size=n)
    x, y = (x - x.mean()) / x.std(), (y - y.mean()) / y.std()
    y = (y - (x @ y) / n * x) / np.sqrt(1 - ((x @ y) / n) ** 2)
    value, low, high = statistics.ratio(1 + x * math.sqrt(0.01 * n), 2 + y * math.sqrt(0.01 * n), np.arange(n))
    t2 = 1.959964**2
    a, b, c = 4 - 0.01 * t2, 2.0, 1 - 0.01 * t2
    root = math.sqrt(b * b - a * c)
    assert (value, low, high) == pytest.approx((0.5, (b - root) / a, (b + root) / a), rel=1e-3)


def test_ratio_has_no_interval_where_the_denominator_may_be_zero():
    rng = np.random.default_rng(3)
    assert statistics.ratio(rng.normal(size=30), rng.normal(size=30), np.arange(30)) is None
    assert statistics.ratio(np.full(3, np.nan), np.ones(3), np.arange(3)) is None


@given(st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=1, max_size=60), st.integers(1, 8))
def test_clustered_questions_are_worth_no_more_than_themselves_and_no_less_than_their_clusters(values, size):
    labels = np.arange(len(values)) // size
    clusters = int(labels[-1]) + 1
    residuals = np.array(values) - np.mean(values)
    assert clusters <= statistics.effective_size(residuals, labels) <= len(values)
    assert clusters <= statistics.worth(len(values), clusters) <= len(values)


@given(st.integers(1, 60), st.sampled_from([-1.0, 0.0, 1.0]), st.integers(1, 4))
def test_no_interval_has_zero_width(n, value, size):
    found = statistics.difference(np.full(n, value), np.arange(n) // size, draws=100)
    assert found.low <= found.value == value <= found.high
    assert found.high - found.low > 0.01
    rate = statistics.rate(np.full(n, float(value > 0)), np.ones(n), np.arange(n) // size, n)
    assert rate[2] - rate[1] > 0.01


def test_perfect_recovery_still_has_a_width():
    lost = np.array([1.0] * 20 + [0.0] * 80)
    value, low, high = statistics.ratio(lost, lost, np.arange(100))
    assert value == 1.0
    assert high - low > 0.2


def test_rate_is_wilson_for_lone_questions_and_wider_for_clusters():
    hits = np.array([1.0] * 30 + [0.0] * 20)
    lone = statistics.rate(hits, np.ones(50), np.arange(50), 50)
    assert lone[1:] == pytest.approx(statistics.wilson(30, 50))
    clustered = statistics.rate(hits, np.ones(50), np.arange(50) // 5, 50)
    assert clustered[2] - clustered[1] > 1.8 * (lone[2] - lone[1])


def test_chance_by_kind():
    assert statistics.chance("C", ["a", "b", "c", "d", "e"]) == 0.2
    assert statistics.chance("no") == 0.5
    assert statistics.chance("42") == 0.0
