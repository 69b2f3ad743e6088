"""A bound on the talking matrix: the paper assumes ||C|| <= 1, which training alone does not keep."""

from __future__ import annotations

import torch
from torch import Tensor


def bounded(C: Tensor, bound: float | None) -> Tensor:
    """Scales C (n, n) down if its largest singular value is above `bound`; returns C itself if that is None.

    >>> bounded(torch.diag(torch.tensor([2.0, 1.0])), 1.0).diagonal()
    tensor([1.0000, 0.5000])
    """
    if bound is None:
        return C
    return C * torch.clamp(bound / torch.linalg.matrix_norm(C, ord=2), max=1.0)
