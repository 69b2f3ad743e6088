"""The gate of a LoRA slot in a CUDA graph: vLLM captures it once, and slots change while the graph stays."""

from __future__ import annotations

import pytest
import torch

from llmkit.serving.slots import SlotGates

pytestmark = pytest.mark.gpu

RANK, SLOTS = 32, 3


def by_token(layout: dict, latents: torch.Tensor, slots: torch.Tensor) -> torch.Tensor:
    """The gate of one token after the other, from the definition."""
    wanted = latents.clone()
    for t, slot in enumerate(slots.tolist()):
        r, n = layout.get(slot, (RANK, 0))
        if n:
            weight = torch.softmax(latents[:, t, r : r + n], -1).repeat_interleave(r // n, -1)
            wanted[:, t, :r] *= weight
            wanted[:, t, r:] = 0  # logits: the expansion meets zero rows there
    return wanted


def shown(layout: dict, latents: torch.Tensor, slots: torch.Tensor) -> torch.Tensor:
    """Without what the expansion never reads: the logits of gated tokens."""
    kept = latents.clone()
    for t, slot in enumerate(slots.tolist()):
        r, n = layout.get(slot, (RANK, 0))
        if n:
            kept[:, t, r:] = 0
    return kept


def test_a_captured_gate_follows_tokens_and_slots_that_change():
    gates = SlotGates(SLOTS, RANK, "cuda")
    layout = {0: (16, 4)}
    gates.set(0, *layout[0])
    latents = torch.randn(3, 8, RANK, device="cuda")
    slots = torch.tensor([0, 0, 1, -1, 2, 0, 1, -1], device="cuda")
    gates.apply(latents, slots)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = gates.apply(latents, slots)
    for layout[1] in ((8, 2), (24, 8), (16, 0)):
        gates.set(1, *layout[1])
        latents.copy_(torch.randn_like(latents))
        slots.copy_(slots.roll(1))
        graph.replay()
        torch.testing.assert_close(shown(layout, out, slots), by_token(layout, latents, slots))


def test_a_compiled_gate_is_one_kernel_graph_and_equal():
    gates = SlotGates(SLOTS, RANK, "cuda")
    gates.set(0, 16, 4)
    latents, slots = torch.randn(2, 16, RANK, device="cuda"), torch.arange(16, device="cuda") % 4 - 1
    compiled = torch.compile(gates.apply, fullgraph=True)
    torch.testing.assert_close(compiled(latents, slots), gates.apply(latents, slots))
