"""An arm: a way to put a question to a model."""

from __future__ import annotations

from llmkit.rop import Arm, arm
from llmkit.types import Steps, Variant

INSTRUCTION = "The days of the week are Monday to Sunday, and after seven days they begin again. Answer the question."


@arm("with_calendar")
class WithCalendar(Arm):
    """Reminds the model of the order of the days before it asks."""

    def ask(self, variant: Variant) -> Steps:
        """Asks once. `answer` generates, or compares the possible answers where `eval.answer` is `likelihood`."""
        return (yield from self.answer(variant.text, variant, INSTRUCTION))
