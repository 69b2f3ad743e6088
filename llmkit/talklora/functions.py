"""The method's small matrices: between A, which reads the layer's input, and B, which writes its output."""

from __future__ import annotations

import torch
from torch import Tensor

from llmkit.talklora.config import TalkLoraConfig
from llmkit.talklora.spectral import bounded
from llmkit.talklora.top_k import keep_largest


def router_without_talk(W: Tensor, C: Tensor) -> Tensor:
    """Returns W_g (C kron I_m), (n, r): a router over talked latents, W (n, r), as one over the untalked latents."""
    n = len(C)
    return torch.bmm(C.T.expand(n, n, n), W.view(n, n, -1)).view(n, -1)


def latent_router(config: TalkLoraConfig, W: Tensor, C: Tensor | None) -> Tensor:
    """Returns W_g (C kron I_m), (n, r): the router as a map of untalked latents; C vanishes in it (eq. 5 and 6)."""
    if C is None or not config.talks_before:
        return W
    return router_without_talk(W, bounded(C, config.spectral_bound))


def latent_map(
    config: TalkLoraConfig, E: Tensor | None, W: Tensor | None, C: Tensor | None, like: Tensor, scale: float = 1.0
) -> Tensor:
    """Returns [scale blockdiag(E); W_g (C kron I)], (n m + n, r): one small map from latents to expert features and
    logits.

    The rows of the logits are absent where the router does not read latents. `like` gives device and dtype.
    """
    n, m, r = config.num_experts, config.expert_rank, config.r
    if E is None:
        E = torch.eye(m, dtype=like.dtype, device=like.device).expand(n, m, m)
    if scale != 1.0:
        E = E * scale
    # With one A for all experts they are stacked; otherwise each reads its own m latents.
    blocks = E if config.share_A else torch.diag_embed(E.permute(1, 2, 0), dim1=0, dim2=2)  # (n, m, r) or (n, m, n, m)
    rows = blocks.reshape(n * m, r)
    if W is None or config.router_input != "latent":
        return rows
    return torch.cat([rows, latent_router(config, W, C)])


def inference_gates(config: TalkLoraConfig, logits: Tensor, C: Tensor | None) -> Tensor:
    """Turns router logits (..., n) into the experts' weights (..., n) at inference."""
    return mix_gates(config, keep_largest(torch.softmax(logits, dim=-1), config.top_k), C)


def mix_gates(config: TalkLoraConfig, gate: Tensor, C: Tensor | None) -> Tensor:
    """Mixes gates (..., n) that talk after the softmax: columns of softmax(C) sum to 1, so the gates still do."""
    if C is None or not config.talks_after:
        return gate
    return gate @ torch.softmax(C, dim=0).T


def weigh(features: Tensor, gate: Tensor) -> Tensor:
    """Multiplies features (..., n m) by their expert's gate (..., n)."""
    weighted: Tensor = features.unflatten(-1, (gate.shape[-1], -1)) * gate[..., None]  # (..., n, m)
    return weighted.flatten(-2)


def plain_gated_features(
    h: Tensor,
    logits: Tensor | None,
    E: Tensor | None,
    W: Tensor | None,
    C: Tensor | None,
    keep: Tensor | None,
    n: int,
    m: int,
    scale: float,
) -> tuple[Tensor, Tensor]:
    """Computes by torch's operations the features and gates that `kernel_operators.gated_features` computes."""
    config = TalkLoraConfig(
        r=h.shape[-1],
        num_experts=n,
        share_A=h.shape[-1] == m,
        router_input="latent" if logits is None else "input",
        talk="off" if C is None else "on",
    )
    z = h @ latent_map(config, E, W, C, like=h, scale=scale).T
    gate = inference_gates(config, z[..., n * m :] if logits is None else logits, None)
    return weigh(z[..., : n * m], gate if keep is None else gate * keep), gate
