"""What the method's equations imply, exactly, in float64 (arXiv 2604.06291 and our own derivations)."""

from __future__ import annotations

import math

import pytest
import torch
from helpers.models import llama
from peft import get_peft_model
from torch import nn

from llmkit.talklora import TalkLoraConfig, TalkLoraLayer
from llmkit.talklora.balancing import ForwardPass
from llmkit.talklora.functions import latent_map, latent_router
from llmkit.talklora.layer import Linear
from llmkit.talklora.reference import per_expert

D, K, R, N = 10, 7, 12, 4
M = R // N
TARGETS = ["q_proj", "k_proj", "v_proj", "up_proj", "down_proj"]


@pytest.fixture(autouse=True)
def _double():
    torch.manual_seed(1)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def make_layer(r: int = R, n: int = N, k: int = K, **settings) -> TalkLoraLayer:
    layer = Linear(nn.Linear(D, k), ForwardPass())
    config = TalkLoraConfig(r=r, num_experts=n, init_weights=False, **{"share_B": False, "alpha": 2.0 * r, **settings})
    layer.update_layer("default", config, None)
    layer.set_adapter("default")
    for parameter in layer.parameters():
        parameter.data.normal_()
    return layer


def parts(layer: TalkLoraLayer) -> dict[str, torch.Tensor]:
    return {"A": layer.talklora_A["default"].weight, **layer.weights("default"), "B": layer.up("default").weight}


def gates(layer: TalkLoraLayer, x: torch.Tensor) -> torch.Tensor:
    seen = []
    layer.observer = lambda _, gate: seen.append(gate.detach())
    layer.delta(x, "default")
    layer.observer = None
    return seen[0]


def router(layer: TalkLoraLayer) -> torch.Tensor:
    """W_g (C kron I) A, (n, d): the gates as a function of the layer's input."""
    p = parts(layer)
    return latent_router(layer.settings["default"], p["W"], p["C"]) @ p["A"]


def test_t1_a_new_adapter_changes_no_bit():
    model, ids = llama(), torch.arange(12).view(2, 6)
    before = model(ids).logits
    adapted = get_peft_model(model, TalkLoraConfig(r=8, num_experts=4, target_modules=TARGETS))
    assert torch.equal(adapted(ids).logits, before)


def test_t2_fused_equals_the_equations_with_all_gradients():
    layer, x = make_layer(), torch.randn(3, 5, D)
    p = parts(layer)
    reference = per_expert(x, p["A"], p["E"], p["C"], p["W"], p["B"], scale=2.0)
    fused = layer.delta(x, "default")
    torch.testing.assert_close(fused, reference, rtol=1e-12, atol=1e-12)
    weight = torch.randn_like(fused)
    for one, other in zip(
        torch.autograd.grad((fused * weight).sum(), list(p.values())),
        torch.autograd.grad((reference * weight).sum(), list(p.values())),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-11)


def test_t3_an_identity_c_is_the_router_without_talking():
    talking, x = make_layer(), torch.randn(6, D)
    silent = make_layer(talk="off")
    silent.load_state_dict(talking.state_dict(), strict=False)
    talking.talklora_C["default"].weight.data = torch.eye(N)
    torch.testing.assert_close(talking.delta(x, "default"), silent.delta(x, "default"), rtol=1e-12, atol=1e-12)


def test_t3_a_diagonal_c_scales_the_routers_column_blocks():
    talking, x, c = make_layer(), torch.randn(6, D), torch.randn(N)
    silent = make_layer(talk="off")
    silent.load_state_dict(talking.state_dict(), strict=False)
    talking.talklora_C["default"].weight.data = torch.diag(c)
    silent.talklora_router["default"].weight.data *= c.repeat_interleave(M)
    torch.testing.assert_close(gates(talking, x), gates(silent, x), rtol=1e-12, atol=1e-12)


def test_t4_c_folds_into_the_router():
    layer, x = make_layer(), torch.randn(6, D)
    folded = make_layer(talk="off")
    folded.load_state_dict(layer.state_dict(), strict=False)
    p = parts(layer)
    folded.talklora_router["default"].weight.data = latent_router(layer.settings["default"], p["W"], p["C"]).detach()
    torch.testing.assert_close(layer.delta(x, "default"), folded.delta(x, "default"), rtol=1e-12, atol=1e-12)


def test_t4_every_adapter_is_an_input_routed_moelora():
    layer, x = make_layer(), torch.randn(6, D)
    moelora = make_layer(router_input="input", talk="off", transform=False)
    p = parts(layer)
    experts = torch.cat([E @ A for E, A in zip(p["E"], p["A"].chunk(N), strict=True)])
    moelora.talklora_A["default"].weight.data = experts.detach()
    moelora.talklora_router["default"].weight.data = router(layer).detach()
    moelora.talklora_B["default"].weight.data = p["B"].detach()
    torch.testing.assert_close(layer.delta(x, "default"), moelora.delta(x, "default"), rtol=1e-12, atol=1e-12)


def test_t5_one_expert_is_a_lora():
    layer, x = make_layer(n=1), torch.randn(6, D)
    p = parts(layer)
    assert layer.weights("default")["W"] is layer.weights("default")["C"] is None  # neither could ever learn
    expected = 2.0 * x @ (p["B"] @ p["E"][0] @ p["A"]).T
    torch.testing.assert_close(layer.delta(x, "default"), expected, rtol=1e-12, atol=1e-12)


def test_t6_a_zero_router_is_a_static_lora():
    layer, x = make_layer(), torch.randn(6, D)
    layer.talklora_router["default"].weight.data.zero_()
    p = parts(layer)
    static = 2.0 / N * p["B"] @ torch.block_diag(*p["E"]) @ p["A"]
    assert torch.equal(gates(layer, x), torch.full((6, N), 1 / N))
    torch.testing.assert_close(layer.delta(x, "default"), x @ static.T, rtol=1e-12, atol=1e-12)


def test_t7_experts_have_no_order():
    layer, x = make_layer(), torch.randn(6, D)
    before = layer.delta(x, "default")
    order = torch.tensor([2, 0, 3, 1])
    rows = (order[:, None] * M + torch.arange(M)).flatten()
    p = parts(layer)
    for name, permuted in {
        "A": p["A"][rows],
        "E": p["E"][order],
        "C": p["C"][order][:, order],
        "W": p["W"][order][:, rows],
        "B": p["B"][:, rows],
    }.items():
        p[name].data = permuted.detach()
    torch.testing.assert_close(layer.delta(x, "default"), before, rtol=1e-12, atol=1e-12)


def ascend(layer: TalkLoraLayer, x: torch.Tensor, size: float) -> torch.Tensor:
    """A step dx of this size that moves the gates as far as gradient ascent can."""
    step = torch.randn_like(x).requires_grad_()
    W = router(layer).detach()
    for _ in range(60):
        moved = torch.softmax((x + size * step / step.norm()) @ W.T, -1) - torch.softmax(x @ W.T, -1)
        (gradient,) = torch.autograd.grad(moved.norm(), step)
        step = (step / step.norm() + gradient / gradient.norm()).detach().requires_grad_()
    return size * (step / step.norm()).detach()


@pytest.mark.parametrize("size", [1e-3, 0.1, 2.0])
def test_t8_gates_move_at_most_half_the_routers_norm(size):
    layer = make_layer()
    bound = 0.5 * torch.linalg.matrix_norm(router(layer), 2)
    p = parts(layer)
    product = 0.5 * math.prod(torch.linalg.matrix_norm(p[key], 2).item() for key in ("W", "C", "A"))
    x = 0.1 * torch.randn(D)
    for step in (size * nn.functional.normalize(torch.randn(D), dim=0), ascend(layer, x, size)):
        ratio = (gates(layer, x + step) - gates(layer, x)).norm() / step.norm()
        assert ratio <= bound + 1e-9
        assert bound <= product + 1e-9


def test_t8_the_bound_is_attained_by_two_experts():
    layer = make_layer(n=2, r=4)
    layer.talklora_router["default"].weight.data[1] = -layer.talklora_router["default"].weight.data[0]
    W = router(layer)
    step = 1e-6 * torch.linalg.svd(W)[2][0]
    ratio = (gates(layer, step) - gates(layer, torch.zeros(D))).norm() / step.norm()
    torch.testing.assert_close(ratio, 0.5 * torch.linalg.matrix_norm(W, 2), rtol=1e-6, atol=0)


def test_t8_a_large_c_moves_the_gates_more_than_the_identity_can():
    layer, silent = make_layer(n=2, r=4), make_layer(n=2, r=4, talk="off")
    A = torch.linalg.qr(torch.randn(D, 4))[0].T  # orthonormal rows: all latents move as far as x
    W = torch.randn(1, 4) * torch.tensor([[1.0], [-1.0]])
    for module in (layer, silent):
        module.talklora_A["default"].weight.data = A
        module.talklora_router["default"].weight.data = W
    layer.talklora_C["default"].weight.data = torch.tensor([[0.0, 3.0], [3.0, 0.0]])  # ||C|| = 3, nothing else
    bound = 0.5 * torch.linalg.matrix_norm(W, 2)  # of C = I
    ratios = []
    for module in (layer, silent):
        step = 1e-6 * torch.linalg.svd(router(module))[2][0]
        ratios.append((gates(module, step) - gates(module, torch.zeros(D))).norm() / step.norm())
    torch.testing.assert_close(ratios[0], 3 * bound, rtol=1e-6, atol=0)
    torch.testing.assert_close(ratios[1], bound, rtol=1e-6, atol=0)


@pytest.mark.parametrize(("n", "share"), [(4, 0.84), (16, 0.23)])
def test_how_often_a_random_start_is_non_expansive(n, share):
    layer, starts = make_layer(n=n, r=16), []
    for _ in range(1500):
        layer.reset_parameters("default")
        starts.append(layer.talklora_C["default"].weight.detach().clone())
    norms = torch.linalg.matrix_norm(torch.stack(starts), 2)
    assert (norms <= 1).double().mean() == pytest.approx(share, abs=0.03)  # three standard errors


def test_logits_start_at_0_58_of_those_of_the_identity():
    layer, silent = make_layer(n=4, r=32), make_layer(n=4, r=32, talk="off")
    x, sizes = torch.randn(8, D), []
    for module in (layer, silent):
        logits = []
        for _ in range(400):
            module.reset_parameters("default")
            logits.append(x @ router(module).T)
        sizes.append(torch.stack(logits).std().item())
    assert sizes[0] / sizes[1] == pytest.approx(1 / math.sqrt(3), abs=0.03)


def test_t9_gates_are_blind_to_what_a_does_not_see():
    layer, moelora = make_layer(r=4, n=2), make_layer(r=4, n=2, router_input="input", talk="off", transform=False)
    x = torch.randn(D)
    hidden = torch.linalg.svd(layer.talklora_A["default"].weight)[2][-1]  # A hidden = 0
    torch.testing.assert_close(gates(layer, x + hidden), gates(layer, x), rtol=0, atol=1e-12)
    moelora.talklora_A["default"].weight.data = layer.talklora_A["default"].weight.data
    assert (gates(moelora, x + hidden) - gates(moelora, x)).abs().max() > 1e-3  # so the inclusion is strict


def test_t10_gates_are_a_distribution():
    layer, x = make_layer(), torch.randn(3, 5, D)
    gate = gates(layer, x)
    assert (gate > 0).all()
    torch.testing.assert_close(gate.sum(-1), torch.ones(3, 5), rtol=1e-14, atol=1e-14)
    layer.talklora_router["default"].weight.data += torch.randn(1, R)  # the same for all experts: no change
    torch.testing.assert_close(gates(layer, x), gate, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("autocast", [True, False])
def test_t10_gates_are_computed_in_float32(dtype, autocast):
    layer = make_layer().to(torch.float32 if autocast else dtype)
    x = torch.randn(3, D, dtype=torch.float32 if autocast else dtype)
    with torch.autocast("cpu", dtype, enabled=autocast):
        assert gates(layer, x).dtype == torch.float32
        assert layer(x).dtype == dtype


def test_t11_a_row_does_not_know_its_batch():
    layer, x = make_layer().float(), torch.randn(5, 6, D, dtype=torch.float32)
    whole = layer(x)
    for i in range(5):
        torch.testing.assert_close(layer(x[i : i + 1])[0], whole[i], rtol=1e-6, atol=1e-6)
    other = x.clone()
    other[1:] = 100.0
    assert torch.equal(layer(other)[0], whole[0])  # neighbours of the same shape: bit for bit


def test_t11_padding_changes_nothing():
    model = get_peft_model(
        llama(), TalkLoraConfig(r=8, num_experts=4, target_modules=TARGETS, init_weights=False)
    ).eval()
    ids = torch.arange(1, 9)[None]
    padded = torch.cat([torch.zeros(1, 3, dtype=torch.long), ids], dim=1)
    mask = (padded != 0).long()
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    logits = model(padded, attention_mask=mask, position_ids=positions).logits[:, 3:]
    torch.testing.assert_close(logits, model(ids).logits, rtol=1e-10, atol=1e-10)


def test_t14_the_first_step_moves_only_b():
    model = get_peft_model(llama(), TalkLoraConfig(r=8, num_experts=4, target_modules=TARGETS))
    ids = torch.arange(12).view(2, 6)
    model(ids, labels=ids).loss.backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert bool(parameter.grad.abs().max() > 0) == ("talklora_B" in name), name


def test_initial_weights_have_the_papers_spread():
    layer = Linear(nn.Linear(400, 300), ForwardPass())
    layer.update_layer("default", TalkLoraConfig(r=32, num_experts=4, share_B=False), None)
    for weight, fan_in in (
        (layer.talklora_A["default"].weight, 400),
        (layer.talklora_E["default"].weight, 8),
        (layer.talklora_C["default"].weight, 4),
        (layer.talklora_router["default"].weight, 32),
    ):
        assert 0.8 / math.sqrt(fan_in) < weight.abs().max() <= 1 / math.sqrt(fan_in)
    assert not layer.up("default").weight.any()


@pytest.mark.parametrize("settings", [{}, {"share_A": True, "talk": "off", "router_input": "input"}])
def test_nothing_of_width_experts_times_outputs_is_built(settings):
    layer, x, sizes = make_layer(k=300, **settings), torch.randn(8, D), []
    weights = {parameter.data_ptr() for parameter in layer.parameters()}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.data_ptr() not in weights:
            sizes.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        layer.delta(x, "default")
    assert max(sizes) < 8 * 300  # not even one output, (8, k), let alone n of them


def test_mixing_is_one_map_from_latents_to_features_and_logits():
    layer = make_layer()
    p, config = parts(layer), layer.settings["default"]
    rows = latent_map(config, p["E"], p["W"], p["C"], like=p["A"])
    assert rows.shape == (R + N, R)
    torch.testing.assert_close(rows[:R], torch.block_diag(*p["E"]), rtol=0, atol=0)
    torch.testing.assert_close(rows[R:], p["W"] @ torch.kron(p["C"], torch.eye(M)), rtol=1e-12, atol=1e-12)
