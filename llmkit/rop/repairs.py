"""Arms that repair the question first, each by a chain of correctors; any chain is an arm by its own name."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import ClassVar

from llmkit.errors import UsageError
from llmkit.recipe import Recipe
from llmkit.registry import unknown
from llmkit.repair import Corrected, CorrectorContext, chain_of
from llmkit.repair.base import CHAIN_MARK, CORRECTORS, Chain, links_of
from llmkit.rop.arms import ARMS, Arm, arm
from llmkit.rop.instructions import NO_CORRECTION
from llmkit.tasks.text import without_options
from llmkit.types import Steps, Variant


class Repairing(Arm):
    """Base of the arms that correct by a chain, then ask plainly. A subclass names its chain."""

    chain: ClassVar[str] = ""

    def ask(self, variant: Variant) -> Steps:
        """Corrects each text of the question, then asks. The chain of a set in another language knows no English."""
        chain = self._chain()
        texts, fallbacks = [], []
        for text in variant.texts:
            # Options that the answer's prompt leaves out need no correction either.
            asked = without_options(text) if self.by_likelihood(variant) else text
            corrected: Corrected = yield from chain.correct(asked, variant.question.options)
            texts.append(corrected.text + text[len(asked) :])
            fallbacks.append(corrected.fallback)
        answer = yield from self.repaired(tuple(texts), variant)
        return replace(answer, fallback=next(filter(None, fallbacks), None))

    def _chain(self) -> Chain:
        instruction = self.context.instructions.correction.best
        context = CorrectorContext(
            "" if instruction == NO_CORRECTION else instruction,
            self.context.shots[: self.section.correction_shots],
            self.section.correction_max_tokens,
            self.section.correction_votes,
            lang="en" if self.context.english else "",
            seed=self.context.seed,
        )
        return chain_of(self.chain, context)


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

    UsageError for a name that is neither, with the nearest ones.
    """
    if name in ARMS:
        return ARMS[name]
    if CHAIN_MARK not in name and name not in CORRECTORS:
        raise unknown("arm", name, [*ARMS, *CORRECTORS])
    return _chained(name)


def known_arm(name: str) -> type[Arm] | None:
    """Returns the arm of a name that a stored run has, or None if there is no such arm here."""
    try:
        return arm_of(name)
    except UsageError:
        return None


@cache
def _chained(name: str) -> type[Repairing]:
    links = links_of(name)
    members = {
        "__doc__": f"Repairs by `{name}`, then asks.",
        "name": name,
        "chain": name,
        "english": any(link.english for link in links),
        "needs": frozenset({"correction"} if any(link.instructed for link in links) else ()),
        "resource": next((link.resource for link in links if link.resource), ""),
    }
    return type(name, (Repairing,), members)


def refuse_untrained(arms: list[type[Arm]], recipe: Recipe) -> None:
    """Raises UsageError where a corrector needs a model that was trained for it, and the recipe names none."""
    for chosen in arms:
        chain = chosen.chain if issubclass(chosen, Repairing) else ""
        if chain and recipe.rop.corrector is None and any(link.trained for link in links_of(chain)):
            raise UsageError(
                f"arm `{chosen.name}` asks an adapter that was trained to correct, and none is named",
                "train one (`llmkit finetune corrector-en`) and give its folder: --set rop.corrector=FOLDER",
            )
