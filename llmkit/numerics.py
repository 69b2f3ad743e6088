"""Two distributions and a root finder: all that llmkit would need scipy for, which is half as large as its other
packages."""

from __future__ import annotations

import math
from functools import cache, lru_cache
from statistics import NormalDist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

# Gamma(x + 1/2) / (Gamma(x) sqrt(x)) in powers of 1/x; exact to the last digit from _SERIES_FROM on.
_SERIES = (1.0, -1 / 8, 1 / 128, 5 / 1024, -21 / 32768, -399 / 262144, 869 / 4194304)
_SERIES_FROM = 50
_ROOT_WIDTH = 2e-12
_LONGEST_FRACTION = 100_000  # terms; about the root of the larger parameter are used


@lru_cache(maxsize=4096)
def student_t(probability: float, freedom: float) -> float:
    """Returns the value that Student's t with `freedom` (>= 1) degrees stays below with `probability` in [0.5, 1).

    The angle of t = sqrt(freedom) tan(angle) has the density cos(angle)^(freedom - 1) up to a constant. Newton's method
    starts at the normal quantile, which is smaller; the distribution function is concave, so no step passes the root.

    >>> round(student_t(0.975, 10), 4), round(student_t(0.975, 1), 4)
    (2.2281, 12.7062)
    """
    import numpy as np

    nodes, weights = _quadrature()
    constant = _gamma_ratio(freedom / 2) / math.sqrt(math.pi)
    angle = math.atan(NormalDist().inv_cdf(probability) / math.sqrt(freedom))
    for _ in range(100):
        # cos^(freedom - 1) by its sine: rounding in a cosine near 1 would grow with the degrees of freedom
        mass = constant * angle * float(weights @ np.exp((freedom - 1) / 2 * np.log1p(-(np.sin(angle * nodes) ** 2))))
        step = (probability - 0.5 - mass) / (constant * math.cos(angle) ** (freedom - 1))
        angle += step
        if abs(step) <= 1e-15 * angle:
            break
    return math.sqrt(freedom) * math.tan(angle)


@cache
def _quadrature() -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre nodes and weights on [0, 1], denser at 1, where a power of the cosine may end in a cusp."""
    import numpy as np

    nodes, weights = np.polynomial.legendre.leggauss(64)
    rest = (1 - nodes) / 2
    return 1 - rest**4, 2 * weights * rest**3


def _gamma_ratio(x: float) -> float:
    """Returns Gamma(x + 1/2) / Gamma(x): a small x is raised by the recurrence until the series holds."""
    factor = 1.0
    while x < _SERIES_FROM:
        factor *= x / (x + 0.5)
        x += 1
    return factor * math.sqrt(x) * sum(term / x**power for power, term in enumerate(_SERIES))


def beta_share(x: float, a: float, b: float) -> float:
    """Returns the share of the beta distribution with `a` and `b` (> 0) that lies below `x` in [0, 1].

    By the continued fraction of DLMF 8.17.22 (modified Lentz), on the side where it converges fast. With a = k + 1 and
    b = n - k it is the probability of more than k of n independent events of probability x.

    >>> round(beta_share(0.5, 3, 3), 12), round(1 - beta_share(0.1, 1, 20), 6) == round(0.9**20, 6)
    (0.5, True)
    """
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - beta_share(1 - x, b, a)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)) / a
    above, below, fraction = 1.0, 0.0, 1.0
    for step in range(_LONGEST_FRACTION):
        m = step // 2
        if step == 0:
            term = 1.0
        elif step % 2:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        below = 1 / _not_zero(1 + term * below)
        above = _not_zero(1 + term / above)
        fraction *= above * below
        if abs(above * below - 1) < 1e-15:
            break
    return front * (fraction - 1)


def _not_zero(x: float) -> float:
    return x if abs(x) > 1e-300 else 1e-300


def root(falling: Callable[..., float], low: float, high: float, *more: float) -> float:
    """Returns where a falling function crosses 0 between `low` and `high`, exact to 1e-12; `more` are its other
    arguments. Inverse quadratic interpolation where it is safe, else bisection (Chandrupatla 1997).
    """
    newest, beyond = high, low  # the two ends of the bracket; `former` is the end that was given up last
    at_newest, at_beyond, share = falling(high, *more), falling(low, *more), 0.5
    while True:
        middle = newest + share * (beyond - newest)
        at_middle = falling(middle, *more)
        if (at_middle > 0) == (at_newest > 0):
            former, at_former = newest, at_newest
        else:
            former, at_former, beyond, at_beyond = beyond, at_beyond, newest, at_newest
        newest, at_newest = middle, at_middle
        width = abs(beyond - newest)
        if at_newest == 0 or width <= _ROOT_WIDTH:
            return newest if abs(at_newest) < abs(at_beyond) else beyond
        place = (newest - beyond) / (former - beyond)
        height = (at_newest - at_beyond) / (at_former - at_beyond)
        share = 0.5
        if height**2 < place and (1 - height) ** 2 < 1 - place:
            share = at_newest / (at_beyond - at_newest) * at_former / (at_beyond - at_former)
            share += (
                (former - newest) / (beyond - newest)
                * at_newest / (at_former - at_newest)
                * at_beyond / (at_former - at_beyond)
            )  # fmt: skip
        least = _ROOT_WIDTH / 2 / width
        share = min(1 - least, max(least, share))
