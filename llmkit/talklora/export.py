"""Ways out of the adapter: exact folding for serving, and a static LoRA with its measured error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from llmkit.talklora.config import TalkLoraConfig
from llmkit.talklora.layer import mixing
from llmkit.talklora.model import share_group

_ROOT = "base_model.model."


class Folded(NamedTuple):
    """A layer without C and E: u, logits = split(lora_A x); y = scale * lora_B [u * repeat(softmax(logits), m); 0].

    lora_A (n m + n, d): first the experts' rows, blockdiag(E) A, then the router's, W_g (C kron I) A.
    lora_B (k, n m + n): [B_1 ... B_n | 0], the last n columns zero.
    """

    lora_A: Tensor
    lora_B: Tensor
    scale: float


def fold(config: TalkLoraConfig, state_dict: Mapping[str, Tensor]) -> dict[str, Folded]:
    """Every adapted module of a saved adapter, by its path in the base model, in the exact form for inference.

    `state_dict` has the keys of `adapter_model.safetensors`. ValueError where gates are not one softmax of the router's
    logits (top_k, talk="after-softmax"), or where weights are missing.
    """
    if config.top_k is not None or config.talk == "after-softmax":
        raise ValueError(
            "only adapters whose gates are one dense softmax fold: this one has top_k or talk='after-softmax'"
        )
    suffix = ".talklora_A.weight"
    paths = [key.removeprefix(_ROOT).removesuffix(suffix) for key in state_dict if key.endswith(suffix)]
    if not paths:
        raise ValueError("no TalkLoRA weights in this state dict: its keys end in .talklora_A.weight")
    return {path: _fold_module(config, state_dict, path) for path in paths}


@torch.no_grad()
def _fold_module(config: TalkLoraConfig, state_dict: Mapping[str, Tensor], path: str) -> Folded:
    def get(name: str, wanted: bool) -> Tensor | None:
        key = f"{_ROOT}{path}.talklora_{name}.weight"
        if wanted and key not in state_dict:
            raise ValueError(f"{key} is missing")
        return state_dict[key].to(wide) if wanted else None

    A = state_dict[f"{_ROOT}{path}.talklora_A.weight"]
    dtype, wide = A.dtype, torch.promote_types(A.dtype, torch.float32)
    n = config.num_experts
    W = get("router", config.router_input != "none")
    rows = mixing(config, get("E", config.transform), W, get("C", config.has_talk), like=A.to(wide)) @ A.to(wide)
    if config.router_input == "input":
        rows = torch.cat([rows, W])
    elif config.router_input == "none":
        rows = torch.cat([rows, rows.new_zeros(n, rows.shape[1])])  # equal logits: every gate is 1/n
    B = _up(config, state_dict, path, A.shape[1])
    B = torch.cat([B, B.new_zeros(B.shape[0], n)], dim=1)
    return Folded(rows.to(dtype).contiguous(), B.contiguous(), config.scale)


def _up(config: TalkLoraConfig, state_dict: Mapping[str, Tensor], path: str, in_features: int) -> Tensor:
    if not config.share_B:
        return state_dict[f"{_ROOT}{path}.talklora_B.weight"]
    stem = "base_model.talklora_B_" + share_group(path, in_features, 0)[:-1]  # up to "<d>x"
    found = [key for key in state_dict if key.startswith(stem) and key[len(stem) :].removesuffix(".weight").isdigit()]
    if len(found) != 1:
        raise ValueError(f"{'several' if found else 'no'} shared B for {path}: {', '.join(found) or stem + '...'}")
    return state_dict[found[0]]
