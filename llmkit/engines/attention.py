"""Attention on the CPU without copies: query heads that share a key head read it where it lies."""

from __future__ import annotations

from typing import Any

_NAME = "llmkit_shared_heads"


def share_key_heads(model: Any) -> None:
    """Makes a model with grouped-query attention (arXiv 2305.13245) attend to its shared key heads in place.

    Where there is a padding mask, transformers' own `sdpa` copies keys and values once for each query head of a group,
    which is most of a decoding step on a CPU. Models that attend in another way are left as they are.
    """
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    if model.config._attn_implementation != "sdpa":
        return
    AttentionInterface.register(_NAME, _attend)
    AttentionMaskInterface.register(_NAME, sdpa_mask)
    model.set_attn_implementation(_NAME)


def _attend(
    module: Any,
    query: Any,  # (B, H, T, D)
    key: Any,  # (B, K, L, D), K divides H
    value: Any,
    attention_mask: Any,  # (B, 1, T, L) or None
    dropout: float = 0.0,
    scaling: float | None = None,
    **options: Any,
) -> tuple[Any, None]:
    from torch.nn.functional import scaled_dot_product_attention
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if attention_mask is None or options.get("position_bias") is not None:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **options
        )
    attended = scaled_dot_product_attention(
        query, key, value, attn_mask=attention_mask, dropout_p=dropout, scale=scaling, enable_gqa=True
    )
    return attended.transpose(1, 2).contiguous(), None
