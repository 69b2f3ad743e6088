"""Learn then Test (Angelopoulos et al. 2021, arXiv 2110.01052): the loosest threshold whose harm is below a limit.

The thresholds are one family in a fixed order, from strict to loose. Each is tested on the same rows by the exact
binomial test of "the harm is above the limit", and the first that does not reject ends the search: whatever the true
harms, a threshold above the limit is accepted with a probability of at most 1 - confidence. docs/statistics.md has the
proof.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from llmkit.measure.bounds import one_sided
from llmkit.numerics import beta_share

if TYPE_CHECKING:
    import numpy as np
    from numpy import typing as npt

    Floats = npt.NDArray[np.float64]
    Flags = npt.NDArray[np.bool_]

_MOST_ROWS = 10_000_000
_SLACK = 1e-12
"""Rounding of a tail probability: 598 rows without a harm are enough for .005, whatever the last digit says."""


@dataclass(frozen=True, slots=True)
class Tested:
    """One threshold of the family and its evidence: of `rows`, the gate fired on `fired` and `harmed` were harmed."""

    threshold: float
    fired: int
    harmed: int
    rows: int
    limit: float
    confidence: float

    @property
    def p(self) -> float:
        """The exact one-sided p-value of "the harm is above the limit"."""
        return p_value(self.harmed, self.rows, self.limit)

    @property
    def upper(self) -> float:
        """The one-sided upper end of the harm (Clopper and Pearson 1934)."""
        return upper(self.harmed, self.rows, self.confidence)

    @property
    def passes(self) -> bool:
        """True where the harm is below the limit at this confidence."""
        return self.harmed <= most_harms(self.rows, self.limit, self.confidence)


def p_value(harmed: int, rows: int, limit: float) -> float:
    """Returns the probability of at most `harmed` of `rows` independent rows where each is harmed with `limit`.

    It is the p-value of "the harm is at least the limit", exact and not below the level for any number of rows.

    >>> round(p_value(0, 598, 0.005), 4)
    0.0499
    """
    return 1.0 if harmed >= rows else 1.0 - beta_share(limit, harmed + 1, rows - harmed)


def upper(harmed: int, rows: int, confidence: float = 0.95) -> float:
    """Returns the one-sided upper end of Clopper and Pearson's interval (1934): the limits above it are rejected.

    >>> round(upper(3, 4000), 4)
    0.0019
    """
    return one_sided(harmed, rows, confidence)[1] if rows else 1.0


@cache
def most_harms(rows: int, limit: float, confidence: float = 0.95) -> int:
    """Returns the most harms among so many rows that still show a harm below the limit; -1 where not even 0 does.

    >>> most_harms(3000, 0.005), most_harms(597, 0.005)
    (8, -1)
    """
    # From the mean down: far fewer steps than the mean itself, about two standard deviations.
    harmed = math.floor(rows * limit)
    while harmed >= 0 and p_value(harmed, rows, limit) > 1 - confidence + _SLACK:
        harmed -= 1
    return harmed


@cache
def rows_needed(limit: float, confidence: float = 0.95) -> int:
    """Returns the fewest rows that can show a harm below the limit: without a single harm.

    >>> rows_needed(0.005)
    598
    """
    return math.ceil(math.log(1 - confidence) / math.log1p(-limit) - _SLACK)


def power(rows: int, limit: float, harm: float, confidence: float = 0.95) -> float:
    """Returns the probability that so many rows show a harm below the limit where the true one is `harm`."""
    most = most_harms(rows, limit, confidence)
    return 0.0 if most < 0 else p_value(most, rows, harm)


def rows_for_power(limit: float, harm: float, confidence: float = 0.95, wanted: float = 0.8) -> int | None:
    """Returns the fewest rows that show a harm below the limit with the probability `wanted`, where the true one is
    `harm`; None where no number of rows does.

    The probability falls a little between two numbers of rows that allow one more harm, so that a few more rows than
    this may have slightly less.
    """
    if harm >= limit:
        return None
    for most in range(_MOST_ROWS):
        # The fewest rows that allow `most` harms have the best chance of all that allow no more.
        rows = _fewest(most, limit, confidence)
        if rows > _MOST_ROWS:
            return None
        if p_value(most, rows, harm) >= wanted:
            return rows
    return None


def _fewest(harmed: int, limit: float, confidence: float) -> int:
    """Returns the fewest rows of which so many may be harmed."""
    high = rows_needed(limit, confidence)
    while most_harms(high, limit, confidence) < harmed:
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if most_harms(middle, limit, confidence) >= harmed else (middle, high)
    return high


def fixed_sequence(
    rarities: Floats, harmed: Flags, thresholds: Sequence[float], limit: float, confidence: float = 0.95
) -> list[Tested]:
    """Tests thresholds from the strictest on, and ends with the first that fails, which is then the last of the list.

    `rarities` (rows,) say up to which threshold the gate fires on a row, `harmed` (rows,) whether it is harmed where
    the gate fires. Rows are independent: one for each cluster. ValueError for thresholds in another order, or rarities
    and harms of different shapes.
    """
    if list(thresholds) != sorted(set(thresholds), reverse=True):
        raise ValueError("thresholds go from strict to loose: in falling order, each once")
    if rarities.shape != harmed.shape:
        raise ValueError(f"{rarities.shape} rarities and {harmed.shape} harms")
    tested = []
    for threshold in thresholds:
        fires = rarities >= threshold
        fired, harms = int(fires.sum()), int((fires & harmed).sum())
        tested.append(Tested(threshold, fired, harms, len(rarities), limit, confidence))
        if not tested[-1].passes:
            break
    return tested


def loosest(tested: Sequence[Tested]) -> Tested | None:
    """Returns the loosest threshold that passed; None where the strictest failed already."""
    passed = [one for one in tested if one.passes]
    return passed[-1] if passed else None
