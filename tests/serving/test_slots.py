import pytest
import torch

from llmkit.serving.slots import Dense, SlotGates, add_rows, rows_by_slot

RANK, WIDTHS, D = 16, (6, 4, 4), 10
LAYOUTS = [(8, 4), (5, 0), (9, 3)]  # (r, n) of the three slots


@pytest.fixture
def stacked():
    """A (slots, rank, d) and B (slots, k, rank) of three fused pieces; the second adapter leaves the last piece out."""
    torch.manual_seed(0)
    a = [torch.zeros(3, RANK, D) for _ in WIDTHS]
    b = [torch.zeros(3, k, RANK) for k in WIDTHS]
    for slot, (r, n) in enumerate(LAYOUTS):
        for piece in range(3):
            if (slot, piece) != (1, 2):
                a[piece][slot, : r + n] = torch.randn(r + n, D)
                b[piece][slot, :, :r] = torch.randn(WIDTHS[piece], r)
    return a, b


@pytest.fixture
def gates():
    gates = SlotGates(3, RANK)
    for slot, (r, n) in enumerate(LAYOUTS):
        gates.set(slot, r, n)
    return gates


def by_hand(x, slot, a, b):
    """One token at a time, straight from y = sum_i g_i B_i h_i."""
    y = torch.zeros(len(x), sum(WIDTHS))
    for t, s in enumerate(slot.tolist()):
        if s < 0:
            continue
        r, n = LAYOUTS[s]
        parts = []
        for piece in range(3):
            z = a[piece][s] @ x[t]
            gate = torch.softmax(z[r : r + n], 0).repeat_interleave(r // n) if n else torch.ones(r)
            parts.append(b[piece][s][:, :r] @ (z[:r] * gate))
        y[t] = torch.cat(parts)
    return y


def dense(slot, a, b):
    return Dense.pack([w[slot] for w in a], [w[slot] for w in b], WIDTHS, *LAYOUTS[slot])


SLOTS = torch.tensor([0, 0, 2, -1, 1, 2, 1, -1, 0])


def test_dense_products_of_a_mixed_batch_are_those_of_each_token_alone(stacked):
    x = torch.randn(len(SLOTS), D)
    y = torch.randn(len(SLOTS), sum(WIDTHS))
    expected = y + by_hand(x, SLOTS, *stacked)
    for slot, rows in rows_by_slot(SLOTS):
        add_rows(dense(slot, *stacked), y, x, rows)
    torch.testing.assert_close(y, expected)


def test_gates_of_fixed_shape_are_those_of_each_token_alone(stacked, gates):
    a, b = stacked
    x = torch.randn(len(SLOTS), D)
    latents = torch.stack([torch.einsum("td,trd->tr", x, a[piece][SLOTS]) for piece in range(3)])
    latents = gates.apply(latents, SLOTS) * (SLOTS >= 0)[:, None]
    y = torch.cat([torch.einsum("tr,tkr->tk", latents[piece], b[piece][SLOTS]) for piece in range(3)], dim=-1)
    torch.testing.assert_close(y, by_hand(x, SLOTS, a, b))


def test_gates_compile_into_one_graph_and_follow_a_slot_that_changes(gates):
    compiled = torch.compile(gates.apply, fullgraph=True, backend="eager")
    latents = torch.randn(2, len(SLOTS), RANK)
    torch.testing.assert_close(compiled(latents, SLOTS), gates.apply(latents, SLOTS))
    gates.set(1, 6, 2)
    torch.testing.assert_close(compiled(latents, SLOTS), gates.apply(latents, SLOTS))
    assert not torch.equal(compiled(latents, SLOTS)[:, SLOTS == 1, :6], latents[:, SLOTS == 1, :6])


def test_a_slot_that_goes_back_to_plain_lora_gates_nothing(gates):
    gates.set(0, 8, 0)
    latents = torch.randn(3, RANK)
    assert torch.equal(gates.apply(latents, torch.tensor([0, 1, -1])), latents)


@pytest.mark.parametrize("path", ["dense", "fixed shape"])
def test_two_halves_of_a_row_parallel_layer_add_up_to_the_whole(stacked, gates, path):
    """Each rank has half of the inputs; only the sum of both knows the gates. The layer adds up the two outputs."""
    a, b = ([weights[:1]] for weights in (stacked[0][0], stacked[1][0]))
    x = torch.randn(7, D)
    slot = torch.zeros(7, dtype=torch.long)
    halves = [slice(0, D // 2), slice(D // 2, D)]
    latents = [x[:, half] @ a[0][0][:, half].T for half in halves]
    total = sum(latents)
    outputs = []
    for half, part in zip(halves, latents, strict=True):
        if path == "fixed shape":
            outputs.append(gates.apply(part, slot, total) @ b[0][0].T)
        else:
            y = torch.zeros(7, WIDTHS[0])
            one = Dense.pack([a[0][0][:, half]], [b[0][0]], WIDTHS[:1], *LAYOUTS[0])
            one.add(y, x[:, half], reduce=lambda logits: total[:, 8:12])
            outputs.append(y)
    whole = torch.zeros(7, WIDTHS[0])
    Dense.pack([a[0][0]], [b[0][0]], WIDTHS[:1], *LAYOUTS[0]).add(whole, x)
    torch.testing.assert_close(sum(outputs), whole)


def test_nothing_is_packed_where_the_adapter_has_no_weights(stacked):
    a, b = stacked
    assert Dense.pack([a[2][1]], [b[2][1]], WIDTHS[2:], 5, 0) is None
    assert dense(1, a, b).up.shape == (2 * 5, WIDTHS[0] + WIDTHS[1])


def test_rows_that_stand_together_are_a_slice():
    rows = dict(rows_by_slot(torch.tensor([1, 1, -1, 0, 2, 0])))
    assert rows[1] == slice(0, 2)
    assert rows[0].tolist() == [3, 5]
    assert rows[2] == slice(4, 5)
