"""What is kept for the backward pass: bytes, so the same on every machine."""

from __future__ import annotations

import torch
from helpers.models import smollm2_shape
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import LlamaForCausalLM

from llmkit.talklora import TalkLoraConfig
from llmkit.talklora.balancing import ForwardPass
from llmkit.talklora.layer import Linear
from llmkit.talklora.reference import per_expert

TARGETS = ["q_proj", "k_proj", "v_proj", "up_proj", "down_proj"]
PROJECTIONS = [(576, 576), (576, 192), (576, 192), (576, 1536), (1536, 576)]  # of SmolLM2-135M


def kept(run, owned) -> int:
    """Bytes of distinct storages that autograd keeps, without those of `owned`."""
    known, sizes = {p.untyped_storage().data_ptr() for p in owned}, {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        run()
    return sum(sizes.values())


def test_the_adapter_keeps_a_fifteenth_of_what_one_expert_at_a_time_keeps():
    fused = naive = 0
    for d, k in PROJECTIONS:
        layer = Linear(nn.Linear(d, k), ForwardPass())
        layer.update_layer("default", TalkLoraConfig(r=16, num_experts=4, share_B=False), None)
        weights = {"A": layer.talklora_A["default"].weight, **layer.weights("default"), "B": layer.up("default").weight}
        x = torch.randn(512, d, requires_grad=True)
        owned = [*layer.parameters(), x]
        fused += kept(lambda layer=layer, x=x: layer.delta(x, "default"), owned)
        naive += kept(lambda weights=weights, x=x: per_expert(x, **weights, scale=1.0), owned)
    assert naive > 15 * fused


def test_a_whole_step_keeps_little_more_than_loras():
    config = smollm2_shape(2, 2048)  # per layer what 49,152 words over 30 layers come to
    ids = torch.arange(256)[None]
    sizes = []
    for adapter in (LoraConfig(r=16, target_modules=TARGETS), TalkLoraConfig(r=16, target_modules=TARGETS)):
        model = get_peft_model(LlamaForCausalLM(config), adapter).train()
        sizes.append(kept(lambda model=model: model(input_ids=ids, labels=ids).loss, model.parameters()))
    assert sizes[1] <= 1.02 * sizes[0]
