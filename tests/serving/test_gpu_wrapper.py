"""llmkit's wrapper for GPUs, against each row by hand. Without a GPU vLLM's two kernels are written out in torch."""

from types import SimpleNamespace

import pytest
import torch

pytestmark = [pytest.mark.tiny, pytest.mark.xdist_group("engine")]

SLOTS, RANK, D = 2, 16, 64
WIDTHS = (48, 16, 16)
LAYOUT = {0: (8, 4), 1: (6, 0)}  # slot: (r, n)
TOKENS = (7, 7, 0, 5, 7, 5)  # adapter ids; 0 is no adapter, 7 stands in slot 0 and 5 in slot 1
SLOT = (0, 0, -1, 1, 0, 1)
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def shrink(x, a, out, slot, order, counts, starts, ids, no_lora, active, scale):
    if no_lora:  # what stands in `out` is left as it is
        return
    for piece, weights in zip(out, a, strict=True):
        mine = weights[slot.long().clamp(min=0), 0].float()
        piece.copy_(torch.einsum("td,trd->tr", x.float(), mine) * scale)
        piece[slot < 0] = 0


def expand(latents, b, y, slot, order, counts, starts, ids, no_lora, active, offset_start=0, add_inputs=False):
    assert add_inputs
    if no_lora:
        return
    for piece, weights in zip(latents, b, strict=True):
        out = torch.einsum("tr,tkr->tk", piece, weights[slot.long().clamp(min=0), 0].float()).to(y.dtype)
        y[slot >= 0, offset_start : offset_start + out.shape[1]] += out[slot >= 0]
        offset_start += out.shape[1]


@pytest.fixture
def wrapper(monkeypatch):
    import vllm.lora.ops.triton_ops as ops
    from vllm.lora.layers import LoRAMapping
    from vllm.lora.punica_wrapper import punica_gpu

    from llmkit.serving.vllm_internals import _gpu_wrapper

    if DEVICE == "cpu":
        for module in (ops, punica_gpu):
            monkeypatch.setattr(module, "lora_shrink", shrink, raising=False)
            monkeypatch.setattr(module, "lora_expand", expand, raising=False)
        monkeypatch.setattr(punica_gpu, "LoRAKernelMeta", ops.LoRAKernelMeta, raising=False)
    config = SimpleNamespace(max_loras=SLOTS, max_lora_rank=RANK, specialize_active_lora=False)
    _gpu_wrapper.cache_clear()
    made = _gpu_wrapper()(32, 8, torch.device(DEVICE), lora_config=config)
    for slot, layout in LAYOUT.items():
        made.note_slot(slot, *layout)
    made.batch = lambda tokens: made.update_metadata(LoRAMapping(tokens, tokens, is_prefill=True), [7, 5], SLOTS, 99)
    made.batch(TOKENS)
    yield made
    _gpu_wrapper.cache_clear()


@pytest.fixture
def weights():
    torch.manual_seed(0)
    a = [torch.zeros(SLOTS, 1, RANK, D) for _ in WIDTHS]
    b = [torch.zeros(SLOTS, 1, width, RANK) for width in WIDTHS]
    for piece in range(len(WIDTHS)):
        for slot, (r, n) in LAYOUT.items():
            a[piece][slot, 0, : r + n] = torch.randn(r + n, D) / 4
            b[piece][slot, 0, :, :r] = torch.randn(WIDTHS[piece], r)
    return tuple([weight.to(DEVICE, torch.bfloat16) for weight in stack] for stack in (a, b))


def by_hand(x, a, b):
    rows = []
    for token, slot in zip(x.double(), SLOT, strict=True):
        parts = []
        for A, B in zip(a, b, strict=True):
            r, n = LAYOUT.get(slot, (0, 0))
            z = A[slot, 0].double() @ token
            gate = torch.softmax(z[r : r + n], 0).repeat_interleave(r // n) if n else 1
            parts.append(B[slot, 0, :, :r].double() @ (z[:r] * gate))
        rows.append(torch.cat(parts))
    return torch.stack(rows)


def close(y, expected):
    torch.testing.assert_close(y.double(), expected, rtol=0.02, atol=0.05)
    assert not y[SLOT.index(-1)].any()


def zeros(width):
    return torch.zeros(len(SLOT), width, device=DEVICE, dtype=torch.bfloat16)


def tokens():
    return torch.randn(len(SLOT), D, device=DEVICE, dtype=torch.bfloat16)


def test_a_mixed_batch_over_fused_pieces_of_unlike_width(wrapper, weights):
    x, y = tokens(), zeros(sum(WIDTHS))
    wrapper.add_lora_linear(y, x, *weights, 1.0, WIDTHS)
    close(y, by_hand(x, *weights))


def test_an_adapter_on_the_head_is_gated_too(wrapper, weights):
    (a, *_), (b, *_) = weights
    x, y = tokens(), zeros(WIDTHS[0])
    wrapper.add_lora_logits(y, x, a, b, 1.0)
    close(y, by_hand(x, [a], [b]))


def test_row_parallel_halves_add_up_to_the_whole(wrapper, weights):
    (a, *_), (b, *_) = weights
    x = tokens()
    halves = [(x[:, half].contiguous(), a[..., half].contiguous()) for half in (slice(0, D // 2), slice(D // 2, D))]
    parts = []
    for mine, share in halves:
        part = torch.empty(1, len(x), RANK, device=DEVICE)
        wrapper.add_shrink(part, mine, (share,), 1.0)
        parts.append(part)
    ys = [zeros(WIDTHS[0]) for _ in halves]
    for y, (mine, share) in zip(ys, halves, strict=True):
        wrapper.add_lora_linear(y, mine, (share,), (b,), 1.0, WIDTHS[:1], reduce=lambda _: sum(parts))
    close(sum(ys), by_hand(x, [a], [b]))


def test_a_batch_without_adapters_stays_as_it_is(wrapper, weights):
    wrapper.batch((0,) * len(SLOT))
    y = zeros(sum(WIDTHS))
    wrapper.add_lora_linear(y, tokens(), *weights, 1.0, WIDTHS)
    assert not y.any()
