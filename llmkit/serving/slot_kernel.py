"""The gate of vLLM's LoRA slots as one Triton kernel, between vLLM's own shrink and expand."""

# No `from __future__ import annotations`: torch makes the operator's schema of these annotations.
# mypy: disable-error-code="untyped-decorator"

from collections.abc import Callable
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.library import custom_op, triton_op, wrap_triton

from llmkit.talklora.kernel_operators import INTERPRETED
from llmkit.talklora.kernels import softmax

_operator: Callable[..., Callable[[Callable[..., Any]], Any]] = custom_op if INTERPRETED else triton_op


def sizes(rank: int) -> dict[str, int]:
    """Returns the sizes that the kernel is compiled for: BT rows to a program."""
    return {"rank": rank, "RP": triton.next_power_of_2(rank), "BT": 4, "num_warps": 4}


@triton.jit(do_not_specialize=["rows", "tokens"])
def gate_slots(  # type: ignore[no-untyped-def]
    latents, summed, slots, mask, owner, has_gates, out, rows, tokens, no_slot,
    rank: tl.constexpr, RP: tl.constexpr, BT: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * BT + tl.arange(0, BT)
    columns = tl.arange(0, RP)[None, :]
    slot = tl.load(slots + row % tokens, mask=row < rows, other=-1)
    slot = tl.where(slot < 0, no_slot, slot)[:, None]  # as torch reads index -1
    inside = (row[:, None] < rows) & (columns < rank)
    own = tl.load(latents + row[:, None] * rank + columns, mask=inside, other=0.0)
    if summed is None:
        logits = own
    else:
        logits = tl.load(summed + row[:, None] * rank + columns, mask=inside, other=0.0)
    logits += tl.load(mask + slot * rank + columns, mask=inside, other=0.0)
    gate = tl.gather(softmax(logits, columns < rank), tl.load(owner + slot * rank + columns, mask=inside, other=0), 1)
    is_gated = tl.load(has_gates + slot) != 0
    tl.store(out + row[:, None] * rank + columns, tl.where(is_gated, own * gate, own), mask=inside)


def _launch(
    launcher: Callable[[Any], Any],
    latents: Tensor,
    summed: Tensor | None,
    slots: Tensor,
    mask: Tensor,
    owner: Tensor,
    has_gates: Tensor,
) -> Tensor:
    out = torch.empty_like(latents)
    tokens, rank = latents.shape[-2:]
    rows, made_for = latents.numel() // rank, sizes(rank)
    launcher(gate_slots)[(max(1, triton.cdiv(rows, made_for["BT"])),)](
        latents, summed, slots, mask, owner, has_gates, out, rows, max(1, tokens), mask.shape[0] - 1,
        **made_for,
    )  # fmt: skip
    return out


@_operator("llmkit::gate_slots", mutates_args=())
def gate_slots_operator(
    latents: Tensor, summed: Tensor | None, slots: Tensor, mask: Tensor, owner: Tensor, has_gates: Tensor
) -> Tensor:
    return _launch(wrap_triton, latents, summed, slots, mask, owner, has_gates)


gate_slots_operator.register_fake(lambda latents, *rest: torch.empty_like(latents))


def gated_latents(
    latents: Tensor, summed: Tensor | None, slots: Tensor, mask: Tensor, owner: Tensor, has_gates: Tensor
) -> Tensor:
    """Computes `SlotGates.apply` for float32 latents (..., tokens, rank) in one launch."""
    latents, summed = latents.contiguous(), None if summed is None else summed.contiguous()
    if torch.compiler.is_compiling():
        result: Tensor = gate_slots_operator(latents, summed, slots, mask, owner, has_gates)
        return result
    return _launch(lambda kernel: kernel, latents, summed, slots, mask, owner, has_gates)
