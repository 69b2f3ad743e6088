"""Derivatives of every order: they are autograd's own, so a penalty on gradients and torch.func are right."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, jacfwd, jacrev, vmap

from llmkit.talklora import TalkLoraConfig
from llmkit.talklora.balancing import ForwardPass
from llmkit.talklora.layer import Linear
from llmkit.talklora.reference import per_expert

D, K, R, N = 5, 4, 4, 2
VARIANTS = {
    "talklora": {},
    "scaled": {"alpha": 3.0},
    "after the softmax": {"talk": "after-softmax"},
    "top 1": {"top_k": 1},
    "bounded": {"spectral_bound": 0.5},
    "moelora": {"router_input": "input", "talk": "off", "transform": False},
    "hydralora": {"router_input": "input", "talk": "off", "transform": False, "share_A": True},
}
variants = pytest.mark.parametrize("settings", VARIANTS.values(), ids=VARIANTS)


def make_layer(**settings) -> Linear:
    torch.manual_seed(4)
    layer = Linear(nn.Linear(D, K), ForwardPass())
    layer.update_layer("default", TalkLoraConfig(r=R, num_experts=N, share_B=False, **settings), None)
    layer.set_adapter("default")
    for parameter in layer.double().parameters():
        nn.init.normal_(parameter)
    return layer.requires_grad_(True)


def adapter_weights(layer: Linear) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in layer.named_parameters() if "talklora_" in name}


@variants
def test_first_and_second_derivatives_are_those_of_finite_differences(settings):
    layer = make_layer(**settings)
    weights = adapter_weights(layer)

    def run(x: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        return functional_call(layer, dict(zip(weights, values, strict=True)), (x,))

    arguments = tuple(t.requires_grad_() for t in (torch.randn(2, D, dtype=torch.float64), *weights.values()))
    assert torch.autograd.gradcheck(run, arguments)
    assert torch.autograd.gradgradcheck(run, arguments, atol=1e-6)


def test_a_penalty_on_gradients_trains_as_the_equations_do():
    layer, x = make_layer(alpha=8.0), torch.randn(6, D, dtype=torch.float64, requires_grad=True)
    weights = {"A": layer.talklora_A["default"].weight, **layer.weights("default"), "B": layer.up("default").weight}
    found = []
    for y in (layer.delta(x, "default"), per_expert(x, **weights, scale=2.0)):
        (slope,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        found.append(torch.autograd.grad(slope.square().sum(), list(weights.values())))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_torch_func_differentiates_it_forwards_backwards_and_by_row():
    layer, x = make_layer(), torch.randn(3, D, dtype=torch.float64)
    weights = adapter_weights(layer)

    def loss(values: dict[str, torch.Tensor], row: torch.Tensor) -> torch.Tensor:
        return functional_call(layer, values, (row,)).square().sum()

    by_row = vmap(grad(loss), in_dims=(None, 0))(weights, x)
    for i, row in enumerate(x):
        for name, gradient in grad(loss)(weights, row).items():
            torch.testing.assert_close(by_row[name][i], gradient)
    torch.testing.assert_close(jacfwd(layer)(x), jacrev(layer)(x))


def test_weights_that_torch_func_lends_a_layer_are_not_kept():
    layer, x = make_layer().eval(), torch.randn(3, D, dtype=torch.float64)
    stacked = {name: torch.stack([w, 2 * w]) for name, w in adapter_weights(layer).items()}
    with torch.no_grad():
        own = layer(x)
        both = vmap(lambda values: functional_call(layer, values, (x,)))(stacked)
        torch.testing.assert_close(both[0], own)
        for name, parameter in layer.named_parameters():
            if "talklora_" in name:
                parameter.mul_(2)
        torch.testing.assert_close(both[1], layer(x))
