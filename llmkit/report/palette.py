"""The colours of arms: `stand` and `rop` always have the same, the others one each as far as there are some."""

from __future__ import annotations

from llmkit.measure.cells import STAND
from llmkit.measure.results import Metrics

_OTHERS = 11  # colours of the palette in page.css beside those of `stand` (0) and `rop` (1)


def colour(metrics: Metrics, arm: str) -> int:
    """Returns the number of an arm's colour in the palette."""
    if arm in (STAND, "rop"):
        return int(arm == "rop")
    others = [name for name in metrics.arms if name not in (STAND, "rop")]
    return 2 + others.index(arm) % _OTHERS
