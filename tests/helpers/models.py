"""Tiny models of three architectures, with random weights."""

from __future__ import annotations

import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

VOCABULARY = 60


class Mlp(nn.Module):
    """Two linear layers on 2-D input, nothing of transformers."""

    def __init__(self) -> None:
        super().__init__()
        self.lin0 = nn.Linear(12, 20)
        self.lin1 = nn.Linear(20, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.lin1(torch.relu(self.lin0(x)))


def llama(layers: int = 2, **settings) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=VOCABULARY,
        pad_token_id=0,
        **settings,
    )
    return LlamaForCausalLM(config).eval()


def smollm2_shape(layers: int, vocabulary: int) -> LlamaConfig:
    """SmolLM2-135M's, with fewer layers and words."""
    return LlamaConfig(
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=layers,
        num_attention_heads=9,
        num_key_value_heads=3,
        vocab_size=vocabulary,
        use_cache=False,
    )


def gpt2() -> GPT2LMHeadModel:
    """Its linear layers are Conv1D, with transposed weights."""
    torch.manual_seed(0)
    config = GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=VOCABULARY, n_positions=32, pad_token_id=0)
    config.attn_pdrop = config.embd_pdrop = config.resid_pdrop = 0.0
    return GPT2LMHeadModel(config).eval()


def mlp() -> Mlp:
    torch.manual_seed(0)
    return Mlp().eval()
