"""The one comparison that decides a search: the last of the written candidates against the best hand-written one.

It is made once, on items that no round used. To test every candidate would replace the hand-written one by chance in a
quarter to a half of all searches, and the items of the rounds flatter the survivor.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

from llmkit.numerics import student_t

LEVEL = 0.05
POWER = 0.8
LEAST_CLUSTERS = 5  # independent items: of 2^4 sign patterns none is rarer than LEVEL, of 2^5 one is
_DRAWS = 10_000


def flip_p(differences: Sequence[float], clusters: Sequence[str], seed: int) -> float:
    """Returns the one-sided p that the mean difference is not above 0: the share of sign patterns that reach the sum
    seen.

    Whole clusters change their sign together. For candidates that score alike every pattern is as likely as any other,
    so the level holds however few and however spread the scores are. All patterns are tried up to 12 clusters.

    >>> flip_p([0.2, 0.1, 0.4, 0.3, 0.2], "abcde", 0)
    0.03125
    """
    import numpy as np

    cluster_sums = np.array(_sums(differences, clusters))
    cluster_count, observed_sum = len(cluster_sums), cluster_sums.sum() - 1e-9
    if cluster_count <= 12:
        signs = 1 - 2 * ((np.arange(2**cluster_count)[:, None] >> np.arange(cluster_count)) & 1)
        return float((signs @ cluster_sums >= observed_sum).mean())
    signs = 1 - 2 * np.random.default_rng(seed).integers(0, 2, (_DRAWS, cluster_count), dtype=np.int8).astype(float)
    return float((1 + (signs @ cluster_sums >= observed_sum).sum()) / (1 + _DRAWS))


def spread(differences: Sequence[float], clusters: Sequence[str]) -> float:
    """Returns the standard deviation of one item's difference, larger where the items of a cluster differ alike.

    A difference of a half either way is added, as Bonett and Price add a pair to each disagreement: a few equal scores
    promise no certainty.
    """
    item_count = len(differences)
    mean = math.fsum(differences) / item_count if item_count else 0.0
    cluster_sums = _sums([difference - mean for difference in differences], clusters)
    return math.sqrt(
        (math.fsum(cluster_sum * cluster_sum for cluster_sum in cluster_sums) + 2 * 0.5**2) / (item_count + 1)
    )


def detectable(clusters: int, items: int, sd: float) -> float | None:
    """Returns the difference that is found with `POWER`, or None if there are too few clusters to find any."""
    if clusters < LEAST_CLUSTERS:
        return None
    # Few patterns make a coarse level
    attained_level = math.floor(LEVEL * 2 ** min(clusters, 30)) / 2 ** min(clusters, 30)
    quantiles = student_t(1 - attained_level, clusters - 1) + student_t(POWER, clusters - 1)
    return quantiles * sd / math.sqrt(items)


def items_to_show(difference: float, sd: float) -> int:
    """Returns the number of items that shows a true difference with `POWER`."""
    normal = NormalDist()
    return max(LEAST_CLUSTERS, math.ceil(((normal.inv_cdf(1 - LEVEL) + normal.inv_cdf(POWER)) * sd / difference) ** 2))


def _sums(values: Sequence[float], clusters: Sequence[str]) -> list[float]:
    """Sums up each cluster, in the order in which the clusters appear."""
    values_by_cluster: dict[str, list[float]] = {}
    for value, cluster in zip(values, clusters, strict=True):
        values_by_cluster.setdefault(cluster, []).append(value)
    return [math.fsum(cluster_values) for cluster_values in values_by_cluster.values()]
