"""`adapter_names`: every row of a batch its own adapter."""

from __future__ import annotations

import pytest
import torch
from helpers.adapters import adapted, config, inputs, output
from peft import PeftModel

matrix = pytest.mark.parametrize("kind", ["llama", "gpt2", "mlp"])


def each_row_alone(model: PeftModel, x: torch.Tensor, names: list[str]) -> torch.Tensor:
    """Row i with adapter names[i] active for all rows."""
    rows = []
    for i, name in enumerate(names):
        if name == "__base__":
            with model.disable_adapter():
                rows.append(output(model, x)[i])
        else:
            model.set_adapter(name)
            rows.append(output(model, x)[i])
    return torch.stack(rows)


@matrix
def test_a_mixed_batch_gives_each_row_its_own_adapter(kind):
    model, x = adapted(kind), inputs(kind, rows=4)
    model.add_adapter("second", config(kind, r=4, num_experts=2))
    names = ["second", "__base__", "default", "second"]
    expected = each_row_alone(model, x, names)
    torch.testing.assert_close(output(model, x, adapter_names=names), expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(output(model, x)[3], expected[3])  # the hooks are gone


def test_a_mixed_batch_gives_each_row_its_own_saved_modules():
    model, x = adapted(modules_to_save=["lm_head"]), inputs("llama", rows=4)
    model.add_adapter("second", config(modules_to_save=["lm_head"]))
    heads = model.base_model.model.lm_head.modules_to_save
    for name, shift in (("default", 0.1), ("second", -0.3)):
        heads[name].weight.data += shift
    names = ["second", "__base__", "default", "second"]
    expected = each_row_alone(model, x, names)
    torch.testing.assert_close(output(model, x, adapter_names=names), expected, rtol=1e-5, atol=1e-6)


def test_a_mixed_batch_with_a_merged_adapter_is_refused():
    model, x = adapted(num_experts=1), inputs("llama", rows=2)
    names = ["default", "__base__"]
    expected = output(model, x, adapter_names=names)
    model.merge_adapter()
    with pytest.raises(ValueError, match="please call `unmerge_adapter` first"):
        model(x, adapter_names=names)
    model.unmerge_adapter()
    torch.testing.assert_close(output(model, x, adapter_names=names), expected, rtol=1e-5, atol=1e-6)


def test_a_mixed_batch_can_be_generated_by_beam_search():
    model, x = adapted(task_type="CAUSAL_LM"), inputs("llama", rows=2)
    settings = {"max_new_tokens": 5, "num_beams": 2, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    mixed = model.generate(input_ids=x, adapter_names=["default", "__base__"], **settings)
    assert torch.equal(mixed[0], model.generate(input_ids=x, **settings)[0])
    with model.disable_adapter():
        assert torch.equal(mixed[1], model.generate(input_ids=x, **settings)[1])


def test_mixed_batches_that_cannot_be_are_refused():
    model, x = adapted(), inputs("llama", rows=2)
    with pytest.raises(ValueError, match=r"non-existing adapter\(s\): nobody"):
        model(x, adapter_names=["default", "nobody"])
    with pytest.raises(ValueError, match=r"Length of `adapter_names` should be .* but got 1 and 2"):
        model(x, adapter_names=["default"])
    with pytest.raises(ValueError, match="Cannot pass `adapter_names` when the model is in training mode"):
        model.train()(x, adapter_names=["default", "default"])
