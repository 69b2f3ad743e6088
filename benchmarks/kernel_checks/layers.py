"""An adapted layer, what it gives, and how far two results are apart: for the tests of the kernels."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from llmkit.talklora import TalkLoraConfig
from llmkit.talklora.balancing import ForwardPass
from llmkit.talklora.layer import Linear

D, K = 12, 10


def layer_of(preset: str = "talklora", r: int = 16, n: int = 4, d: int = D, k: int = K, **settings: Any) -> Linear:
    layer = Linear(nn.Linear(d, k, bias=False).requires_grad_(False), ForwardPass())
    settings = {"share_B": False, "init_weights": False, "alpha": 8.0} | settings
    layer.update_layer("default", TalkLoraConfig.preset(preset, r=r, num_experts=n, **settings), None)
    layer.set_adapter("default")
    return layer.train()


def plain(layer: Linear) -> Linear:
    """Returns a copy in float64, which no kernel serves."""
    return copy.deepcopy(layer).double()


def run(layer: nn.Module, x: Tensor, weight: Tensor) -> list[Tensor]:
    """Returns the output and the gradients of x and of every parameter, dropout drawn from one seed."""
    torch.manual_seed(1)
    x = x.detach().requires_grad_()
    y = layer(x)
    parameters = [p for p in layer.parameters() if p.requires_grad]
    return [y, *torch.autograd.grad((y * weight.to(y.dtype)).sum(), [x, *parameters])]


def worst(got: list[Tensor], wanted: list[Tensor]) -> float:
    """Returns the largest relative error, as norms."""
    pairs = zip(got, wanted, strict=True)
    return max(((a.double() - b.double()).norm() / b.double().norm().clamp(min=1e-12)).item() for a, b in pairs)
