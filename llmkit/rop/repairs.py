"""Arms that repair the question first, each by a chain of correctors; any chain is an arm by its own name."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from llmkit.repair import Corrected, CorrectorContext, chain_of, is_chain
from llmkit.repair.base import CHAIN_MARK, CORRECTORS
from llmkit.rop.arms import ARMS, Arm, arm
from llmkit.rop.instructions import NO_CORRECTION
from llmkit.types import Steps, Variant


class Repairing(Arm):
    """Base of the arms that correct by a chain, then ask plainly. A subclass names its chain."""

    chain: ClassVar[str] = ""

    def ask(self, variant: Variant) -> Steps:
        """Corrects each text of the question, then asks. The chain of a set in another language knows no English."""
        instruction = self.context.instructions.correction.best
        context = CorrectorContext(
            "" if instruction == NO_CORRECTION else instruction,
            self.context.shots[: self.section.correction_shots],
            self.section.correction_max_tokens,
            lang="en" if self.context.english else "",
            seed=self.context.seed,
        )
        chain = chain_of(self.chain, context)
        texts, fallbacks = [], []
        for text in variant.texts:
            corrected: Corrected = yield from chain.correct(text, variant.question.options)
            texts.append(corrected.text)
            fallbacks.append(corrected.fallback)
        answer = yield from self.repaired(tuple(texts), variant)
        return answer if not any(fallbacks) else replace(answer, fallback=next(filter(None, fallbacks)))


@arm("unicode_fold")
class UnicodeFold(Repairing):
    """Folds letters that replace Latin ones, without a model, then asks (Unicode TR 39, skeletons)."""

    chain = "fold"
    resource = "Unicode TR 39"


@arm("spell_fix")
class SpellFix(Repairing):
    """Repairs English words without a model, then asks."""

    chain = "spell"
    english = True


def arm_of(name: str) -> type[Arm]:
    """Returns the arm of a name: a registered one, or the one that repairs by the chain of that name ("fold+spell").

    UsageError for a name that is neither.
    """
    if name in ARMS or not is_chain(name):
        return ARMS[name]
    links = [CORRECTORS[part] for part in name.split(CHAIN_MARK)]
    members = {
        "__doc__": f"Repairs by `{name}`, then asks.",
        "name": name,
        "chain": name,
        "english": any(link.english for link in links),
        "needs": frozenset({"correction"}) if any(link.asks for link in links) else frozenset(),
        "resource": next((link.resource for link in links if link.resource), ""),
    }
    return type(name, (Repairing,), members)
