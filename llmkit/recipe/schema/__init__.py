"""The recipe: one strict model, the only source of defaults."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from llmkit.recipe.schema.base import Section
from llmkit.recipe.schema.data import DataSection, PerturbSection
from llmkit.recipe.schema.finetune import FinetuneSection
from llmkit.recipe.schema.model import BeforeSection, EngineSection, ModelSection, UsageSection
from llmkit.recipe.schema.rop import (
    EvalSection,
    Gate,
    IntervalSection,
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
    "ModelSection",
    "OutputSection",
    "PerturbSection",
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
