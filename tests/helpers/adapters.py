"""TalkLoRA adapters on the tiny models, for the tests of the tuner."""

from __future__ import annotations

import torch
from peft import PeftModel, get_peft_model
from torch import nn

from helpers import models
from llmkit.talklora import PRESETS, TalkLoraConfig, TalkLoraLayer

LLAMA = ["q_proj", "k_proj", "v_proj", "up_proj", "down_proj"]
TARGETS = {"llama": LLAMA, "gpt2": ["c_attn", "c_proj", "c_fc"], "mlp": ["lin0", "lin1"]}
VARIANTS = {
    **PRESETS,
    "unshared": {"share_B": False},
    "top-2": {"top_k": 2},
    "after-softmax": {"talk": "after-softmax"},
    "frozen": {"talk": "frozen"},
    "no-router": {"router_input": "none", "talk": "off"},
}


def config(kind: str = "llama", variant: str = "talklora", **settings) -> TalkLoraConfig:
    fields = {"r": 8, "num_experts": 4, "alpha": 8, "init_weights": False, "target_modules": TARGETS[kind]}
    return TalkLoraConfig(**{**fields, **VARIANTS[variant], **settings})


def inputs(kind: str, rows: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    if kind == "mlp":
        return torch.randn(rows, 12, generator=generator)
    return torch.randint(1, models.VOCABULARY, (rows, 7), generator=generator)


def output(model: nn.Module, x: torch.Tensor, **kwargs) -> torch.Tensor:
    result = model(x, **kwargs)
    return result if isinstance(result, torch.Tensor) else result.logits


def adapted(kind: str = "llama", variant: str = "talklora", **settings) -> PeftModel:
    model = get_peft_model(getattr(models, kind)(), config(kind, variant, **settings)).eval()
    generator = torch.Generator().manual_seed(5)
    for parameter in model.parameters():
        if parameter.requires_grad:  # or a second model would start with the very weights that it fails to load
            parameter.data += 0.05 * torch.randn(parameter.shape, generator=generator)
    return model


def shared(model: PeftModel, adapter: str = "default") -> dict[str, torch.Tensor]:
    """The weight of every B that belongs to more than one layer, by its group."""
    groups = model.base_model.talklora_B
    return {group: module.weight for group, module in groups[adapter].items()} if adapter in groups else {}


def trainable(model: nn.Module) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def layers(model: nn.Module) -> dict[str, TalkLoraLayer]:
    """Every adapted layer by its path."""
    return {path: module for path, module in model.named_modules() if isinstance(module, TalkLoraLayer)}
