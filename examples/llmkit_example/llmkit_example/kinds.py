"""A kind of answer: how it is written, asked for, read, compared and guessed."""

from __future__ import annotations

import re
from collections.abc import Sequence

from llmkit.errors import DataError
from llmkit.tasks import Kind, kind
from llmkit.types import Question

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

_DAY = re.compile(rf"\b(?:{'|'.join(DAYS)})\b", re.IGNORECASE)


@kind("weekday")
class Weekday(Kind):
    """A day of the week, kept as its English name in small letters."""

    def canonical(self, gold: str, options: Sequence[str] = ()) -> str:
        """Returns the name in small letters. DataError for anything but a day of the week."""
        if gold.lower() not in DAYS:
            raise DataError(f"the answer {gold!r} is no day of the week")
        return gold.lower()

    def extract(self, text: str, question: Question) -> str | None:
        """Returns the last day that a reply names."""
        days = _DAY.findall(text)
        return days[-1].lower() if days else None

    def label(self, answer: str) -> str:
        """Returns the name as English writes it."""
        return answer.capitalize()

    def format_request(self) -> str:
        """Returns the sentence of the prompt that asks for a day."""
        return 'End with a line that says "The answer is" and the day of the week.'

    def chance(self, gold: str, options: Sequence[str] = ()) -> float:
        """Returns how often a guess is right."""
        return 1 / len(DAYS)

    def continuations(self, question: Question) -> list[tuple[str, str]]:
        """Returns the seven answers, which makes `eval.answer: likelihood` possible."""
        return [(day, f"The answer is {self.label(day)}") for day in DAYS]
