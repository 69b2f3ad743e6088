"""Merging: exact where gates are constant, refused elsewhere."""

from __future__ import annotations

import pytest
import torch
from helpers import models
from helpers.adapters import adapted, config, inputs, layers, output, shared
from peft import convert_to_lora, get_peft_model, set_peft_model_state_dict

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
    with pytest.raises(ValueError, match="NaNs detected in the merged weights"):
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


def test_a_merged_adapter_cannot_be_deleted():
    model, x = adapted(num_experts=1), inputs("llama")
    model.merge_adapter()
    merged = output(model, x)
    with pytest.raises(ValueError, match="while they are merged"):
        model.delete_adapter("default")
    assert torch.equal(output(model, x), merged)


@matrix
def test_a_refused_merge_changes_nothing(kind):
    model, x = adapted(kind, num_experts=1, target_modules=adapted_paths(kind)[-1:]), inputs(kind)
    model.add_adapter("many", config(kind))
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    for merge in (model.merge_adapter, model.merge_and_unload):
        with pytest.raises(ValueError, match="'many' cannot be merged: its gates depend on the input"):
            merge(adapter_names=["default", "many"])
        assert not model.get_model_status().merged_adapters
        assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())
        assert output(model, x).isfinite().all()


def adapted_paths(kind: str) -> list[str]:
    return list(layers(adapted(kind).base_model.model))


def test_a_merge_stopped_by_a_broken_weight_changes_nothing():
    model = adapted(num_experts=1)
    list(shared(model).values())[-1].data.fill_(float("inf"))
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    for merge in (model.merge_adapter, model.merge_and_unload):
        with pytest.raises(ValueError, match="The adapter default seems to be broken"):
            merge(safe_merge=True)
        assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())


def test_one_expert_merges_whatever_its_dropouts():
    model, x = adapted(num_experts=1, gate_dropout=0.1, dropout=0.1, output_dropout=0.1), inputs("llama")
    before = output(model, x)
    torch.testing.assert_close(output(model.merge_and_unload(), x), before, rtol=1e-4, atol=1e-5)


def test_unmerging_what_is_not_merged_is_warned_of():
    model = adapted(num_experts=1)
    with pytest.warns(UserWarning, match=r"Already unmerged. Nothing to do\."):
        model.unmerge_adapter()


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
@constant
def test_constant_gates_convert_to_lora(kind, settings):
    model, x = adapted(kind, **settings), inputs(kind)
    assert model.supports_lora_conversion()
    lora_config, weights = convert_to_lora(model, rank=8)
    converted = get_peft_model(getattr(models, kind)(), lora_config).eval()
    set_peft_model_state_dict(converted, weights)
    torch.testing.assert_close(output(converted, x), output(model, x), rtol=1e-3, atol=1e-4)


def test_gates_that_depend_on_the_input_do_not_convert():
    model = adapted()
    assert not model.supports_lora_conversion()
    with pytest.raises(TypeError, match="do not support LoRA conversion"):
        convert_to_lora(model, rank=8)
