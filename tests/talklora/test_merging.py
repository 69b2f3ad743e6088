"""Merging: exact where gates are constant, refused elsewhere."""

from __future__ import annotations

import peft
import pytest
import torch
from helpers import models
from helpers.adapters import adapted, config, inputs, layers, output, shared
from peft import get_peft_model

matrix = pytest.mark.parametrize("kind", ["llama", "gpt2", "mlp"])
constant = pytest.mark.parametrize("settings", [{"num_experts": 1}, {"router_input": "none", "talk": "off"}])


@matrix
@constant
def test_constant_gates_merge(kind, settings):
    model, x = adapted(kind, **settings), inputs(kind)
    before, base = output(model, x), output(getattr(models, kind)(), x)
    model.merge_adapter(safe_merge=True)
    torch.testing.assert_close(output(model, x), before, rtol=1e-4, atol=1e-5)
    with model.disable_adapter():  # takes the adapter out again
        torch.testing.assert_close(output(model, x), base, rtol=1e-4, atol=1e-5)
    model.merge_adapter()
    model.unmerge_adapter()
    torch.testing.assert_close(output(model, x), before, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(output(model.merge_and_unload(), x), before, rtol=1e-4, atol=1e-5)


def test_merging_is_refused_where_it_is_not_exact_or_not_finite():
    with pytest.raises(ValueError, match="gates depend on the input"):
        adapted().merge_adapter()
    model = adapted(num_experts=1)
    next(iter(shared(model).values())).data.fill_(float("nan"))
    with pytest.raises(ValueError, match="not finite"):
        model.merge_adapter(safe_merge=True)


@matrix
@constant
def test_t5_merging_is_exact_in_float64(kind, settings):
    model, x = adapted(kind, **settings).double(), inputs(kind)
    x = x.double() if x.is_floating_point() else x
    before = output(model, x)
    merged = output(model.merge_and_unload(), x)
    assert not torch.allclose(before, output(getattr(models, kind)().double(), x))
    torch.testing.assert_close(merged, before, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_merging_keeps_half_precision(dtype):
    torch.manual_seed(5)
    model, x = get_peft_model(models.llama().to(dtype), config(num_experts=1)).eval(), inputs("llama")
    before, base = output(model, x), output(models.llama().to(dtype), x)
    model.merge_adapter()
    assert {layer.get_base_layer().weight.dtype for layer in layers(model).values()} == {dtype}
    rounding = (output(model, x) - before).float().norm()
    assert 0 < rounding < 0.05 * (before - base).float().norm()


def test_merging_twice_adds_the_adapter_once():
    model, x = adapted(num_experts=1), inputs("llama")
    model.merge_adapter()
    once = output(model, x)
    with pytest.warns(UserWarning, match="[Aa]ll adapters are already merged"):
        model.merge_adapter()
    assert torch.equal(output(model, x), once)


@pytest.mark.skipif(
    tuple(map(int, peft.__version__.split(".")[:2])) < (0, 21), reason="PEFT itself does this since 0.21 only"
)
def test_a_merged_adapter_cannot_be_deleted():
    model, x = adapted(num_experts=1), inputs("llama")
    model.merge_adapter()
    merged = output(model, x)
    with pytest.raises(ValueError, match="while they are merged"):
        model.delete_adapter("default")
    assert torch.equal(output(model, x), merged)
