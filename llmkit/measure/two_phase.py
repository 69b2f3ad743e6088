"""Differences of which a random part of the changed rows is known: two phases of sampling, and the interval of both.

Phase one draws the rows, in clusters. Phase two draws, at random among the rows that changed, those that a person
looks at. docs/statistics.md has the formula and its coverage.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from llmkit.measure import statistics
from llmkit.measure.statistics import Mean

if TYPE_CHECKING:
    from llmkit.measure.statistics import Floats, Labels


def difference(values: Floats, known: Sequence[int], unknown: Sequence[int], clusters: Labels, level: float) -> Mean:
    """Computes mean and interval of (Q,) paired differences in [-1, 1], NaN where a row has none.

    `known` are the changed rows that were labelled and `unknown` those that were not, both in the random order in which
    rows are labelled; `values` of all others are 0, and those of `unknown` are not read. With no unknown row this is
    `statistics.difference`. ValueError where rows are unknown and none is known.

    The value is the share changed times the mean over the known rows. Each end lies as far from it as the root of two
    squared distances: that of the interval as if every row were known, each unknown row with the value of a known one
    (of its own cluster, if there is one), and that of the unknown rows' part, which is the interval of a mean over lone
    rows with the finite population correction.
    """
    import numpy as np

    if not unknown:
        return statistics.difference(values, clusters, level)
    if not known:
        raise ValueError("no changed row is known")
    filled = values.copy()
    filled[list(unknown)] = _donated(values, known, unknown, clusters)
    first = statistics.difference(filled, clusters, level)
    drawn, changed = len(known), len(known) + len(unknown)
    share, unseen = changed / first.n, math.sqrt(1 - drawn / changed)
    # Rows are drawn one by one, whatever their clusters: each stands alone here.
    part = statistics.difference(values[list(known)], np.arange(drawn), level)
    below = math.hypot(first.value - first.low, share * unseen * (part.value - part.low))
    above = math.hypot(first.high - first.value, share * unseen * (part.high - part.value))
    value = share * part.value
    se = math.hypot(first.se, share * unseen * part.se)
    return Mean(value, max(-1.0, value - below), min(1.0, value + above), se, first.n, first.clusters)


def _donated(values: Floats, known: Sequence[int], unknown: Sequence[int], clusters: Labels) -> list[float]:
    """Returns a value for each unknown row: those of the known rows of its cluster in turn, or of another cluster's.

    Values are given by whole clusters, because rows of one cluster tend to go the same way.
    """
    donors: dict[int, list[float]] = defaultdict(list)
    for row in known:
        donors[int(clusters[row])].append(float(values[row]))
    others = list(donors)
    donor_of: dict[int, int] = {}
    given: dict[int, int] = defaultdict(int)
    donated = []
    for row in unknown:
        cluster = int(clusters[row])
        if cluster not in donor_of:
            donor_of[cluster] = cluster if cluster in donors else others[len(donor_of) % len(others)]
        group = donors[donor_of[cluster]]
        donated.append(group[given[cluster] % len(group)])
        given[cluster] += 1
    return donated
