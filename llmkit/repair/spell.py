"""`spell`: English words without a model."""

from __future__ import annotations

from llmkit.repair.base import Corrector, Proposal, corrector
from llmkit.types import Steps


@corrector("spell")
class Spell(Corrector):
    """Repairs unknown English words from a dictionary, without a model."""

    english = True

    def propose(self, text: str) -> Steps:
        from llmkit.repair.spelling import spell  # with numpy, which a repair need not wait for as it is loaded

        return Proposal(spell(text) if self.context.lang == "en" else text)
        yield
