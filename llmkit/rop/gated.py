"""The arm that repairs as a repair.json says, what its guarantee is worth in a run, and the file that `rop` writes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Literal

from llmkit.conditions import POOLED
from llmkit.engines import Engine
from llmkit.engines.chat import ChatStyle
from llmkit.errors import UsageError
from llmkit.files import text_digest
from llmkit.recipe import Recipe
from llmkit.repair import Repair, RepairFile, describe, document
from llmkit.repair.base import links_of
from llmkit.repair.document import AskedModel
from llmkit.rop.arms import Arm, ArmContext, arm
from llmkit.rop.instructions import NO_CORRECTION, Instructions
from llmkit.rop.reflection import refuse_missing
from llmkit.rop.repairs import Repairing, arm_of, refuse_untrained_chain
from llmkit.tasks import TASKS
from llmkit.types import Steps

REPAIR = "repair"


@arm(REPAIR)
class Gated(Repairing):
    """Repairs as the file of `rop.repair` says, where its gate fires, then asks."""

    def __init__(self, context: ArmContext) -> None:
        super().__init__(context)
        self._repair = Repair(document.read(_file(self.section.repair)))

    def repair(self, text: str, options: Sequence[str]) -> Steps:
        return self._repair.steps(text, options)


def arms_of(recipe: Recipe, command: Literal["rop", "eval"]) -> list[type[Arm]]:
    """Returns the arm classes that a command measures, each once: those named, and `repair` where a file is given.

    UsageError where no arm is named, the arm `repair` without its file or its corrector, or a search without its
    package; DataError for a file that is no repair.
    """
    names = dict.fromkeys(recipe.rop.arms if command == "rop" else recipe.eval.arms)
    if not names:
        raise UsageError("no arm is named", "such as stand, correct_only or fold+spell")
    if recipe.rop.repair:
        names |= {REPAIR: None}
    if REPAIR in names:
        chain = document.read(_file(recipe.rop.repair)).chain
        refuse_untrained_chain(f"the repair `{chain}`", chain, recipe)
    arms = [arm_of(name) for name in names]
    if any(arm.needs & {"correction", "guidance"} for arm in arms) and not recipe.rop.instructions:
        refuse_missing(recipe.rop.search)
    return arms


def _file(path: str | None) -> str:
    if path is None:
        raise UsageError(
            f"arm `{REPAIR}` needs a repair.json", "give it with --repair FILE; `llmkit calibrate` writes one"
        )
    return path


def standing(recipe: Recipe, engine: Engine) -> str | None:
    """Returns the guarantee of the run's repair in words, void where it was calibrated for another model; None without
    a repair."""
    if recipe.rop.repair is None:
        return None
    repair = document.read(recipe.rop.repair)
    return f"{repair.chain}: {describe.guarantee(repair, _void(repair, recipe, engine))}"


def how_asked(recipe: Recipe, chain: str, model: str) -> dict[str, str | None]:
    """Returns a recipe's surroundings of a question and of its correction by a chain, as fields of `AskedModel`: other
    prompts, kinds of answers, limits or temperatures give other answers, and so another harm. `model` is the name of
    the one that answers, which corrects as well where no other one is named."""
    data, rop = recipe.data, recipe.rop
    kind = TASKS[data.task].kind if data.task else data.kind
    prompts = [prompt.text for prompt in recipe.prompts]
    system = ChatStyle.of(recipe.model).system
    how = (prompts, system, kind, recipe.eval.answer, rop.max_tokens, rop.temperature)
    asks = any(link.asks for link in links_of(chain))
    return {"asked": text_digest(json.dumps(how)), "corrector": _corrector(recipe, model) if asks else None}


def _corrector(recipe: Recipe, model: str) -> str:
    own = recipe.rop.corrector
    return model if own is None or own == recipe.model.path else own


def _void(repair: RepairFile, recipe: Recipe, engine: Engine) -> str | None:
    """Returns the reason why a guarantee does not apply to the model of a run, or to the way in which it is asked."""
    if repair.model is None or not repair.guarantee:
        return None
    model = recipe.model
    # A server's identity is known only after a request; its name and its adapter are known before.
    here = AskedModel(model=model.path or "", revision=model.revision, adapter=model.adapter)
    if engine.identity_is_local:
        local = AskedModel.of(engine.identity)
        same_path = model.adapter is not None and model.adapter == repair.model.adapter
        here = local.model_copy(update={"adapter": model.adapter}) if same_path else local
    differences = repair.model.differences(here.model_copy(update=how_asked(recipe, repair.chain, here.model)))
    return f"it was calibrated for another model ({'; '.join(differences)})" if differences else None


def searched_repair(
    instruction_sets: Sequence[Instructions], recipe: Recipe, run: str, shots: Sequence[tuple[str, str]]
) -> RepairFile | None:
    """Returns the repair that a search found, without gate and guarantee; None where questions are best left alone, or
    where it depends on the noise."""
    first, *others = instruction_sets
    if others or first.trained_on != POOLED or first.correction.best == NO_CORRECTION:
        return None
    search, model = first.correction, recipe.model.path or ""
    origin = {"run": run, "score": search.mean, "why": search.why}
    return RepairFile(
        chain="model",
        instruction=search.best,
        provenance={name: value for name, value in origin.items() if value is not None},
        shots=tuple(shots),
        max_tokens=recipe.rop.correction_max_tokens,
        model=AskedModel(model=model, adapter=recipe.model.adapter, corrector=_corrector(recipe, model)),
    )
