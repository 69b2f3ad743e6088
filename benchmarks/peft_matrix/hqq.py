"""TalkLoRA on layers that HQQ quantised, which PEFT's own tests try on a GPU only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hqq.core.quantize import BaseQuantizeConfig, HQQLinear
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

from llmkit.talklora import TalkLoraConfig
from peft_matrix.cases import OneExpertConfig

MODEL = "peft-internal-testing/tiny-random-OPTForCausalLM"
TARGETS = ["q_proj", "v_proj"]
IDS = torch.arange(10).view(1, -1)
SIZES: list[dict[str, Any]] = [{"r": 8, "num_experts": 4}, {"r": 8, "num_experts": 2, "share_B": False}]


def quantised() -> torch.nn.Module:
    """Returns the tiny model with 8-bit HQQ layers in the place of its query and value projections."""
    model = AutoModelForCausalLM.from_pretrained(MODEL)
    settings = BaseQuantizeConfig(nbits=8, group_size=8)
    for module in list(model.modules()):
        for name in TARGETS:
            if isinstance(old := getattr(module, name, None), torch.nn.Linear):
                new = HQQLinear(old, settings, compute_dtype=torch.float32, device="cpu", del_orig=False)
                setattr(module, name, new)
    return model.eval()


@pytest.mark.parametrize(
    ("config_cls", "kwargs"), [*((TalkLoraConfig, size) for size in SIZES), (OneExpertConfig, {"r": 8})]
)
def test_an_adapter_trains_and_loads_on_hqq_layers(config_cls: type, kwargs: dict[str, Any], tmp_path: Path) -> None:
    plain = quantised()(IDS).logits
    model = get_peft_model(quantised(), config_cls(target_modules=TARGETS, **kwargs))
    assert torch.allclose(model(IDS).logits, plain, atol=1e-5)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.02)
    losses = []
    for _ in range(8):
        loss = model(input_ids=IDS, labels=IDS).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    model.eval()
    trained = model(IDS).logits
    assert not torch.allclose(trained, plain, atol=1e-4)
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(quantised(), tmp_path).eval()
    assert torch.allclose(loaded(IDS).logits, trained, atol=1e-5)


def test_the_same_layers_take_a_lora() -> None:
    """The yardstick: what fails here is not TalkLoRA's."""
    model = get_peft_model(quantised(), LoraConfig(r=8, target_modules=TARGETS))
    assert torch.isfinite(model(IDS).logits).all()
