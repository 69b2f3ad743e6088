"""Statistics against hand-computed values, scipy and statsmodels, and by simulation."""

from __future__ import annotations

import json
import math
from unittest import mock

import numpy as np
import pytest
from helpers import benchmarks
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.measure import statistics


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
    from scipy.stats import binom
    from statsmodels.stats.contingency_tables import mcnemar

    exact = mcnemar([[10, b], [c, 10]], exact=True).pvalue if b + c else 1.0
    # Fagerland et al. (2013): the exact p less the probability of what was seen, which has no other tail at b = c
    expected = exact - binom.pmf(b, b + c, 0.5) if b != c else 1.0
    assert statistics.mcnemar(b, c) == pytest.approx(expected)


def test_mcnemar_by_hand():
    # 8 against 2 of 10: 2 * (1 + 10 + 45 / 2) / 1024
    assert statistics.mcnemar(8, 2) == pytest.approx(67 / 1024)


def test_mid_p_errs_about_as_often_as_it_says():
    """Exact p erred on .009 to .035 where .05 was meant."""
    from scipy.stats import binom

    for n, share, most in ((50, 0.1, 20), (100, 0.2, 45)):
        erred = 0.0
        for m in range(most):  # the pairs that disagree; half of them better, if there is no difference
            rejected = [b for b in range(m + 1) if statistics.mcnemar(b, m - b) <= 0.05]
            erred += binom.pmf(m, n, share) * binom.pmf(rejected, m, 0.5).sum()
        assert 0.02 < erred < 0.055


def test_mcnemar_counts_what_is_less_likely_and_half_of_what_was_seen():
    for n in range(60):
        for fewer in range(n // 2 + 1):
            twice = 2 * sum(math.comb(n, k) for k in range(fewer)) + math.comb(n, fewer)
            assert statistics.mcnemar(fewer, n - fewer) == min(1.0, twice / 2**n)


def test_mcnemar_of_thousands_of_pairs_agrees_with_the_normal_approximation():
    """No float holds the number of subsets of so many pairs."""
    for better, worse in ((5200, 5000), (900, 860), (600, 590)):
        z = abs(better - worse) / (better + worse) ** 0.5
        assert statistics.mcnemar(better, worse) == pytest.approx(math.erfc(z / 2**0.5), abs=2e-4)
    assert statistics.mcnemar(4000, 2000) < 1e-100


def test_flipping_all_signs_of_single_pairs_is_mcnemars_exact_test():
    from scipy.stats import binomtest

    for b, c in ((8, 2), (5, 0), (3, 7)):
        pairs = np.array([1.0] * b + [-1.0] * c)[:, None]
        assert statistics.sign_flip(pairs, 0, 0)[0] == pytest.approx(binomtest(b, b + c).pvalue)
    many = np.array([1.0] * 30 + [-1.0] * 14 + [0.0] * 60)[:, None]
    assert statistics.sign_flip(many, 20_000, 3)[0] == pytest.approx(binomtest(30, 44).pvalue, abs=0.006)


def test_flipping_clusters_does_not_count_repeats_as_evidence():
    # one template whose 40 copies all got better is one observation, not 40
    values = np.array([[40.0], [0.0], [0.0], [-1.0]])
    assert statistics.sign_flip(values, 0, 0)[0] == 1.0
    assert statistics.mcnemar(40, 1) < 1e-9


@pytest.mark.slow
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_statsmodels(p):
    from statsmodels.stats.multitest import multipletests

    ours = statistics.holm(dict(enumerate(p)))
    assert list(ours) == list(range(len(p)))
    with mock.patch("gc.collect"):  # statsmodels collects garbage in each call: seconds in a process that holds torch
        _, theirs, *_ = multipletests(p, method="holm")
    assert list(ours.values()) == pytest.approx(list(theirs))


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


def test_the_interval_is_what_random_halves_of_the_clusters_allow():
    """Against the definition, by counting all subsets: an end is the nearest that any size of cluster gives."""
    sums, counts = np.array([3.0, 1, 0, -2, 5, 2, 0, 1]), np.array([9.0, 5, 7, 6, 9, 8, 4, 5])
    low, high = statistics.mean_interval(sums, counts)
    subsets = (np.arange(2**8)[:, None] >> np.arange(8)) & 1
    normal = np.random.default_rng(0).normal(0, 1 / math.sqrt(2), (4000, 1))

    def beyond(sign, end, size):
        halves = subsets @ (sign * sums - end * np.minimum(counts, size))
        return (halves + statistics.clump(size) * normal >= 0).mean() + 2.0**-9

    sizes = [2 ** (k / 2) for k in range(8)]
    assert min(beyond(1, high, size) for size in sizes) == pytest.approx(0.025, abs=1.5e-3)
    assert min(beyond(-1, -low, size) for size in sizes) == pytest.approx(0.025, abs=1.5e-3)


def test_the_interval_is_students_where_clusters_are_many_and_differ():
    values = np.random.default_rng(1).normal(0.1, 0.3, 400).clip(-1, 1)
    low, high = statistics.mean_interval(values * 50, np.full(400, 50.0))
    half = 1.966 * values.std(ddof=1) / math.sqrt(400)
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.15 * half)


def test_the_interval_agrees_with_mcnemars_mid_p_but_at_the_edge():
    n = 200
    for better in range(31):
        for worse in range(0, 31, 3):
            values = np.r_[np.ones(better), -np.ones(worse), np.zeros(n - better - worse)]
            found, p = statistics.difference(values, np.arange(n)), statistics.mcnemar(better, worse)
            if p > 0.05 or p < 0.03:
                assert (found.low > 0 or found.high < 0) == (p < 0.05), (better, worse, p)


@st.composite
def spreads(draw):
    """Better and worse rows of each of some clusters, their sizes, and the number of one cluster."""
    clusters, size = draw(st.integers(6, 14)), st.integers(1, 40)
    sizes = [draw(size)] * clusters if draw(st.booleans()) else [draw(size) for _ in range(clusters)]
    rows = []
    for rows_of_it in sizes:
        better = draw(st.integers(0, rows_of_it))
        rows.append((better, draw(st.integers(0, rows_of_it - better))))
    return np.array(rows, dtype=float), np.array(sizes, dtype=float), draw(st.integers(0, clusters - 1))


@settings(deadline=None)
@given(spreads())
def test_more_harm_never_lowers_the_upper_end_and_unchanged_rows_never_raise_it(spread):
    flips, counts, place = spread
    sums = flips[:, 1] - flips[:, 0]
    one = (np.arange(len(flips)) == place).astype(float)
    high = statistics.mean_interval(sums, counts)[1]
    # A harmed row that is new is more data, too: with few clusters the grid of sizes lets it lower the end a little.
    lowered = 0.005 if len(counts) < 10 else 1e-9
    assert statistics.mean_interval(sums + one, counts + one)[1] >= high - lowered
    if high >= 0:
        assert statistics.mean_interval(sums, counts + one)[1] <= high + 1e-9
        assert statistics.mean_interval(np.r_[sums, 0], np.r_[counts, 1])[1] <= high + 1e-9
    if flips[place].sum() < counts[place]:  # an unchanged row becomes one that the arm harms
        assert statistics.mean_interval(sums + one, counts)[1] >= high - 1e-9


def test_no_size_of_the_middle_cluster_makes_an_unchanged_row_raise_the_upper_end():
    """One row more in the seventh of 13 clusters, and in all of them, from one row each to 50."""
    sums, last = np.array([1.0, -1, 0, 0, 2, -3, 0, 0, 1, 0, 0, 0, 0]), 2.0
    for size in range(1, 50):
        for grown in range(0, 13, 3):
            high = statistics.mean_interval(sums, np.array([size + 1.0] * grown + [size] * (13 - grown)))[1]
            assert high <= last + 1e-9, (size, grown)
            last = high


def test_a_few_flips_that_cancel_are_no_surer_than_none():
    """13 templates of 500 questions: none changed was +-.041 and six of each +-.013, by another formula."""
    labels = np.arange(500) // 39
    none = statistics.difference(np.zeros(500), labels)
    values = np.zeros(500)
    values[np.arange(6) * 80], values[np.arange(6) * 80 + 40] = 1, -1
    some = statistics.difference(values, labels)
    assert some.high - some.low >= none.high - none.low > 0.08
    assert some.value == none.value == 0


def test_fewer_than_six_clusters_show_nothing():
    for clusters in (1, 4, 5):
        found = statistics.difference(np.ones(100), np.arange(100) % clusters)
        assert (found.low, found.high) == (-1, 1)
    assert statistics.difference(np.ones(100), np.arange(100) % 6).low > 0
    assert statistics.minimum_detectable_effect(400, clusters=5) is None
    assert statistics.minimum_detectable_effect(400, clusters=6) > statistics.minimum_detectable_effect(400)


def trinomial(rng, clusters: int, size: int, better: float, worse: float, icc: float):
    """Paired differences whose rates vary between templates, by a Dirichlet of this intraclass correlation."""
    rates = np.tile([better, worse, 1 - better - worse], (clusters, 1))
    if icc:
        rates = rng.gamma(rates * (1 - icc) / icc + 1e-12)
        rates /= rates.sum(1, keepdims=True)
    counts = rng.multinomial(size, rates)
    return (counts[:, 0] - counts[:, 1]).astype(float), np.full(clusters, float(size))


@pytest.mark.parametrize(
    ("clusters", "size", "better", "worse", "icc"),
    [
        (20, 1, 0.05, 0.3, 0),
        (50, 1, 0.02, 0.1, 0),
        (200, 1, 0.0, 0.02, 0),
        (200, 1, 0.05, 0.3, 0),
        (13, 38, 0.0, 0.02, 0.2),
        (13, 38, 0.02, 0.1, 0.5),
        (13, 38, 0.05, 0.3, 0.5),
        (40, 5, 0.02, 0.1, 0.2),
    ],
)
def test_intervals_of_differences_cover_as_often_as_they_say(clusters, size, better, worse, icc):
    rng, held, runs = np.random.default_rng(clusters * size), 0, 200
    for _ in range(runs):
        low, high = statistics.mean_interval(*trinomial(rng, clusters, size, better, worse, icc))
        held += low <= better - worse <= high
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


@given(st.integers(1, 60), st.sampled_from([-1.0, 0.0, 1.0]), st.integers(1, 4))
def test_no_interval_has_zero_width(n, value, size):
    found = statistics.difference(np.full(n, value), np.arange(n) // size)
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


def test_the_docs_show_what_the_simulation_found():
    """docs/statistics.md holds the tables of benchmarks/results/coverage.json, word for word."""
    module = benchmarks.load("coverage")
    found = json.loads(module.RESULTS.read_text(encoding="utf-8"))
    docs = module.DOCS.read_text(encoding="utf-8")
    assert module.tables(found["designs"]) in docs
    assert f"{found['date']}, {found['runs']} simulated runs" in docs
    differences = [row for name, row in found["designs"].items() if name.startswith(("difference", "accuracy"))]
    assert sum(row["covers"] < 0.93 for row in differences) <= len(differences) / 10
