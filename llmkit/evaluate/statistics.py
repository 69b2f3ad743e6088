"""Paired and clustered statistics of right and wrong answers, pure functions. docs/statistics.md says why these."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    import numpy as np

FEW = 10  # clusters (or half of them, but at least 5) that must differ from the rest before a bootstrap is trusted
_CHUNK = 4_000_000  # resampled cluster indices held at once: 32 MB


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its interval. `n` counts questions, `clusters` independent units, `se` is the standard error."""

    value: float
    low: float
    high: float
    se: float
    n: int
    clusters: int
    method: Literal["bootstrap", "bonett_price"] = "bootstrap"


def z_value(level: float) -> float:
    """The two-sided normal quantile: 1.96 for a level of 0.95."""
    from statistics import NormalDist

    return NormalDist().inv_cdf((1 + level) / 2)


def t_value(level: float, clusters: int) -> float:
    """The two-sided quantile of Student's t with one degree of freedom fewer than there are clusters."""
    from scipy.special import stdtrit  # scipy.stats takes a second to import

    return float(stdtrit(max(clusters - 1, 1), (1 + level) / 2))


# --- single rates ------------------------------------------------------------------------------------------------


def wilson(successes: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a rate (1927). Never of zero width; [0, 1] where nothing was observed.

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


def rate(hits: np.ndarray, of: np.ndarray, clusters: np.ndarray, most: float, level: float = 0.95) -> tuple[float, ...]:
    """(value, low, high) of sum(hits) / sum(of) by Wilson, with the sample size that clustering leaves.

    `hits` and `of` are (Q,), one number a question; `most` is the number of answers behind them. The effective size is
    p(1-p) over the cluster-robust variance (Korn and Graubard 1998): exactly n where every question stands alone.
    """
    import numpy as np

    total = float(of.sum())
    if total <= 0:
        return math.nan, 0.0, 1.0
    p = float(hits.sum()) / total
    used = np.unique(clusters[of > 0]).size
    spread = np.bincount(clusters, hits - p * of)
    variance = float((spread**2).sum()) / total**2
    independent = used == int((of > 0).sum())
    if variance > 1e-15:
        n = min(p * (1 - p) / variance, most)
        if not independent:
            n *= (z_value(level) / t_value(level, used)) ** 2
    else:
        n = used
    low, high = wilson(p * n, n, level)
    return p, min(low, p), max(high, p)


def effective_size(residuals: np.ndarray, clusters: np.ndarray, level: float = 0.95) -> float:
    """How many independent questions (Q,) clustered residuals of a difference are worth: n over the design effect.

    Korn and Graubard's (1998), as in `rate`. A few residuals say little about how they clump, so with m questions a
    cluster the design effect is at least sqrt(m), half way between 1 (none clump) and m (clusters go as one).
    """
    import numpy as np

    n, used = len(residuals), np.unique(clusters).size
    if used == n:
        return n
    alone, together = float(residuals @ residuals), float((np.bincount(clusters, residuals) ** 2).sum())
    effect = max(math.sqrt(n / used), together / alone if alone > 1e-15 else 0.0)
    return max(n / effect * (z_value(level) / t_value(level, used)) ** 2, used)


def worth(questions: int, clusters: int) -> int:
    """How many independent questions to plan with: the least design effect that `effective_size` reckons with."""
    return math.isqrt(questions * clusters)


def chance(gold: str, options: Sequence[str] = ()) -> float:
    """How often blind guessing is right: one over the options, a half for yes or no, nothing for numbers and free text.

    >>> chance("B", ["red", "green", "blue", "white", "black"]), chance("yes"), chance("18")
    (0.2, 0.5, 0.0)
    """
    if options:
        return 1 / len(options)
    return 0.5 if gold.strip().lower() in ("yes", "no") else 0.0


# --- paired tests ------------------------------------------------------------------------------------------------


def mcnemar(better: int, worse: int) -> float:
    """Exact two-sided p of McNemar's test (1947): a fair coin over the pairs that disagree. 1 where none does.

    >>> round(mcnemar(9, 1), 4)
    0.0215
    """
    n = better + worse
    tail = sum(math.comb(n, k) for k in range(min(better, worse) + 1))
    return min(1.0, 2 * tail / 2**n)


def sign_flip(sums: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """(K,) two-sided p that a difference is 0, for (C, K) sums over clusters, by flipping whole clusters' signs.

    Where every cluster is one pair this is McNemar's test, up to Monte Carlo error; it stays valid where pairs come in
    clusters or are averages. All 2^C flips are tried up to C = 12.
    """
    import numpy as np

    clusters = len(sums)
    observed = np.abs(sums.sum(0)) - 1e-9
    if clusters <= 12:
        signs = 1.0 - 2.0 * ((np.arange(2**clusters)[:, None] >> np.arange(clusters)) & 1)
        return (np.abs(signs @ sums) >= observed).mean(0)
    rng = np.random.default_rng(seed)
    reached = np.zeros(sums.shape[1])
    for rows in _chunks(draws, clusters):
        signs = 1.0 - 2.0 * rng.integers(0, 2, (rows, clusters), dtype=np.int8)
        reached += (np.abs(signs @ sums) >= observed).sum(0)
    return (1 + reached) / (1 + draws)


def holm(p: Mapping[Hashable, float]) -> dict[Hashable, float]:
    """Holm's step-down adjusted p-values (1979), in the order given.

    >>> holm({"a": 0.01, "b": 0.04, "c": 0.03})
    {'a': 0.03, 'b': 0.06, 'c': 0.06}
    """
    adjusted, worst = {}, 0.0
    for rank, name in enumerate(sorted(p, key=lambda k: p[k])):
        worst = max(worst, min(1.0, (len(p) - rank) * p[name]))
        adjusted[name] = worst
    return {name: adjusted[name] for name in p}


def power(effect: float, n: int, discordance: float, alpha: float = 0.05) -> float:
    """Chance that McNemar's test finds a true difference, for `n` pairs, a share of which disagrees (Connor 1987)."""
    from statistics import NormalDist

    normal = NormalDist()
    spread = discordance - effect**2
    if spread <= 0:
        return 1.0
    return normal.cdf(
        (effect * math.sqrt(n) - normal.inv_cdf(1 - alpha / 2) * math.sqrt(discordance)) / math.sqrt(spread)
    )


def minimum_detectable_effect(
    n: int, discordance: float = 0.2, alpha: float = 0.05, power_: float = 0.8
) -> float | None:
    """The smallest difference of two accuracies on the same `n` questions that is found with `power_`, as a fraction.

    `discordance` is the share of questions on which the two are expected to disagree, or the difference itself where
    that is larger. None where the exact test could not find even a difference on every question.
    """

    def found(effect: float) -> bool:
        return power(effect, n, max(effect, discordance), alpha) >= power_

    if 2 * 0.5**n > alpha:
        return None
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if found(middle) else (middle, high)
    return high


# --- intervals of differences ------------------------------------------------------------------------------------


def bonett_price(better: float, worse: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """Interval of a difference of paired proportions (Bonett and Price 2012): one pair added to each disagreement.

    Covers well where few pairs disagree, and has a width even where none does.
    """
    up, down = (better + 1) / (n + 2), (worse + 1) / (n + 2)
    half = z_value(level) * math.sqrt((up + down - (up - down) ** 2) / (n + 2))
    return max(-1.0, up - down - half), min(1.0, up - down + half)


def bootstrap_means(sums: np.ndarray, counts: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """(draws, K) resampled means for (C, K) sums and counts over clusters. Every column sees the same resamples."""
    import numpy as np

    clusters = len(sums)
    shared, column = np.unique(counts, axis=1, return_inverse=True)
    column = column.reshape(-1)
    rng = np.random.default_rng(seed)
    parts = []
    for rows in _chunks(draws, clusters):
        picks = rng.integers(0, clusters, (rows, clusters)) + clusters * np.arange(rows)[:, None]
        weights = np.bincount(picks.ravel(), minlength=rows * clusters).reshape(rows, clusters).astype(float)
        with np.errstate(invalid="ignore", divide="ignore"):
            parts.append((weights @ sums) / (weights @ shared)[:, column])
    return np.concatenate(parts)


def expanded_percentiles(replicates: np.ndarray, level: float, clusters: int) -> tuple[float, float]:
    """Percentile interval, widened for few clusters as Student's t would be (Hesterberg 2015, section 3.5)."""
    import numpy as np
    from scipy import stats

    tail = stats.norm.cdf(-t_value(level, clusters) * math.sqrt(clusters / max(clusters - 1, 1)))
    low, high = np.nanquantile(replicates, [tail, 1 - tail])
    return float(low), float(high)


def contrasts(
    values: np.ndarray,
    clusters: np.ndarray,
    bounds: Sequence[tuple[float, float]],
    *,
    level: float = 0.95,
    draws: int = 10_000,
    seed: int = 0,
) -> list[Estimate | None]:
    """Mean and interval of each column of (Q, K) per-question values, NaN where a question has none.

    Clusters are resampled whole. `bounds` are the least and greatest value that a column can have: (-1, 1) for a
    difference of accuracies. Where too few clusters differ from the commonest value a bootstrap is too narrow (of zero
    width in the end), so there the interval is Bonett and Price's. None for a column without any value.
    """
    import numpy as np

    ids, cluster = np.unique(clusters, return_inverse=True)
    here = ~np.isnan(values)
    filled = np.where(here, values, 0.0)
    sums = np.zeros((len(ids), values.shape[1]))
    counts = np.zeros_like(sums)
    np.add.at(sums, cluster, filled)
    np.add.at(counts, cluster, here.astype(float))
    replicates = bootstrap_means(sums, counts, draws, seed) if len(ids) else np.empty((0, values.shape[1]))
    found: list[Estimate | None] = []
    for k, (least, greatest) in enumerate(bounds):
        n, used = int(here[:, k].sum()), int((counts[:, k] > 0).sum())
        if n == 0:
            found.append(None)
            continue
        value = float(sums[:, k].sum() / n)
        means = np.round(sums[:, k][counts[:, k] > 0] / counts[:, k][counts[:, k] > 0], 9)
        moved = used - int(np.unique(means, return_counts=True)[1].max())
        if moved >= max(5, min(FEW, used / 2)):
            low, high = expanded_percentiles(replicates[:, k], level, used)
            se, method = float(np.nanstd(replicates[:, k], ddof=1)), "bootstrap"
        else:
            span = max(abs(least), abs(greatest))
            column = values[here[:, k], k]
            size = effective_size(column - value, cluster[here[:, k]], level)
            up = float(np.clip(column, 0, None).sum()) / n / span * size
            down = float(np.clip(-column, 0, None).sum()) / n / span * size
            low, high = (span * x for x in bonett_price(up, down, size, level))
            se, method = (high - low) / (2 * z_value(level)), "bonett_price"
        low, high = max(least, min(low, value)), min(greatest, max(high, value))
        found.append(Estimate(value, low, high, se, n, used, method))
    return found


def difference(
    values: np.ndarray, clusters: np.ndarray, *, level: float = 0.95, draws: int = 10_000, seed: int = 0
) -> Estimate:
    """Mean and interval of (Q,) paired differences, each in [-1, 1], clustered by (Q,) labels."""
    estimate = contrasts(values[:, None], clusters, [(-1.0, 1.0)], level=level, draws=draws, seed=seed)[0]
    if estimate is None:
        raise ValueError("no pair to compare")
    return estimate


def ratio(
    above: np.ndarray, below: np.ndarray, clusters: np.ndarray, level: float = 0.95
) -> tuple[float, float, float] | None:
    """(value, low, high) of mean(above) / mean(below) over the same questions, by Fieller's theorem, clustered.

    Two pairs of opposite sign are added to the variance of `above`, as Bonett and Price add them, so that a perfect
    recovery still has a width. None where the denominator's interval includes 0: then there is no bounded interval.
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
    ex, ey = np.bincount(cluster, x - mx), np.bincount(cluster, y - my)
    scale = c / max(c - 1, 1) / n**2
    added = 2 / (effective_size(x - mx, cluster, level) + 2) ** 2
    vxx, vyy, vxy = scale * float(ex @ ex) + added, scale * float(ey @ ey), scale * float(ex @ ey)
    t2 = t_value(level, c) ** 2
    a = my**2 - t2 * vyy
    if a <= 0 or my == 0:
        return None
    b = mx * my - t2 * vxy
    root = math.sqrt(max(b * b - a * (mx**2 - t2 * vxx), 0.0))
    return mx / my, (b - root) / a, (b + root) / a


def _chunks(draws: int, clusters: int) -> Iterator[int]:
    """Sizes of the blocks in which draws are made, so that memory stays bounded."""
    block = max(1, _CHUNK // max(clusters, 1))
    for start in range(0, draws, block):
        yield min(block, draws - start)
