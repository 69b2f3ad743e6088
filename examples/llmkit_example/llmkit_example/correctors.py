"""A corrector: a repair of a text before a model reads it."""

from __future__ import annotations

import re

from llmkit.repair import Corrector, Proposal, corrector
from llmkit.types import Steps

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
SHORT_DAY = re.compile(r"\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)\b\.?")


@corrector("day_names")
class DayNames(Corrector):
    """Writes out days of the week: "Tue." becomes "Tuesday"."""

    english = True

    def propose(self, text: str) -> Steps:
        """Returns the text with whole names. A corrector that asks a model would yield its requests first."""
        names = {day[:3]: day for day in DAYS}
        return Proposal(SHORT_DAY.sub(lambda match: names[match[0][:3]], text))
        yield
