"""A detector: a sign of noise in a text, for the gate before a repair."""

from __future__ import annotations

from llmkit.repair import Detector, detector
from llmkit_example.correctors import SHORT_DAY


@detector("short_days")
class ShortDays(Detector):
    """The number of days of the week that are cut short."""

    english = True

    def score_of(self, text: str) -> float:
        """Returns the score of a text: the higher, the likelier noise; 0 where nothing speaks for it."""
        return float(len(SHORT_DAY.findall(text)))
