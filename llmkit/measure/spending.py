"""How sure each of several looks has to be so that all of them together err as rarely as one test: alpha spending.

Lan and DeMets (1983): a function of the share of questions asked says how much of the error may be used by then. The
values at the looks are normal with independent increments, which the recursion of Armitage, McPherson and Rowe (1969)
integrates numerically.
"""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist
from typing import TYPE_CHECKING

from llmkit.numerics import root

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from llmkit.measure.statistics import Floats

    Spending = Callable[[float, float], float]

_NODES = 96  # of the quadrature at each look: boundaries are then exact to 1e-8
_FARTHEST = 9.0  # deviations: beyond them is less than 1e-18


def obrien_fleming(share: float, alpha: float) -> float:
    """Returns how much of `alpha`, the error on one side, may be used once a `share` of the questions is asked.

    The function of Lan and DeMets (1983) that gives boundaries like those of O'Brien and Fleming (1979): next to
    nothing early, so that the last look keeps nearly the whole level.

    >>> round(obrien_fleming(0.5, 0.025), 5), obrien_fleming(1.0, 0.025)
    (0.00153, 0.025)
    """
    if share >= 1:
        return alpha
    normal = NormalDist()
    return 2 * normal.cdf(normal.inv_cdf(alpha / 2) / math.sqrt(share))


@lru_cache(maxsize=256)
def boundaries(shares: tuple[float, ...], alpha: float, spent: Spending = obrien_fleming) -> tuple[float, ...]:
    """Computes the normal deviate that each look has to pass, for rising shares of the questions in (0, 1].

    Under the null a path of looks passes one of them with probability `alpha` at most on this side.

    >>> [round(z, 3) for z in boundaries((0.2, 0.4, 0.6, 0.8, 1.0), 0.025)]
    [4.877, 3.357, 2.68, 2.29, 2.031]
    """
    found: list[float] = []
    points, weights = _start()
    before, used = 0.0, 0.0
    for share in shares:
        step, allowed = math.sqrt(share - before), spent(share, alpha)
        deviation = math.sqrt(share)

        def excess(z: float) -> float:
            return _beyond(z * deviation, points, weights, step) - (allowed - used)  # noqa: B023  (used at once)

        z = root(excess, 0.0, _FARTHEST) if excess(_FARTHEST) < 0 else _FARTHEST
        found.append(z)
        points, weights = _carry(-_FARTHEST * deviation, z * deviation, points, weights, step)
        before, used = share, allowed
    return tuple(found)


def levels(shares: Sequence[float], level: float) -> list[float]:
    """Returns the level of a two-sided interval at each look, so that all of them hold the true value at once with
    probability `level`: the repeated confidence intervals of Jennison and Turnbull (1989).

    >>> [round(one, 4) for one in levels([0.5, 1.0], 0.95)], levels([1.0], 0.95)
    ([0.9969, 0.951], [0.95])
    """
    if list(shares) == [1.0]:  # exactly, so that a run of one look has the very numbers of a run without any
        return [level]
    ends = boundaries(tuple(shares), (1 - level) / 2)
    return [math.erf(z / math.sqrt(2)) for z in ends]


def stops(shares: tuple[float, ...], ends: tuple[float, ...], drift: float) -> list[float]:
    """Computes the probability of stopping at each look, where either side's boundary stops and the last look always
    does. `drift` is the expected deviate of a test of all questions.
    """
    left, before = 1.0, 0.0
    points, weights = _start()
    chances: list[float] = []
    for share, z in zip(shares, ends, strict=True):
        step, reach = math.sqrt(share - before), z * math.sqrt(share)
        moved = points + drift * (share - before)
        points, weights = _carry(-reach, reach, moved, weights, step)
        going = float(weights.sum())
        chances.append(left - going)
        left, before = going, share
    chances[-1] += left
    return chances


def _start() -> tuple[Floats, Floats]:
    import numpy as np

    return np.zeros(1), np.ones(1)


def _beyond(reach: float, points: Floats, weights: Floats, step: float) -> float:
    """Computes the probability that a path which is at `points` with `weights` ends above `reach` one step later."""
    scaled = (reach - points) / (step * math.sqrt(2))
    return float(sum(w * math.erfc(x) for w, x in zip(weights, scaled, strict=True))) / 2


def _carry(low: float, high: float, points: Floats, weights: Floats, step: float) -> tuple[Floats, Floats]:
    """Returns the nodes and masses of a path between `low` and `high` after a normal step of deviation `step`."""
    import numpy as np

    nodes, shares = np.polynomial.legendre.leggauss(_NODES)
    reached = low + (high - low) * (nodes + 1) / 2
    density = np.exp(-0.5 * ((reached[:, None] - points) / step) ** 2) @ weights / (step * math.sqrt(2 * math.pi))
    masses: Floats = density * shares * (high - low) / 2
    return reached, masses
