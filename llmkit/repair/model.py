"""`model`: the correction instruction of RoP, put to a model."""

from __future__ import annotations

from llmkit.prompts import render
from llmkit.repair.base import Corrector, Proposal, corrector
from llmkit.repair.replies import read_correction
from llmkit.types import Steps


@corrector("model")
class Model(Corrector):
    """Asks a model for the corrected text (arXiv 2506.03627, 3.3), and keeps of it what the guard allows."""

    cost = "one call"
    asks = True

    def propose(self, text: str) -> Steps:
        if not text.strip() or not self.context.instruction:
            return Proposal(text)
        shots = [{"noisy": noisy, "clean": clean} for noisy, clean in self.context.shots]
        content = render("rop/correct-v1", instruction=self.context.instruction, shots=shots, question=text)
        return Proposal(*read_correction((yield self.request(content)), text))
