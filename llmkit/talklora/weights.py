"""Tensors of an adapter in modules of their own, and access to those that are offloaded."""

from __future__ import annotations

from collections.abc import ItemsView, ValuesView
from typing import TYPE_CHECKING, Generic, TypeVar

import torch
from torch import Tensor, nn

from llmkit.talklora.config import TalkLoraConfig

if TYPE_CHECKING:
    Part = TypeVar("Part", bound=nn.Module)

    class Parts(nn.ModuleDict, Generic[Part]):
        """A ModuleDict whose modules are of one type: one for each adapter."""

        def __getitem__(self, key: str) -> Part: ...
        def items(self) -> ItemsView[str, Part]: ...
        def values(self) -> ValuesView[Part]: ...


class Weight(nn.Module):
    """One tensor in a module of its own, so that all adapter weights move, cast and save alike.

    Not `trained`, it is a buffer: no switch of requires_grad reaches it, and PEFT does not count it as frozen.
    """

    weight: Tensor

    def __init__(self, *shape: int, trained: bool = True) -> None:
        super().__init__()
        if trained:
            self.weight = nn.Parameter(torch.empty(*shape))
        else:
            self.register_buffer("weight", torch.empty(*shape))


def weight_of(module: nn.Linear | Weight) -> Tensor:
    """Returns a module's weight, also if accelerate offloads it to memory or disk between calls of that module."""
    hook = module.__dict__.get("_hf_hook")
    if hook is None:
        return module.weight
    hook.pre_forward(module)
    weight = module.weight
    hook.post_forward(module, torch.tensor([]))
    return weight


def up_projection(config: TalkLoraConfig, out_features: int) -> nn.Linear:
    """Creates a new B, (k, n m): zero, so that a new adapter changes nothing (random with init_weights=False)."""
    module = nn.Linear(config.up_rank, out_features, bias=False)
    if config.init_weights:
        nn.init.zeros_(module.weight)
    return module
