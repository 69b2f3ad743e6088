"""`finetune`: repair in the weights."""

from __future__ import annotations

from pydantic import Field

from llmkit.recipe.schema.base import Section


class FinetuneSection(Section):
    """Supervised fine-tuning with any PEFT method."""

    method: str = "talklora"
    r: int = Field(16, ge=1)
    num_experts: int = Field(4, ge=1)
    alpha: float = Field(16.0, gt=0)
    target_modules: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "up_proj", "down_proj")
