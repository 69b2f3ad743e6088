"""The recipe: one strict model, the only source of defaults."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from llmkit.recipe.schema.base import LATER, Section
from llmkit.recipe.schema.data import DataSection, PerturbSection
from llmkit.recipe.schema.finetune import FinetuneSection
from llmkit.recipe.schema.model import BeforeSection, EngineSection, ModelSection, UsageSection
from llmkit.recipe.schema.prompts import PromptSection
from llmkit.recipe.schema.rop import (
    EvalSection,
    Gate,
    IntervalSection,
    JudgeSection,
    OutputSection,
    RopSection,
    SearchSection,
)

__all__ = [
    "BeforeSection",
    "DataSection",
    "EngineSection",
    "EvalSection",
    "FinetuneSection",
    "Gate",
    "IntervalSection",
    "JudgeSection",
    "ModelSection",
    "OutputSection",
    "PerturbSection",
    "PromptSection",
    "Recipe",
    "RopSection",
    "SearchSection",
    "Section",
    "UsageSection",
    "meaning",
]


class Recipe(Section):
    """Everything that one run needs. A command asks only for its own sections."""

    version: Literal[1] = 1
    """The version of the recipe format."""
    seed: int = Field(7, ge=0)
    """The seed of everything random."""
    model: ModelSection = ModelSection()
    engine: EngineSection = EngineSection()
    data: DataSection = DataSection()
    prompts: Annotated[tuple[PromptSection, ...], LATER] = ()
    """Prompts of your own, each a `name` and a `file` (docs/prompts.md). The first is the one that others are compared
    with. Default: rows without answers are sent as they are, questions with answers are put in llmkit's words."""
    perturb: PerturbSection = PerturbSection()
    rop: RopSection = RopSection()
    finetune: FinetuneSection = FinetuneSection()
    eval: EvalSection = EvalSection()
    output: OutputSection = OutputSection()


def meaning(key: str) -> str:
    """Returns what a dotted key means, on one line. The help of a flag is the meaning of the key that it sets.

    >>> meaning("data.task")
    'A name from `llmkit data ls`.'
    """
    *sections, name = key.split(".")
    model: type[Section] = Recipe
    for section in sections:
        inner = model.model_fields[section].annotation
        assert isinstance(inner, type)
        assert issubclass(inner, Section)
        model = inner
    return " ".join((model.model_fields[name].description or "").split())
