"""Paired and clustered statistics of right and wrong answers, pure functions. docs/statistics.md says why these."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from llmkit.numerics import root, student_t

if TYPE_CHECKING:
    import numpy as np
    from numpy import typing as npt

    Floats = npt.NDArray[np.float64]
    Labels = npt.NDArray[np.intp]

Name = TypeVar("Name", bound=Hashable)
_CHUNK = 4_000_000  # flips of clusters' signs that are drawn at once: 4 MB, and a promise, as p depends on it
_IN_CACHE = 100_000  # of these, so many are summed at once


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean with its interval. `n` counts questions, `clusters` independent units, `se` is the standard error."""

    value: float
    low: float
    high: float
    se: float
    n: int
    clusters: int


def z_value(level: float) -> float:
    """Returns the two-sided normal quantile: 1.96 for a level of 0.95."""
    from statistics import NormalDist

    return NormalDist().inv_cdf((1 + level) / 2)


def t_value(level: float, clusters: float) -> float:
    """Returns the two-sided quantile of Student's t with one degree of freedom fewer than there are clusters."""
    return student_t((1 + level) / 2, max(clusters - 1, 1))


# --- single rates ------------------------------------------------------------------------------------------------


def wilson(successes: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """Computes Wilson's score interval of a rate (1927). Never of zero width; [0, 1] where nothing was observed.

    >>> [round(x, 4) for x in wilson(0, 20)]
    [0.0, 0.1611]
    """
    if n <= 0:
        return 0.0, 1.0
    z2 = z_value(level) ** 2
    p = successes / n
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (p * (1 - p) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    low = 0.0 if successes <= 0 else max(0.0, centre - half)
    high = 1.0 if successes >= n else min(1.0, centre + half)
    return low, high


def rate(hits: Floats, of: Floats, clusters: Labels, most: float, level: float = 0.95) -> tuple[float, float, float]:
    """Computes (value, low, high) of sum(hits) / sum(of) by Wilson, with the sample size that clustering leaves.

    `hits` and `of` are (Q,), one number a question; `most` is the number of answers behind them.
    """
    p, n = sampled(hits, of, clusters, most, level)
    if math.isnan(p):
        return math.nan, 0.0, 1.0
    low, high = wilson(p * n, n, level)
    return p, min(low, p), max(high, p)


def sampled(hits: Floats, of: Floats, clusters: Labels, most: float, level: float) -> tuple[float, float]:
    """Computes (value, n) of sum(hits) / sum(of): its size n is over the design effect, the cluster-robust variance
    over that of lone answers (Korn and Graubard 1998).

    One answer is added below and one whole cluster above, because few hits say little about how they clump. So n is
    exact where every question stands alone, and the number of clusters where all answers agree. Clusters of uneven
    size count as (sum n)^2 / sum n^2 (Carter, Schnepel and Steigerwald 2017). NaN where nothing was observed.
    """
    import numpy as np

    total = float(of.sum())
    if total <= 0:
        return math.nan, 0.0
    p = float(hits.sum()) / total
    sizes = _sums(clusters, of)
    used = int((sizes > 0).sum())
    even_clusters = total**2 / float(sizes @ sizes)
    residuals = _sums(clusters, hits - p * of)
    variance, lone_variance = float(residuals @ residuals), p * (1 - p) * total
    alone = used == int((of > 0).sum())
    # Wilson's interval uses the normal quantile. Student's t is wider, and its square shrinks the size instead: answers
    # averaged over draws are no coin flips, so they need it as clusters do.
    if not alone or not np.isin(hits, (0, 1)).all():
        variance *= used / max(used - 1, 1)
        student = (z_value(level) / t_value(level, even_clusters)) ** 2
    else:
        student = 1.0
    return p, min(total * (lone_variance + 1) / (variance + total / even_clusters) * student, most)


def unanimous(value: float, clusters: int, level: float = 0.95, *, alone: bool = False) -> tuple[float, float]:
    """Computes the interval of a rate of 0 or 1 in so many even clusters, or lone questions, as `rate` does."""
    n = worth_of_clusters(clusters, level, alone=alone)
    return wilson(value * n, n, level)


def worth_of_clusters(clusters: int, level: float, *, alone: bool) -> float:
    """Returns the sample size of so many even clusters whose answers agree, or of lone questions."""
    return clusters * (1.0 if alone else (z_value(level) / t_value(level, clusters)) ** 2)


def worth(questions: int, clusters: int) -> int:
    """Returns how many independent questions to plan with: a design effect of sqrt(m) with m questions a cluster, half
    way on a scale of factors between 1 (none clump) and m (clusters go as one)."""
    return math.isqrt(questions * clusters)


# --- paired tests ------------------------------------------------------------------------------------------------


def mcnemar(better: int, worse: int) -> float:
    """Computes the two-sided mid-p of McNemar's test (Fagerland, Lydersen and Laake 2013).

    A fair coin over the pairs that disagree, the observed number counted half: the exact p errs on .01 to .03, not .05.

    >>> round(mcnemar(9, 1), 4)
    0.0117
    """
    n, subsets, mid = better + worse, 1, 0  # whole numbers: floats end at 1,030 pairs, and 1/64 stays 1/64
    for k in range(min(better, worse)):
        mid, subsets = mid + 2 * subsets, subsets * (n - k) // (k + 1)
    return min(1.0, (mid + subsets) / (1 << n))


def sign_flip(sums: Floats, draws: int, seed: int) -> Floats:
    """Computes (K,) two-sided p that a difference is 0, for (C, K) sums over clusters, by flipping clusters' signs.

    Where every cluster is one pair this is McNemar's test, up to Monte Carlo error; it stays valid where pairs come in
    clusters or are averages. All 2^C flips are tried up to C = 12.
    """
    import numpy as np

    clusters = len(sums)
    observed = np.abs(sums.sum(0)) - 1e-9  # sums in another order may differ in the last digit
    if clusters <= 12:
        signs = 1.0 - 2.0 * ((np.arange(2**clusters)[:, None] >> np.arange(clusters)) & 1)
        shares: Floats = (np.abs(signs @ sums) >= observed).mean(0)
        return shares
    rng = np.random.default_rng(seed)
    reached, unflipped = np.zeros(sums.shape[1]), sums.sum(0)
    block, few = (max(1, signs // clusters) for signs in (_CHUNK, _IN_CACHE))
    for start in range(0, draws, block):
        flipped = rng.integers(0, 2, (min(block, draws - start), clusters), dtype=np.int8)
        for part in np.split(flipped, range(few, len(flipped), few)):
            reached += (np.abs(unflipped - 2 * (part.astype(float) @ sums)) >= observed).sum(0)
    # The signs as they were observed count as one of the draws, so p is never 0 (Phipson and Smyth 2010).
    return (1 + reached) / (1 + draws)


def holm(p: Mapping[Name, float]) -> dict[Name, float]:
    """Adjusts p-values by Holm's step-down method (1979), in the order given.

    >>> holm({"a": 0.01, "b": 0.04, "c": 0.03})
    {'a': 0.03, 'b': 0.06, 'c': 0.06}
    """
    adjusted, worst = {}, 0.0
    for rank, name in enumerate(sorted(p, key=lambda k: p[k])):
        worst = max(worst, min(1.0, (len(p) - rank) * p[name]))
        adjusted[name] = worst
    return {name: adjusted[name] for name in p}


def power(effect: float, n: int, discordance: float, alpha: float = 0.05) -> float:
    """Computes the power of McNemar's test for `n` pairs, a share of which disagrees (Connor 1987)."""
    from statistics import NormalDist

    normal = NormalDist()
    spread = discordance - effect**2
    if spread <= 0:
        return 1.0
    return normal.cdf(
        (effect * math.sqrt(n) - normal.inv_cdf(1 - alpha / 2) * math.sqrt(discordance)) / math.sqrt(spread)
    )


def clusters_needed(comparisons: int = 1, alpha: float = 0.05) -> int:
    """Returns the fewest clusters with which a test can reach `alpha` after Holm over so many comparisons.

    2 / 2^C is the least p that flipping the signs of C clusters has.

    >>> clusters_needed(), clusters_needed(5)
    (6, 8)
    """
    return math.ceil(1 + math.log2(comparisons / alpha))


def minimum_detectable_effect(
    n: int, discordance: float = 0.2, alpha: float = 0.05, power_: float = 0.8, clusters: int | None = None
) -> float | None:
    """Computes the smallest difference of two accuracies on the same `n` questions that is found with `power_`.

    `discordance` is the share of questions on which the two are expected to disagree, or the difference itself where
    that is larger. `clusters` is given where questions come in them, and `n` is then what they are worth. None where
    not even a difference on every question could be shown.
    """
    if (clusters or n) < clusters_needed(1, alpha):
        return None
    if clusters:  # Student's t instead of the normal quantile
        n = round(n * (z_value(1 - alpha) / t_value(1 - alpha, clusters)) ** 2)

    def is_found(effect: float) -> bool:
        return power(effect, n, max(effect, discordance), alpha) >= power_

    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if is_found(middle) else (middle, high)
    return high


def contradicts(p: float, low: float, high: float, level: float) -> bool:
    """Returns whether a test and an interval say different things of a difference. The verdict is the interval's."""
    return (p <= 1 - level) != (low > 0 or high < 0)


# --- intervals of differences ------------------------------------------------------------------------------------


def mean_interval(
    sums: Floats,
    counts: Floats,
    *,
    times: Floats | None = None,
    bounds: tuple[float, float] = (-1.0, 1.0),
    level: float = 0.95,
) -> tuple[float, float]:
    """Computes the interval of sum(sums) / sum(counts) over (C,) clusters: what random halves of the clusters allow.

    A value theta lies above the interval where, of all 2^C subsets of the clusters, fewer than (1 - level) / 2 exceed
    it, which is to say sum(sums - theta counts) + noise >= 0; below it, the same in a mirror. The subsets' means are
    Hartigan's typical values (1969), so without the noise this inverts the sign-flip test of whole clusters, and
    McNemar's mid-p test where every cluster is one pair. The noise is Bonett and Price's pair (2012), one flip of
    either sign, as large as flips that come together could be: size^0.6 of clusters of that size.

    So that the noise depends on no data, an end beyond 0 is the nearest that any `size` gives when no more than so many
    rows of a cluster count against theta. For each size the share rises with every entry of `sums` and, for theta > 0,
    falls with every entry of `counts`: a row that gets worse never lowers the upper end, and one more unchanged row
    never raises an upper end that is not negative, whatever the sizes of the clusters. A harmed row in a cluster of its
    own can lower it a little where there are ten clusters or fewer.

    The empty subset speaks for every theta: with fewer than 1 + log2(1 / (1 - level)) clusters the interval is
    `bounds`. `times` says how many clusters each entry stands for.
    """
    import numpy as np

    least, greatest = bounds
    # Equal clusters are one factor of the characteristic function, raised to their number.
    rows, place = np.unique(np.stack([sums, counts], axis=1), axis=0, return_inverse=True)
    alike = _sums(place.reshape(-1), np.ones(len(sums)) if times is None else times)
    tail = (1 - level) / 2
    empty: float = 0.5 ** (1 + float(alike.sum()))  # half the empty subset's share; the noise gives the other
    value = float(alike @ rows[:, 0] / (alike @ rows[:, 1]))
    largest = max(float(rows[:, 1].max()), 1.0)
    sizes = [2 ** (k / 2) for k in range(math.ceil(2 * math.log2(largest)) + 1)]

    def end(sign: float, limit: float) -> float:
        def excess(theta: float, size: float) -> float:
            noise = max(abs(least), abs(greatest)) * clump(size)
            beyond = sign * rows[:, 0] - theta * np.minimum(rows[:, 1], size)
            return _chance_not_negative(beyond, alike, noise**2 / 2) + empty - tail

        nearest = limit if excess(limit, sizes[-1]) >= 0 else root(excess, sign * value, limit, sizes[-1])
        for size in sizes[-2::-1]:
            if nearest > 0 and excess(nearest, size) < 0:
                nearest = root(excess, 0.0, nearest, size) if excess(0.0, size) > 0 else 0.0
        return nearest

    return -end(-1.0, -least), end(1.0, greatest)


def clump(size: float) -> float:
    """Returns how many flips of a cluster of `size` rows may come as one where too few were seen to tell.

    It is 1 for a lone row. That many more than were seen remain possible at an intraclass correlation of one half
    (docs/statistics.md has the coverage). It depends on no answer, because a prior that shrank as flips are seen would
    let one more of them narrow an interval.
    """
    return float(size**0.6)


def _chance_not_negative(excess: Floats, times: Floats, spread: float) -> float:
    """Computes P(a random half of the clusters' excess + normal noise of variance `spread` >= 0).

    By Gil-Pelaez (1951). Each cluster is in the half by the toss of a coin. The characteristic function is a product of
    cosines; the noise ends the sum after a few hundred terms, exact to about 1e-11.
    """
    import numpy as np

    mean, noise = 0.5 * float(times @ excess), math.sqrt(spread)
    deviation = math.sqrt(0.25 * float(times @ excess**2) + noise**2)
    if mean < -8 * deviation:
        return 0.0
    # The sum errs by the probability of values beyond 2 pi / step, which are eight deviations from the mean.
    step = 2 * math.pi / (abs(mean) + 8 * deviation)
    odd = np.arange(int(7.5 / noise / step) + 1) + 0.5
    u = step * odd
    transform = np.exp(-0.5 * (noise * u) ** 2) * np.prod(np.cos(np.outer(excess, u) / 2) ** times[:, None], axis=0)
    return 0.5 + float((np.sin(u * mean) * transform / odd).sum()) / math.pi


def contrasts(
    values: Floats, clusters: Labels, bounds: Sequence[tuple[float, float]], level: float = 0.95
) -> list[Mean | None]:
    """Computes mean and interval of each column of (Q, K) per-question values, NaN where a question has none.

    `bounds` are the least and greatest value that a column can have: (-1, 1) for a difference of accuracies. None for a
    column without any value.
    """
    import numpy as np

    means: list[Mean | None] = []
    for column, limits in zip(values.T, bounds, strict=True):
        here = ~np.isnan(column)
        if not here.any():
            means.append(None)
            continue
        _, cluster = np.unique(clusters[here], return_inverse=True)
        sums, counts = _sums(cluster, column[here]), _sums(cluster, np.ones(len(cluster)))
        n, used = int(here.sum()), len(sums)
        value = float(sums.sum() / n)
        low, high = mean_interval(sums, counts, bounds=limits, level=level)
        # Bonett and Price's pair (2012), as in the interval: no standard error is 0 where no flip was seen.
        residuals, pair = sums - value * counts, 2 * (max(map(abs, limits)) * clump(n / used)) ** 2
        se = math.sqrt(used / max(used - 1, 1) * float(residuals @ residuals) + pair) / n
        means.append(Mean(value, min(low, value), max(high, value), se, n, used))
    return means


def difference(values: Floats, clusters: Labels, level: float = 0.95) -> Mean:
    """Computes mean and interval of (Q,) paired differences, each in [-1, 1], clustered by (Q,) labels."""
    mean = contrasts(values[:, None], clusters, [(-1.0, 1.0)], level)[0]
    if mean is None:
        raise ValueError("no pair to compare")
    return mean


def ratio(
    above: Floats, below: Floats, clusters: Labels, level: float = 0.95, most: float = math.inf
) -> tuple[float, float, float] | None:
    """Computes (value, low, high) of mean(above) / mean(below) over the same questions, by Fieller's theorem.

    `most` is the greatest value that the ratio can have. None where the denominator's interval includes 0, because the
    interval of the ratio is then unbounded. The variance around the ratio is at least that of one flip of either sign,
    or a perfect recovery would have an interval of zero width.
    """
    import numpy as np

    both = ~np.isnan(above) & ~np.isnan(below)
    x, y = above[both], below[both]
    _, cluster = np.unique(clusters[both], return_inverse=True)
    n = len(x)
    if n == 0:
        return None
    c = int(cluster.max()) + 1
    mx, my = float(x.mean()), float(y.mean())
    ex, ey = _sums(cluster, x - mx), _sums(cluster, y - my)
    scale = c / max(c - 1, 1) / n**2
    vxx, vyy, vxy = scale * float(ex @ ex), scale * float(ey @ ey), scale * float(ex @ ey)
    t2 = t_value(level, c) ** 2
    a = my**2 - t2 * vyy
    if a <= 0 or my == 0:
        return None
    r = mx / my
    vxx += max(0.0, 2 / n**2 - (vxx - 2 * r * vxy + r * r * vyy))
    b = mx * my - t2 * vxy
    root = math.sqrt(max(b * b - a * (mx**2 - t2 * vxx), 0.0))
    return r, (b - root) / a, min(most, (b + root) / a)


def _sums(labels: Labels, values: Floats) -> Floats:
    """(C,) sums of values by label."""
    import numpy as np

    sums: Floats = np.bincount(labels, values).astype(float)
    return sums
