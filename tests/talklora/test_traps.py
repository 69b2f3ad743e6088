"""Places where adapters of other methods have gone wrong: tied weights, models on several devices."""

from __future__ import annotations

import pytest
import torch
from accelerate import dispatch_model
from helpers import models
from helpers.adapters import adapted, config, inputs, output
from peft import PeftModel, get_peft_model


def test_tied_weights_stay_tied_and_untouched():
    base = models.llama(tie_word_embeddings=True)
    original, x = base.get_input_embeddings().weight.detach().clone(), inputs("llama")
    model = get_peft_model(base, config(target_modules="all-linear"))
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model(x, labels=x).loss.backward()
    optimizer.step()
    assert base.lm_head.weight is base.get_input_embeddings().weight  # `all-linear` leaves the head out
    assert torch.equal(base.lm_head.weight, original)


def test_an_adapter_on_a_tied_head_leaves_the_embedding_alone(tmp_path):
    base, x = models.llama(tie_word_embeddings=True), inputs("llama")
    before = output(base, x)
    with pytest.warns(UserWarning, match="tie_word_embeddings=True"):
        model = get_peft_model(base, config(target_modules=["lm_head", "q_proj"])).eval()
    after = output(model, x)
    assert not torch.equal(after, before)
    assert base.lm_head.base_layer.weight is base.get_input_embeddings().weight
    model.save_pretrained(tmp_path)
    with pytest.warns(UserWarning, match="tie_word_embeddings=True"):
        loaded = PeftModel.from_pretrained(models.llama(tie_word_embeddings=True), tmp_path)
    assert torch.equal(output(loaded, x), after)
    assert torch.equal(output(model.unload(), x), before)


def test_a_model_with_a_device_map_takes_and_loads_an_adapter(tmp_path):
    model, x = adapted(), inputs("llama")
    model.save_pretrained(tmp_path)
    places = dict.fromkeys(("model.embed_tokens", "model.layers", "model.norm", "model.rotary_emb", "lm_head"), "cpu")
    base = dispatch_model(models.llama(), places, main_device="cpu", force_hooks=True)
    assert set(base.hf_device_map.values()) == {"cpu"}  # so PEFT places model and adapter anew after loading
    loaded = PeftModel.from_pretrained(base, tmp_path).eval()
    assert any(hasattr(module, "_hf_hook") for module in loaded.modules())
    for _ in range(2):
        assert torch.equal(output(loaded, x), output(model, x))
