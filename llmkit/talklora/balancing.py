"""The load-balancing loss, and the forward pass that it and the telemetry belong to."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn


class ForwardPass:
    """The state that the layers of a model share during one forward pass."""

    mask: Tensor | None = None  # the attention mask, (batch, positions)
    losses: list[Tensor] | None = (
        None  # load-balancing losses of the layers passed so far; None: they are not collected
    )

    def begin(self, mask: Tensor | None) -> None:
        self.mask, self.losses = mask, []

    def end(self) -> list[Tensor]:
        """Returns the losses collected. What a checkpoint recomputes during the backward pass adds none."""
        losses, self.losses = self.losses or [], None
        return losses

    def add(self, coef: float, p: Tensor, gate: Tensor) -> None:
        """Adds a layer's loss, of the router's probabilities p (..., n) and the gates that came of them."""
        loss = coef * balance(
            p, gate, self.mask_of(p)
        )  # even if not collected, because a checkpoint has to repeat each operation
        if self.losses is not None:
            self.losses.append(loss)

    def __getstate__(self) -> dict[str, None]:
        return {}  # a copy of a model has no pass under way, and a tensor inside a graph cannot be copied

    def mask_of(self, gate: Tensor) -> Tensor | None:
        """Returns 1 for every real token of `gate` (..., n), as (...), or None if no mask fits."""
        mask, token_shape = self.mask, gate.shape[:-1]
        if mask is None or mask.dim() != 2:
            return None
        if len(token_shape) == 2 and mask.shape[0] == token_shape[0] and mask.shape[1] >= token_shape[1]:
            return mask[:, -token_shape[1] :]  # with a key-value cache the mask is longer than what is new
        return mask.reshape(token_shape) if len(token_shape) == 1 and mask.numel() == token_shape[0] else None


class PassHook:
    """A forward pre-hook of the base model: it records in `current` where a pass begins, and its attention mask."""

    def __init__(self, current: ForwardPass) -> None:
        self.current = current

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if any(loss.requires_grad for loss in self.current.end()):
            warnings.warn("balance_coef had no effect: add `model.base_model.balance_loss()` to the loss", stacklevel=2)
        mask = kwargs.get("attention_mask")
        self.current.begin(mask if isinstance(mask, Tensor) else None)


def watch(model: nn.Module, current: ForwardPass) -> None:
    """Hooks `model`, once."""
    if not any(isinstance(pre_hook, PassHook) for pre_hook in model._forward_pre_hooks.values()):
        model.register_forward_pre_hook(PassHook(current), with_kwargs=True)


def unwatch(model: nn.Module) -> None:
    """Takes the hook off. It is found by its type, because a copy of a model has the hook but no handle to it."""
    for hook_key, pre_hook in list(model._forward_pre_hooks.items()):
        if isinstance(pre_hook, PassHook):
            del model._forward_pre_hooks[hook_key]
            model._forward_pre_hooks_with_kwargs.pop(hook_key, None)


def balance(p: Tensor, gate: Tensor, mask: Tensor | None) -> Tensor:
    """Computes n sum_i f_i P_i, a scalar: 1 where experts are used alike, n where one is used alone (arXiv 2101.03961,
    eq. 4).

    P is the mean of the router's probabilities p (..., n) over real tokens, f that of the gates, held constant.
    mask (...) is 1 for a real token; None: all are real.
    """
    token_weight = (
        torch.ones(p.shape[:-1], dtype=p.dtype, device=p.device) if mask is None else mask.to(p.device, p.dtype)
    )
    token_weight = (token_weight / token_weight.sum().clamp(min=1)).flatten()
    P, f = token_weight @ p.flatten(0, -2), token_weight @ gate.detach().flatten(0, -2)  # (n,) each
    return p.shape[-1] * (f @ P)
