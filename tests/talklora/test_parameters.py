"""Parameter counts of the paper's own tables, on models without memory."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, LlamaConfig, Qwen2Config, RobertaConfig

from llmkit.talklora import PRESETS, TalkLoraConfig

QKVUD = ["q_proj", "k_proj", "v_proj", "up_proj", "down_proj"]
MODELS = {
    "llama3-8b": LlamaConfig(
        hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_attention_heads=32, num_key_value_heads=8
    ),
    "llama2-7b": LlamaConfig(hidden_size=4096, intermediate_size=11008, num_hidden_layers=32, num_attention_heads=32),
    "qwen2.5-7b": Qwen2Config(
        hidden_size=3584, intermediate_size=18944, num_hidden_layers=28, num_attention_heads=28, num_key_value_heads=4
    ),
    "roberta-base": RobertaConfig(),
}


@cache
def linears(name: str) -> tuple[tuple[str, int, int], ...]:
    """Every linear layer's path and sizes: building a model of billions of parameters once is enough."""
    config = MODELS[name]
    kind = AutoModelForMaskedLM if config.model_type == "roberta" else AutoModelForCausalLM
    with torch.device("meta"):
        model = kind.from_config(config)
    return tuple(
        (path, m.in_features, m.out_features) for path, m in model.named_modules() if isinstance(m, torch.nn.Linear)
    )


def skeleton(name: str, targets: list[str]) -> torch.nn.Module:
    """Only the targeted layers of a model, under their own paths."""
    model = torch.nn.Module()
    for path, d, k in linears(name):
        if path.split(".")[-1] in targets:
            *parents, last = path.split(".")
            module = model
            for parent in parents:
                if parent not in module._modules:
                    module.add_module(parent, torch.nn.Module())
                module = module._modules[parent]
            module.add_module(last, torch.nn.Linear(d, k, bias=False, device="meta"))
    return model


def trainable(name: str, targets: list[str], peft_config) -> int:
    model = get_peft_model(skeleton(name, targets), peft_config)
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize(
    ("model", "targets", "r", "n", "shared", "separate"),
    [
        ("llama3-8b", QKVUD, 16, 4, 16_144_896, 28_334_592),  # 0.2 % in Table 1
        ("llama3-8b", QKVUD, 32, 4, 32_307_712, 56_687_104),  # 0.4 %; without sharing 0.7 % (ablation)
        ("llama3-8b", QKVUD, 32, 8, 32_315_392, 56_694_784),
        ("llama3-8b", QKVUD[:3], 32, 4, 12_817_920, None),
        ("llama3-8b", QKVUD[3:], 32, 4, 19_489_792, None),
        ("llama2-7b", QKVUD, 16, 4, 14_486_016, None),
        ("llama2-7b", QKVUD, 32, 4, 28_989_952, 56_162_816),
        ("qwen2.5-7b", QKVUD, 16, 4, 15_363_776, 27_086_528),
        ("roberta-base", ["query", "value"], 16, 4, 322_944, 593_280),  # 0.3 M in the GLUE table
    ],
)
def test_parameter_counts_are_the_papers(model, targets, r, n, shared, separate):
    settings = {"r": r, "num_experts": n, "target_modules": targets}
    assert trainable(model, targets, TalkLoraConfig(**settings)) == shared
    if separate:
        assert trainable(model, targets, TalkLoraConfig(**settings, share_B=False)) == separate


def test_moelora_is_lora_plus_its_routers():
    lora = trainable("llama3-8b", QKVUD, LoraConfig(r=32, target_modules=QKVUD))
    assert lora == 56_623_104
    moelora = trainable("llama3-8b", QKVUD, TalkLoraConfig.preset("moelora", r=32, num_experts=4, target_modules=QKVUD))
    assert moelora == lora + 32 * 4 * (4 * 4096 + 14336)


@pytest.mark.parametrize("preset", PRESETS)
def test_the_docs_count_every_presets_parameters(preset):
    page = (Path(__file__).resolve().parents[2] / "docs" / "talklora.md").read_text(encoding="utf-8")
    config = {"num_experts": 4, "target_modules": QKVUD}
    counts = [trainable("llama3-8b", QKVUD, TalkLoraConfig.preset(preset, r=r, **config)) for r in (16, 32)]
    (row,) = (line for line in page.splitlines() if line.startswith("| `") and line.endswith(f"{counts[1]:,} |"))
    assert f"`{preset}`" in row
    assert f"| {counts[0]:,} |" in row
