"""Weights that are elsewhere between calls: offloaded by accelerate to memory or disk, or nowhere (the meta device)."""

from __future__ import annotations

import copy

import pytest
import torch
from accelerate import cpu_offload, disk_offload, dispatch_model
from helpers import models
from helpers.adapters import VARIANTS, adapted, config, inputs, output
from peft import PeftModel, get_peft_model
from torch import nn

PLACES = ("model.embed_tokens", "model.layers", "model.norm", "model.rotary_emb", "lm_head")


def offloaded(model: nn.Module, where: str, folder) -> nn.Module:
    if where == "memory":
        return cpu_offload(model, execution_device=torch.device("cpu"))
    return disk_offload(model, str(folder), execution_device=torch.device("cpu"))


@pytest.mark.parametrize("where", ["memory", "disk"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_an_offloaded_model_answers_the_same(where, variant, tmp_path):
    model, x = adapted(variant=variant), inputs("llama")
    with torch.no_grad():
        expected = output(model, x)
        model = offloaded(model, where, tmp_path)
        assert all(p.is_meta for name, p in model.named_parameters() if "talklora_" in name)
        torch.testing.assert_close(output(model, x), expected)
    torch.testing.assert_close(output(model, x), expected)  # as in training, where nothing is folded


@pytest.mark.parametrize("where", ["memory", "disk"])
def test_an_offloaded_adapter_merges(where, tmp_path):
    model, x = adapted(num_experts=1), inputs("llama")
    expected = output(model, x)
    model = offloaded(model, where, tmp_path)
    model.base_model._check_merge(None, safe_merge=False)
    for layer in model.base_model._layers("default").values():
        delta = layer.get_delta_weight("default")
        assert not delta.is_meta
        assert delta.shape == (layer.out_features, layer.in_features)
    torch.testing.assert_close(output(model, x), expected)


@pytest.mark.parametrize("where", ["layers", "everything"])
def test_an_adapter_is_loaded_into_a_base_on_the_disk(where, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # PEFT writes the offloaded base below the working directory
    model, x = adapted(), inputs("llama")
    model.save_pretrained(tmp_path / "adapter")
    models.llama().save_pretrained(tmp_path / "base")
    places = {place: "disk" if place == "model.layers" else "cpu" for place in PLACES}
    base = type(models.llama()).from_pretrained(
        tmp_path / "base", device_map=places, offload_folder=str(tmp_path / "offload")
    )
    device_map = {"": "disk"}
    if where == "layers":
        device_map = {f"base_model.model.{place}": at for place, at in places.items()}
        device_map["base_model.talklora_B"] = "cpu"
    loaded = PeftModel.from_pretrained(
        base, tmp_path / "adapter", device_map=device_map, offload_folder=str(tmp_path / "again")
    ).eval()
    assert loaded.base_model.model.model.layers[0].mlp.up_proj.talklora_A["default"].weight.is_meta
    with torch.no_grad():
        torch.testing.assert_close(output(loaded, x), output(model, x))


def test_a_dispatched_model_takes_an_adapter():
    x = inputs("llama")
    base = dispatch_model(models.llama(), dict.fromkeys(PLACES, "cpu"), main_device="cpu", force_hooks=True)
    model, plain = get_peft_model(base, config()).eval(), adapted()
    model.load_state_dict(copy.deepcopy(plain.state_dict()))
    torch.testing.assert_close(output(model, x), output(plain, x))


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_model_without_values_gives_shapes(variant):
    with torch.device("meta"):
        base = models.llama()
    model, ids = get_peft_model(base, config(variant=variant)), torch.zeros(2, 5, dtype=torch.long, device="meta")
    for training in (True, False):
        model.train(training)
        logits = output(model, ids)
        assert logits.is_meta
        with torch.no_grad():
            assert output(model, ids).shape == logits.shape == (2, 5, models.VOCABULARY)
