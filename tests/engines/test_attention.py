"""Attention over shared key heads."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForCausalLM

from llmkit.engines.attention import share_key_heads


@pytest.fixture
def model(tiny_llama):
    return AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32).eval()


def test_padded_rows_attend_as_transformers_own_attention_does(model):
    assert model.config.num_key_value_heads < model.config.num_attention_heads
    ids = torch.arange(5, 65).reshape(3, 20)
    mask = torch.ones_like(ids)
    mask[0, :7] = 0
    with torch.inference_mode():
        before = model(input_ids=ids, attention_mask=mask).logits
        share_key_heads(model)
        after = model(input_ids=ids, attention_mask=mask).logits
    assert model.config._attn_implementation != "sdpa"
    seen = mask.bool()  # what padding attends to means nothing
    torch.testing.assert_close(after[seen], before[seen], atol=1e-5, rtol=1e-5)


def test_a_model_that_attends_in_another_way_is_left_alone(model):
    model.set_attn_implementation("eager")
    share_key_heads(model)
    assert model.config._attn_implementation == "eager"
