"""One-sided bounds of a rate: what it is at most, or at least. docs/statistics.md says why these."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from llmkit.measure import statistics
from llmkit.numerics import beta_share, root

if TYPE_CHECKING:
    from llmkit.measure.statistics import Floats, Labels


def at_most(hits: Floats, of: Floats, clusters: Labels, most: float, level: float = 0.95) -> tuple[float, float, float]:
    """Computes (value, low, high) of sum(hits) / sum(of), of which each end alone holds with `level`.

    By Clopper and Pearson (1934), exact for lone questions, with the sample size that `statistics.rate` takes (Korn and
    Graubard 1998). Wilson's ends are too near where hits are few: .026 after 100 rows without a hit, where .030 is.
    """
    p, n = statistics.sampled(hits, of, clusters, most, level)
    if math.isnan(p):
        return math.nan, 0.0, 1.0
    low, high = one_sided(p * n, n, level)
    return p, min(low, p), max(high, p)


def one_sided(successes: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """Computes the ends of Clopper and Pearson's interval (1934), each of which alone holds with `level`.

    >>> [round(x, 4) for x in one_sided(0, 20)]
    [0.0, 0.1391]
    """
    rest = n - successes

    def beyond(p: float, a: float, b: float, share: float) -> float:
        return share - beta_share(p, a, b)

    low = root(beyond, 0.0, 1.0, successes, rest + 1, 1 - level) if successes > 0 else 0.0
    high = root(beyond, 0.0, 1.0, successes + 1, rest, level) if rest > 0 else 1.0
    return low, high


def unanimous(value: float, clusters: int, level: float = 0.95, *, alone: bool = False) -> tuple[float, float]:
    """Computes the ends of a rate of 0 or 1 in so many even clusters, or lone questions, as `at_most` does."""
    n = statistics.worth_of_clusters(clusters, level, alone=alone)
    return one_sided(value * n, n, level)


def shown_by(rows: int, clusters: int, level: float = 0.95) -> tuple[float, float]:
    """Returns what so many rows show: how many answers may change at most where none of theirs does, and half the width
    of the interval where a tenth does. Rows that belong together count as `statistics.worth` says."""
    most = unanimous(0.0, clusters, level, alone=clusters == rows)[1]
    size = statistics.worth(rows, clusters)
    low, high = statistics.wilson(size / 10, size, level)
    return most, (high - low) / 2
