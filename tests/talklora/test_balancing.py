"""The load-balancing loss: its value, its gradient, and its way into a training loop."""

from __future__ import annotations

import copy

import pytest
import torch
from helpers import models
from helpers.adapters import adapted, config, inputs
from peft import get_peft_model

from llmkit.talklora import TalkLoraConfig, TalkLoraLayer
from llmkit.talklora.balancing import balance
from llmkit.talklora.telemetry import Telemetry


def layer(**settings) -> TalkLoraLayer:
    torch.manual_seed(2)
    config = TalkLoraConfig(**{"r": 8, "num_experts": 4, "init_weights": False, "target_modules": ["lin0"], **settings})
    return get_peft_model(models.mlp(), config).base_model.model.lin0.train()


def gates(module: TalkLoraLayer, x: torch.Tensor) -> torch.Tensor:
    """softmax(W_g (C kron I) A x), (..., n), as it stands."""
    weights = module.weights("default")
    C = torch.eye(4) if weights["C"] is None else weights["C"]
    router = weights["W"] @ torch.kron(C, torch.eye(2))
    return torch.softmax(x @ (router @ module.talklora_A["default"].weight).T, dim=-1)


def test_the_loss_by_hand():
    gate = torch.tensor([[0.9, 0.1], [0.5, 0.5], [0.0, 1.0]])
    assert balance(gate[:2], gate[:2], None).item() == pytest.approx(2 * (0.7**2 + 0.3**2))
    assert balance(gate, gate, torch.tensor([1, 1, 0])).item() == pytest.approx(2 * (0.7**2 + 0.3**2))
    assert balance(torch.full((5, 4), 0.25), torch.full((5, 4), 0.25), None).item() == pytest.approx(1)
    assert balance(torch.eye(4)[:1], torch.eye(4)[:1], None).item() == pytest.approx(4)


@pytest.mark.parametrize("top_k", [None, 2])
@pytest.mark.parametrize("masked", [False, True])
def test_its_gradient_holds_the_final_gates_constant(masked, top_k):
    module, x, keep = layer(balance_coef=0.3, top_k=top_k), torch.randn(2, 5, 12), torch.ones(2, 5)
    if masked:
        keep[1, :3] = 0
    module.current.begin(keep if masked else None)
    module.delta(x, "default")
    (loss,) = module.current.end()
    loss.backward()
    got = module.talklora_router["default"].weight.grad.clone()
    module.zero_grad()

    p = gates(module, x)
    final = p.detach()
    if top_k:
        final = torch.where(final >= final.topk(top_k)[0][..., -1:], final, 0)
        final = final / final.sum(-1, keepdim=True)
    f, P = ((g * keep[..., None]).sum((0, 1)) / keep.sum() for g in (final, p))
    expected = 0.3 * 4 * (f * P).sum()
    torch.testing.assert_close(loss, expected)
    expected.backward()
    torch.testing.assert_close(got, module.talklora_router["default"].weight.grad)
    assert got.any()


def test_it_evens_out_the_experts():
    module = layer(balance_coef=1.0, talk="off")
    with torch.no_grad():
        module.talklora_router["default"].weight *= 8
    x = torch.randn(256, 12) + 1
    load = lambda: gates(module, x).mean(0).max().item()  # noqa: E731
    before = load()
    optimizer = torch.optim.Adam(module.parameters(), lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        module.current.begin(None)
        module.delta(x, "default")
        sum(module.current.end()).backward()
        optimizer.step()
    assert load() < 0.3 < 0.34 < before


def test_a_pass_has_the_sum_over_its_layers_once():
    model, x = adapted(balance_coef=0.5, target_modules=["q_proj", "v_proj"]).train(), inputs("llama")
    model(x)
    loss = model.base_model.balance_loss()
    assert 4 * 0.5 <= loss.item() < 4 * 0.5 * 1.5  # four layers, each at least coef
    assert model.base_model.balance_loss() == 0
    model(x)
    assert torch.equal(model.base_model.balance_loss(), loss)
    model.eval()(x)
    assert model.base_model.balance_loss() == 0
    assert adapted().train().base_model.balance_loss() == 0


def step(model: torch.nn.Module, batches: list[torch.Tensor], scale: float = 1.0) -> dict[str, torch.Tensor]:
    """Gradients of the mean over micro-batches, under a loss scaling that is taken out again."""
    model.zero_grad()
    for x in batches:
        loss = 0 * model(x).logits.sum() + model.base_model.balance_loss()
        (scale * loss / len(batches)).backward()
    return {name: p.grad / scale for name, p in model.named_parameters() if "router" in name}


def test_accumulated_passes_and_a_scaled_loss_leave_its_weight_alone():
    model, x = adapted(balance_coef=0.5).train(), inputs("llama", rows=2)
    whole = step(model, [torch.cat([x, x])])
    assert all(gradient.any() for gradient in whole.values())
    for other in (step(model, [x, x]), step(model, [torch.cat([x, x])], scale=2.0**16)):
        for name, gradient in whole.items():
            torch.testing.assert_close(other[name], gradient, rtol=1e-4, atol=1e-8)


def test_the_loss_that_nobody_adds_is_warned_of():
    model, x = adapted(balance_coef=0.5).train(), inputs("llama")
    model(x)
    with pytest.warns(UserWarning, match="balance_coef had no effect"):
        model(x)


def test_a_model_in_training_can_be_copied():
    model, x = adapted(balance_coef=0.5).train(), inputs("llama")
    model(x)
    twin = copy.deepcopy(model)
    twin(x)
    assert torch.equal(twin.base_model.balance_loss(), model.base_model.balance_loss())


def test_reentrant_checkpointing_which_loses_the_gradient_is_refused():
    model, x = adapted(balance_coef=0.5).train(), inputs("llama")
    model.enable_input_require_grads()
    model.base_model.model.gradient_checkpointing_enable({"use_reentrant": True})
    model(x)
    with pytest.raises(RuntimeError, match="use_reentrant=False"):
        model.base_model.balance_loss()


def test_the_mask_of_the_pass_under_way_reaches_the_layers():
    model = adapted(balance_coef=0.1, target_modules=["q_proj"])
    mask = torch.tensor([[0, 1, 1], [1, 1, 1]])
    model(torch.ones(2, 3, dtype=torch.long), attention_mask=mask)
    current = model.base_model.current
    assert torch.equal(current.mask, mask)
    new = torch.rand(2, 1, 4)  # one new position, with a cache
    assert torch.equal(current.mask_of(new), mask[:, -1:])
    assert torch.equal(current.mask_of(torch.rand(6, 4)), mask.flatten())
    model(torch.ones(2, 3, dtype=torch.long))
    assert current.mask is None


@pytest.mark.parametrize("copied", [False, True])
def test_unloading_leaves_no_hook(copied):
    model = adapted(balance_coef=0.5)
    if copied:
        model = copy.deepcopy(model)
    assert model.base_model.model._forward_pre_hooks
    base = model.unload()
    assert not base._forward_pre_hooks
    assert not base._forward_pre_hooks_with_kwargs


def test_telemetry_leaves_no_hook_and_takes_none_away():
    for coef in (0.0, 0.5):
        model = adapted(balance_coef=coef)
        with Telemetry(model):
            assert model.base_model.model._forward_pre_hooks
        assert bool(model.base_model.model._forward_pre_hooks) == bool(coef)


def test_the_hook_goes_with_the_last_adapter_that_needs_it():
    model = adapted(balance_coef=0.5)
    model.add_adapter("second", config())
    model.delete_adapter("default")
    assert not model.base_model.model._forward_pre_hooks
