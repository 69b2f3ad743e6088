"""`vote`: the changes that most of several sampled corrections agree on."""

from __future__ import annotations

from collections import Counter

from llmkit.perturb.text import apply
from llmkit.repair.base import Proposal, corrector
from llmkit.repair.guard import changes_between
from llmkit.repair.model import Model
from llmkit.seeds import derive
from llmkit.types import Steps

_TEMPERATURE = 0.7  # as in self-consistency (Wang et al. 2023, arXiv 2203.11171)


@corrector("vote")
class Vote(Model):
    """Asks for several sampled corrections, and keeps each change that more than half of them make.

    A reply that is no correction votes against every change. Changes of a majority never overlap, because some
    correction makes both.
    """

    cost = "k calls (5)"

    def propose(self, text: str) -> Steps:
        votes = self.context.votes
        if not text.strip() or not self.context.instruction:
            return Proposal(text)
        seeds = [derive(self.context.seed, "vote", i) % 2**31 for i in range(votes)]
        replies = yield [
            self.ask_for(text, replicate=i, temperature=_TEMPERATURE, seed=seed) for i, seed in enumerate(seeds)
        ]
        proposals = [self.read(reply, text) for reply in replies]
        counts = Counter(change for p in proposals if not p.fallback for change in changes_between(text, p.text))
        changes = sorted(change for change, count in counts.items() if 2 * count > votes)
        unusable = [p.fallback for p in proposals if p.fallback]
        return Proposal(apply(text, changes)[0], unusable[0] if 2 * len(unusable) >= votes else None)
