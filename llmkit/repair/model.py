"""`model`: the correction instruction of RoP, put to a model."""

from __future__ import annotations

from llmkit.prompts import render
from llmkit.repair.base import Corrector, Proposal, corrector
from llmkit.repair.replies import no_correction, read_correction
from llmkit.types import Reply, Request, Steps


@corrector("model")
class Model(Corrector):
    """Asks a model for the corrected text (arXiv 2506.03627, 3.3), and keeps of it what the guard allows."""

    cost = "one call"
    asks = True
    instructed = True

    def propose(self, text: str) -> Steps:
        if not text.strip() or not self.context.instruction:
            return Proposal(text)
        return self.read((yield self.ask_for(text)), text)

    def ask_for(self, text: str, *, replicate: int = 0, temperature: float = 0.0, seed: int | None = None) -> Request:
        """Returns the request for a correction."""
        shots = [{"noisy": noisy, "clean": clean} for noisy, clean in self.context.shots]
        content = render("rop/correct-v1", instruction=self.context.instruction, shots=shots, question=text)
        return self.request(content, replicate=replicate, temperature=temperature, seed=seed)

    def read(self, reply: Reply, text: str) -> Proposal:
        """Returns what a reply proposes: `text` itself, and the reason, where it is no correction of it."""
        proposed, reason = read_correction(reply, text)
        reason = reason or no_correction(text, proposed)
        if reason:
            return Proposal(text, reason)
        # A reply comes back without the white space around it.
        start, end = len(text) - len(text.lstrip()), len(text.rstrip())
        return Proposal(text[:start] + proposed.strip() + text[end:])
