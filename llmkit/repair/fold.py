"""`fold`: plain letters for letters in disguise."""

from __future__ import annotations

from llmkit.perturb.languages import Language
from llmkit.repair.base import Corrector, Proposal, corrector
from llmkit.repair.fold_in import fold_in
from llmkit.repair.guard import QUOTES
from llmkit.repair.lookalikes import fold_lookalikes
from llmkit.types import Steps


@corrector("fold")
class Fold(Corrector):
    """Folds letters that replace those of the language, without a model: Latin ones, in Cyrillic and Greek texts of a
    language that is given their own (Unicode TR 39, skeletons)."""

    resource = "Unicode TR 39"
    changes = frozenset({QUOTES})  # a letter in disguise is never what was quoted

    def propose(self, text: str) -> Steps:
        return Proposal(fold_lookalikes(text))
        yield

    def propose_in(self, text: str, language: Language) -> Steps:
        return Proposal(fold_in(text, language))
        yield
