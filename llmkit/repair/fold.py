"""`fold`: plain letters for letters in disguise."""

from __future__ import annotations

from llmkit.repair.base import Corrector, Proposal, corrector
from llmkit.repair.guard import QUOTES
from llmkit.repair.lookalikes import fold_lookalikes
from llmkit.types import Steps


@corrector("fold")
class Fold(Corrector):
    """Folds letters that replace Latin ones, without a model (Unicode TR 39, skeletons)."""

    resource = "Unicode TR 39"
    changes = frozenset({QUOTES})  # a letter in disguise is never what was quoted

    def propose(self, text: str) -> Steps:
        return Proposal(fold_lookalikes(text))
        yield
