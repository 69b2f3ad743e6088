"""Sparse gates: the largest probabilities of a router, renormalised."""

from __future__ import annotations

import torch
from torch import Tensor


def keep_largest(p: Tensor, k: int | None) -> Tensor:
    """Keeps the k largest of the probabilities p (..., n), scaled to sum to 1; all of them if k is None.

    >>> keep_largest(torch.tensor([0.5, 0.3, 0.2]), 2)
    tensor([0.6250, 0.3750, 0.0000])
    """
    if k is None or k >= p.shape[-1]:
        return p
    p = p * torch.zeros_like(p).scatter(-1, p.topk(k, dim=-1).indices, 1.0)
    return p / p.sum(-1, keepdim=True)
