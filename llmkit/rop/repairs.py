"""Arms that repair the question first, each by a chain of correctors; any chain is an arm by its own name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import ClassVar

from llmkit.errors import UsageError
from llmkit.recipe import Recipe
from llmkit.registry import unknown
from llmkit.repair import Corrected, CorrectorContext, Repaired, chain_of
from llmkit.repair.base import CHAIN_MARK, CORRECTORS, links_of
from llmkit.rop.arms import ARMS, Arm, ArmContext, arm
from llmkit.rop.instructions import NO_CORRECTION
from llmkit.tasks.text import without_options
from llmkit.types import Steps, Variant


class Repairing(Arm):
    """Base of the arms that repair the question, then ask plainly. A subclass writes `repair`."""

    def repair(self, text: str, options: Sequence[str]) -> Steps:
        """Yields requests, if any, and is sent replies. Returns a `Corrected` or a `Repaired`."""
        raise TypeError(f"{type(self).__name__} does not say how it repairs")

    def ask(self, variant: Variant) -> Steps:
        """Repairs each text of the question, then asks. Where no text changes, it asks as `stand`."""
        texts, fallbacks = [], []
        for text in variant.texts:
            # Options that the answer's prompt leaves out need no correction either.
            question = without_options(text) if self.by_likelihood(variant) else text
            repaired: Corrected | Repaired = yield from self.repair(question, variant.question.options)
            texts.append(repaired.text + text[len(question) :])
            fallbacks.append(repaired.fallback)
        answer = yield from self.repaired(tuple(texts), variant)
        return replace(answer, fallback=next(filter(None, fallbacks), None))


class Chained(Repairing):
    """Base of the arms that correct by a chain, which a subclass names. That of a set in another language knows no
    English."""

    chain: ClassVar[str] = ""

    def __init__(self, context: ArmContext) -> None:
        super().__init__(context)
        instruction, section = context.instructions.correction.best, context.section
        settings = CorrectorContext(
            "" if instruction == NO_CORRECTION else instruction,
            context.shots[: section.correction_shots],
            section.correction_max_tokens,
            section.correction_votes,
            lang=context.lang,
            seed=context.seed,
        )
        self._chain = chain_of(self.chain, settings)

    def repair(self, text: str, options: Sequence[str]) -> Steps:
        return self._chain.correct(text, options)


@arm("unicode_fold")
class UnicodeFold(Chained):
    """Folds letters that replace Latin ones, without a model, then asks (Unicode TR 39, skeletons)."""

    chain = "fold"
    resource = "Unicode TR 39"


@arm("spell_fix")
class SpellFix(Chained):
    """Repairs words without a model: those of the language that `perturb.lang` gives, else English ones; then asks."""

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
def _chained(name: str) -> type[Chained]:
    links = links_of(name)
    members = {
        "__doc__": f"Repairs by `{name}`, then asks.",
        "name": name,
        "chain": name,
        "english": any(link.english for link in links),
        "needs": frozenset({"correction"} if any(link.instructed for link in links) else ()),
        "resource": next((link.resource for link in links if link.resource), ""),
    }
    return type(name, (Chained,), members)


def refuse_untrained(arms: Sequence[type[Arm]], recipe: Recipe) -> None:
    """Raises UsageError where a corrector needs a model that was trained for it, and the recipe names none."""
    for chosen in arms:
        if issubclass(chosen, Chained):
            refuse_untrained_chain(f"arm `{chosen.name}`", chosen.chain, recipe)


def refuse_untrained_chain(owner: str, chain: str, recipe: Recipe) -> None:
    """Does as `refuse_untrained` for one chain; `owner` is the arm or the repair that has it, in words."""
    if recipe.rop.corrector is None and any(link.trained for link in links_of(chain)):
        raise UsageError(
            f"{owner} asks an adapter that was trained to correct, and none is named",
            "train one (`llmkit finetune corrector-en`) and give its folder: --set rop.corrector=FOLDER",
        )
