"""Folding, the static LoRA, reading adapters from disk."""

from __future__ import annotations

import json

import pytest
import torch
from helpers import models
from peft import PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

from llmkit.talklora import PRESETS, TalkLoraConfig, TalkLoraLayer
from llmkit.talklora.export import AdapterError, fold_adapter, read_adapter, static_lora

TARGETS = ["q_proj", "k_proj", "v_proj", "up_proj", "down_proj"]
IDS = torch.arange(1, 15).view(2, 7)


def adapted(**settings) -> PeftModel:
    torch.manual_seed(4)
    config = TalkLoraConfig(
        **{"r": 8, "num_experts": 4, "alpha": 24, "init_weights": False, "target_modules": TARGETS, **settings}
    )
    return get_peft_model(models.llama(), config).eval()


@pytest.mark.parametrize(
    "settings", [*PRESETS.values(), {"spectral_bound": 0.4}, {"router_input": "none", "talk": "off"}], ids=str
)
def test_a_saved_adapter_folds_exactly(settings, tmp_path):
    model = adapted(**settings).double()
    model.save_pretrained(tmp_path)
    config, state_dict = read_adapter(tmp_path)
    folded = fold_adapter(config, state_dict)
    layers = {n: m for n, m in model.base_model.model.named_modules() if isinstance(m, TalkLoraLayer)}
    assert folded.keys() == layers.keys()
    for path, layer in layers.items():
        x, q = torch.randn(3, layer.in_features, dtype=torch.float64), config.up_rank
        A, B, scale = folded[path]
        assert A.shape == (q + 4, layer.in_features)
        assert B.shape == (layer.out_features, q + 4)
        assert not B[:, q:].any()
        z = x @ A.T
        gate = torch.softmax(z[:, q:], -1).repeat_interleave(config.expert_rank, -1)
        torch.testing.assert_close(
            scale * (gate * z[:, :q]) @ B[:, :q].T, layer.delta(x, "default"), rtol=1e-12, atol=1e-12
        )


@pytest.mark.parametrize("settings", [{"top_k": 2}, {"talk": "after-softmax"}])
def test_gates_that_are_not_one_softmax_do_not_fold(settings, tmp_path):
    adapted(**settings).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="one dense softmax"):
        fold_adapter(*read_adapter(tmp_path))


def test_weights_that_are_missing_are_named(tmp_path):
    adapted().save_pretrained(tmp_path)
    config, state_dict = read_adapter(tmp_path)
    key = "base_model.model.model.layers.0.self_attn.q_proj.talklora_C.weight"
    with pytest.raises(ValueError, match=key.replace(".", r"\.")):
        fold_adapter(config, {k: v for k, v in state_dict.items() if k != key})
    with pytest.raises(ValueError, match=r"no shared B for model\.layers\.0"):
        fold_adapter(config, {k: v for k, v in state_dict.items() if "talklora_B" not in k})
    with pytest.raises(ValueError, match="no TalkLoRA weights"):
        fold_adapter(config, {})


def test_static_lora_loads_in_plain_peft_and_is_as_far_off_as_it_says(tmp_path):
    model = adapted()
    exact = model(IDS).logits
    with pytest.warns(UserWarning, match="output changes by"):
        errors = static_lora(model, [{"input_ids": IDS}], tmp_path)
    assert len(errors) == 10
    assert all(0 < error < 0.8 for error in errors.values())
    assert json.loads((tmp_path / "static_lora.json").read_text())["relative_error"] == errors
    loaded = PeftModel.from_pretrained(models.llama(), tmp_path).eval()
    assert loaded.peft_config["default"].peft_type == "LORA"
    base = models.llama()(IDS).logits
    assert 0 < (loaded(IDS).logits - exact).norm() < 0.5 * (exact - base).norm()
    torch.testing.assert_close(loaded.merge_and_unload()(IDS).logits, loaded(IDS).logits)


def test_static_lora_is_exact_where_gates_are_constant(tmp_path):
    model = adapted()
    for name, parameter in model.named_parameters():
        if "talklora_router" in name:
            parameter.data.zero_()
    exact = model(IDS).logits
    with pytest.warns(UserWarning, match="changes by 0%"):
        errors = static_lora(model, [{"input_ids": IDS}], tmp_path)
    assert max(errors.values()) < 1e-5
    loaded = PeftModel.from_pretrained(models.llama(), tmp_path).eval()
    torch.testing.assert_close(loaded(IDS).logits, exact, rtol=1e-4, atol=1e-5)


def test_folders_that_are_no_talklora_adapter_are_refused(tmp_path):
    with pytest.raises(AdapterError, match=r"no adapter_config\.json"):
        read_adapter(tmp_path)
    adapted().save_pretrained(tmp_path)
    weights = tmp_path / "adapter_model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:100])
    with pytest.raises(AdapterError, match="damaged"):
        read_adapter(tmp_path)
    weights.unlink()
    torch.save({}, tmp_path / "adapter_model.bin")
    with pytest.raises(AdapterError, match="pickle"):
        read_adapter(tmp_path)
    save_file({"x": torch.zeros(1)}, weights)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps({**config, "peft_type": "LORA"}))
    with pytest.raises(AdapterError, match="LORA adapter, not TALKLORA"):
        read_adapter(tmp_path)
    assert load_file(weights)["x"].item() == 0
