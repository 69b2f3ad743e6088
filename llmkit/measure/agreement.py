"""Agreement of two raters beyond chance: Cohen's kappa (1960), with the interval of its large-sample variance."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable
from typing import NamedTuple

from llmkit.measure.statistics import z_value


class Kappa(NamedTuple):
    """Cohen's kappa with its interval; `value` is None where both raters gave everything one and the same category, so
    that chance alone would agree. `observed` is the share of items on which they agree, `n` the number of items."""

    value: float | None
    low: float | None
    high: float | None
    observed: float
    n: int


def kappa(ratings: Iterable[tuple[Hashable, Hashable]], level: float) -> Kappa:
    """Computes Cohen's kappa of two raters over the same items. ValueError without an item.

    The variance is that of Fleiss, Cohen and Everitt (1969, Psychological Bulletin 72, eq. 13): kappa need not be 0.
    """
    cells = Counter(ratings)
    n = cells.total()
    if not n:
        raise ValueError("no item was rated by both")
    share = {pair: count / n for pair, count in cells.items()}
    first: dict[Hashable, float] = defaultdict(float)
    second: dict[Hashable, float] = defaultdict(float)
    for (one, other), part in share.items():
        first[one] += part
        second[other] += part
    observed = sum(part for (one, other), part in share.items() if one == other)
    chance = sum(part * second[name] for name, part in first.items())
    if math.isclose(chance, 1.0):
        return Kappa(None, None, None, observed, n)
    value = (observed - chance) / (1 - chance)
    rest = 1 - value
    on = off = 0.0
    for (one, other), part in share.items():
        if one == other:
            on += part * (1 - (first[one] + second[one]) * rest) ** 2
        else:
            off += part * (second[one] + first[other]) ** 2 * rest**2
    variance = max(on + off - (value - chance * rest) ** 2, 0.0) / (n * (1 - chance) ** 2)
    reach = z_value(level) * math.sqrt(variance)
    return Kappa(value, max(-1.0, value - reach), min(1.0, value + reach), observed, n)
