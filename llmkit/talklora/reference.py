"""The equations one expert at a time: slow and plain, to check and to time the fused layer against."""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor


def per_expert(x: Tensor, A: Tensor, E: Tensor, C: Tensor, W: Tensor, B: Tensor, scale: float) -> Tensor:
    """Computes s sum_i g_i B_i E_i A_i x (arXiv 2604.06291, eq. 4 to 7): (..., d) -> (..., k).

    A (r, d), E (n, m, m), C (n, n), W (n, r), B (k, r). Builds n expert outputs of width k, as the equations say.
    """
    n = E.shape[0]
    h = [x @ A_i.T for A_i in A.chunk(n)]  # n times (..., m)
    talked = [reduce(torch.add, [C[i, j] * h[j] for j in range(n)]) for i in range(n)]  # eq. 5
    gate = torch.softmax(torch.cat(talked, dim=-1) @ W.T, dim=-1)  # eq. 6
    outputs = torch.stack([h_i @ E_i.T @ B_i.T for h_i, E_i, B_i in zip(h, E, B.chunk(n, dim=1), strict=True)], dim=-2)
    return scale * (gate[..., None] * outputs).sum(-2)  # eq. 7
