"""The arithmetic of adapters in vLLM's LoRA slots: one gate between shrink and expand. Only torch, no vLLM.

A folded TalkLoRA adapter is a LoRA of rank r + n whose last n latents are the router's logits (llmkit.talklora.export).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

try:
    from llmkit.serving import slot_kernel
    from llmkit.talklora.kernel_operators import DEVICE
except ImportError:  # no Triton: torch's operations do everything
    slot_kernel = None  # type: ignore[assignment]

Stack = Sequence[Tensor]  # one tensor for each fused piece of a linear
Reduce = Callable[[Tensor], Tensor]  # the sum over tensor-parallel ranks
SlotRows = list[tuple[int, slice | Tensor]]  # the slots in a batch and the rows of each


class SlotGates:
    """The contents of the slots, as tensors indexed per token: no shape ever changes, so CUDA graphs and compilation
    hold.

    Tables are (slots + 1, rank); the last row, reached by index -1, is "no adapter". Plain LoRA passes as it is.
    """

    def __init__(self, slots: int, rank: int, device: torch.device | str = "cpu") -> None:
        self.mask = torch.zeros(slots + 1, rank, device=device)  # added before the softmax: only the logits take part
        self.owner = torch.zeros(
            slots + 1, rank, dtype=torch.long, device=device
        )  # the logit column that gates a latent
        self.has_gates = torch.zeros(slots + 1, 1, dtype=torch.bool, device=device)

    def set(self, slot: int, r: int, n: int) -> None:
        """Records that slot `slot` holds an adapter of rank r with n experts; n = 0 is plain LoRA."""
        self.has_gates[slot] = n > 0
        self.mask[slot] = 0
        self.owner[slot] = 0
        if n:
            self.mask[slot, :r] = self.mask[slot, r + n :] = float("-inf")
            self.owner[slot, :r] = r + torch.arange(n, device=self.owner.device).repeat_interleave(r // n)

    def apply(self, latents: Tensor, slot: Tensor, summed: Tensor | None = None) -> Tensor:
        """Scales float32 latents (..., tokens, rank) by their expert's gate; slot (tokens,) is -1 without adapter.

        `summed` holds the latents summed over tensor-parallel ranks, where each rank has a part of the input: the gate
        needs the whole logits, and what it scales stays a part, which the layer's own reduction adds up once.
        On a GPU with Triton one kernel does it.
        """
        if slot_kernel is not None and latents.device.type == DEVICE:
            return slot_kernel.gated_latents(latents, summed, slot, self.mask, self.owner, self.has_gates)
        logits = latents if summed is None else summed
        gate = torch.softmax(logits + self.mask[slot], dim=-1)
        gate = gate.gather(-1, self.owner[slot].expand_as(gate))
        return latents * torch.where(self.has_gates[slot], gate, 1.0)


@dataclass(frozen=True)
class Dense:
    """One slot's weights in a linear of s fused pieces, trimmed to the adapter's rank, for one pair of dense products.

    Of every piece come each expert's m = r / n latents and then its logit, so that one multiplication in place gates
    them. down: (d, s n (m + 1)) float32; up: (s n (m + 1), k), block-diagonal over the pieces and zero where it meets
    a logit, whose columns are those of the linear's output from `start` on. n = 0, plain LoRA: s r for s n (m + 1).
    """

    down: Tensor
    up: Tensor
    start: int
    n: int
    m: int

    @classmethod
    def pack(cls, a: list[Tensor], b: list[Tensor], widths: tuple[int, ...], r: int, n: int) -> Dense | None:
        """Packs a slot's stacked weights, A (rank, d) and B (k, rank) of each piece. None if nothing is adapted
        here."""
        adapted_pieces = [piece for piece in range(len(b)) if b[piece].any()]
        if not adapted_pieces:
            return None
        m = r // n if n else 0

        def ordered(rows: Tensor) -> Tensor:
            """Orders the r latents and n logits of one piece by expert."""
            return torch.cat([rows[:r].unflatten(0, (n, m)), rows[r : r + n, None]], 1).flatten(0, 1) if n else rows[:r]

        first_piece, last_piece = adapted_pieces[0], adapted_pieces[-1]
        down = torch.cat([ordered(a[piece]) for piece in adapted_pieces]).float().T.contiguous()
        up = b[0].new_zeros(down.shape[1], sum(widths[first_piece : last_piece + 1]))
        for block, piece in enumerate(adapted_pieces):
            column = sum(widths[first_piece:piece])
            up[block * (r + n) : (block + 1) * (r + n), column : column + widths[piece]] = ordered(
                b[piece][: widths[piece]].T
            )
        return cls(down, up, sum(widths[:first_piece]), n, m)

    def add(self, y: Tensor, x: Tensor, reduce: Reduce | None = None) -> None:
        """Adds the adapter's output for x (tokens, d) to y (tokens, k), in place; latents and gates are float32."""
        # At batch 1 every call into torch costs more than its arithmetic, so none is made that changes nothing.
        z = torch.mm(_as(x, torch.float32), self.down)
        if self.n:
            experts = z.view(z.shape[0], -1, self.n, self.m + 1)
            logits = experts[..., -1:]
            if reduce is not None:
                logits = reduce(logits.contiguous()).view(logits.shape)
            experts *= torch.softmax(logits, 2)
        columns = self.up.shape[1]
        output_part = y if columns == y.shape[1] else y[:, self.start : self.start + columns]
        output_part.addmm_(_as(z, y.dtype), _as(self.up, y.dtype))


def _as(x: Tensor, dtype: torch.dtype) -> Tensor:
    return x if x.dtype is dtype else x.to(dtype)


def rows_by_slot(slot_of_token: Tensor) -> SlotRows:
    """Finds the slots in a batch and the rows of each: a slice if they are adjacent, else their indices."""
    rows_of = []
    for slot in slot_of_token.unique().tolist():
        if slot < 0:
            continue
        rows = (slot_of_token == slot).nonzero().flatten()
        first_row, last_row = int(rows[0]), int(rows[-1])
        rows_of.append((slot, slice(first_row, last_row + 1) if last_row - first_row + 1 == len(rows) else rows))
    return rows_of


def add_rows(dense: Dense, y: Tensor, x: Tensor, batch_rows: slice | Tensor, reduce: Reduce | None = None) -> None:
    """Applies `Dense.add` to some rows of the batch."""
    if isinstance(batch_rows, slice):
        is_whole_batch = batch_rows.stop - batch_rows.start == x.shape[0]
        dense.add(*((y, x) if is_whole_batch else (y[batch_rows], x[batch_rows])), reduce)
    else:
        output_rows = y[batch_rows]
        dense.add(output_rows, x[batch_rows], reduce)
        y[batch_rows] = output_rows


class DenseSlots:
    """The weights of all slots in all layers, each packed when it is first met.

    The weights are stacked over the slots, as vLLM keeps them: A (slots, 1, rank, d) and B (slots, 1, k, rank) of
    each piece."""

    def __init__(self, slots: int, rank: int) -> None:
        self._layout = [(rank, 0)] * slots
        self._packed: dict[tuple[int, int], Any] = {}  # by weights and slot; None if the adapter has none

    def set(self, slot: int, r: int, n: int) -> None:
        """Records that slot `slot` holds an adapter of rank r with n experts; n = 0 is plain LoRA."""
        self._layout[slot] = (r, n)
        self._packed = {key: packed for key, packed in self._packed.items() if key[1] != slot}

    def add_linear(
        self,
        present: SlotRows,
        y: Tensor,
        x: Tensor,
        a: Stack,
        b: Stack,
        widths: tuple[int, ...],
        reduce: Reduce | None = None,
    ) -> None:
        """Adds to y (tokens, k), in place, what each adapter makes of its own rows of x (tokens, d)."""
        for slot, rows in present:
            packed_key = (b[0].data_ptr(), slot)
            if packed_key not in self._packed:
                down, up = [weights[slot, 0] for weights in a], [weights[slot, 0] for weights in b]
                self._packed[packed_key] = Dense.pack(down, up, widths, *self._layout[slot])
            if self._packed[packed_key] is not None:
                add_rows(self._packed[packed_key], y, x, rows, reduce)

    def add_embedding(self, present: SlotRows, y: Tensor, x: Tensor, b: Tensor) -> None:
        """Does the same for x (tokens, rank) that is already the output of A."""
        for slot, rows in present:
            packed_key = (b.data_ptr(), slot)
            if packed_key not in self._packed:
                weights = b[slot, 0]
                self._packed[packed_key] = weights.T.contiguous() if weights.any() else None
            if self._packed[packed_key] is not None:
                y[rows] += x[rows].to(y.dtype) @ self._packed[packed_key]
