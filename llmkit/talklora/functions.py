"""Steps of the layer: the fused one, whose derivative is written out, and the load-balancing loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def untalked(W: Tensor, C: Tensor) -> Tensor:
    """W_g (C kron I_m), (n, r): what a router over talked latents, W (n, r), is over the untalked ones."""
    n = len(C)
    return torch.bmm(C.T.expand(n, n, n), W.view(n, n, -1)).view(n, -1)


class Talk(torch.autograd.Function):
    """From the latents of all experts to what B takes: gate(h)_i s E_i h_i (arXiv 2604.06291, eq. 4 to 7).

    What `mixing` and a softmax give, with the derivative written out: a third fewer operations in a training step,
    which waits for their number wherever each is small (a GPU, short batches).
    h (..., r), E (n, m, m), W (n, r), C (n, n) or None -> (..., r), in h's dtype; inside, in W's. `watch` is shown the
    gates, (..., n), without a gradient.
    """

    @staticmethod
    def forward(
        ctx: Any,
        h: Tensor,
        E: Tensor,
        W: Tensor,
        C: Tensor | None,
        scale: float,
        watch: Callable[[Tensor], None] | None = None,
    ) -> Tensor:
        n, m = E.shape[:2]
        flat = h.to(W.dtype).reshape(-1, n * m)  # (T, r)
        router = W if C is None else untalked(W, C)  # (n, r)
        gate = torch.softmax(flat @ router.T, dim=-1)  # (T, n)
        if watch is not None:
            watch(gate.view(*h.shape[:-1], n))
        u = torch.empty_like(flat).view(-1, n, m)
        each = flat.view(-1, n, m).transpose(0, 1)  # (n, T, m)
        u.transpose(0, 1).baddbmm_(each, E.mT, beta=0, alpha=scale)  # beta 0: what stands there is not read
        ctx.save_for_backward(flat, E, W, C, router, gate, u)
        ctx.scale, ctx.shape, ctx.dtype = scale, h.shape, h.dtype
        return (u * gate[..., None]).view(h.shape).to(h.dtype)

    @staticmethod
    def backward(ctx: Any, dv: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor | None, None, None]:
        flat, E, W, C, router, gate, u = ctx.saved_tensors
        n, m = E.shape[:2]
        with torch.autocast(dv.device.type, enabled=False):
            dv = dv.to(W.dtype).reshape(-1, n, m)
            dgate = (dv * u).sum(-1)  # (T, n)
            dlogits = torch.ops.aten._softmax_backward_data(dgate, gate, -1, gate.dtype)
            du = (dv * gate[..., None]).transpose(0, 1)  # (n, T, m)
            each = flat.view(-1, n, m).transpose(0, 1)
            dE = torch.baddbmm(E, du.mT, each, beta=0, alpha=ctx.scale)
            dh = (dlogits @ router).view(-1, n, m)
            dh.transpose(0, 1).baddbmm_(du, E, alpha=ctx.scale)
            dW, dC = dlogits.T @ flat, None  # (n, r): of the router as it is used
            if C is not None:
                apart = dW.view(n, n, m)
                dC = torch.bmm(W.view(n, n, m), apart.mT).sum(0)  # over routers
                dW = torch.bmm(C.expand(n, n, n), apart).view(n, n * m)
            return dh.view(ctx.shape).to(ctx.dtype), dE, dW, dC, None, None


def talk_traced(h: Tensor, E: Tensor, W: Tensor, C: Tensor | None, scale: float) -> Tensor:
    """What `Talk` gives, for a compiler: small sums instead of small products, all of which become one kernel.

    The (T, n, m, m) products stand on paper only: they are summed up as they arise.
    """
    n, m = E.shape[:2]
    flat = h.to(W.dtype).reshape(-1, n * m)  # (T, r)
    router = W if C is None else untalked(W, C)  # (n, r)
    gate = torch.softmax((flat[:, None] * router).sum(-1), dim=-1)  # (T, n)
    u = (flat.view(-1, n, 1, m) * E).sum(-1)  # (T, n, m)
    return (u * (scale * gate)[..., None]).view(h.shape).to(h.dtype)


def balance(p: Tensor, gate: Tensor, mask: Tensor | None) -> Tensor:
    """n sum_i f_i P_i, a scalar: 1 where experts are used alike, n where one is used alone (arXiv 2101.03961, eq. 4).

    P is the mean of the router's probabilities p (..., n) over real tokens, f that of the gates, held constant.
    mask (...) is 1 for a real token; None: all are real.
    """
    weight = torch.ones(p.shape[:-1], dtype=p.dtype, device=p.device) if mask is None else mask.to(p.device, p.dtype)
    weight = (weight / weight.sum().clamp(min=1)).flatten()
    P, f = weight @ p.flatten(0, -2), weight @ gate.detach().flatten(0, -2)  # (n,) each
    return p.shape[-1] * (f @ P)
