"""The kernels by Triton's interpreter: the values and gradients of float64, in every way that a layer is run."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from kernel_checks.layers import D, K, layer_of, plain, run, worst
from llmkit.talklora import PRESETS, TalkLoraConfig
from llmkit.talklora.reference import per_expert

SIZES = [(16, 4), (32, 4), (8, 2), (24, 3), (10, 5), (32, 2), (64, 4), (16, 16)]
HYDRA = [(8, 4), (16, 4), (5, 3)]
CASES = [(preset, size) for preset in PRESETS for size in (HYDRA if preset == "hydralora" else SIZES)]


@pytest.mark.parametrize("tokens", [(1,), (3, 11)], ids=str)
@pytest.mark.parametrize(("preset", "size"), CASES, ids=str)
def test_values_and_gradients_are_those_of_float64(preset, size, tokens):
    # Dropout would draw other masks in float64: what is compared is the gate's, from float32 ones.
    layer = layer_of(preset, *size, dropout=0.0, output_dropout=0.0, gate_dropout=0.0)
    x, weight = torch.randn(*tokens, D), torch.randn(*tokens, K)
    assert worst(run(layer, x, weight), run(plain(layer), x.double(), weight.double())) < 1e-5


@pytest.mark.parametrize("preset", PRESETS)
def test_a_large_rank(preset):
    size = (64, 4) if preset == "hydralora" else (256, 4)
    layer = layer_of(preset, *size, dropout=0.0, output_dropout=0.0, gate_dropout=0.0)
    x, weight = torch.randn(5, D), torch.randn(5, K)
    assert worst(run(layer, x, weight), run(plain(layer), x.double(), weight.double())) < 1e-5


def test_talklora_is_the_papers_equations():
    layer, x = layer_of(), torch.randn(7, D)
    weights = {"A": layer.talklora_A["default"].weight, **layer.weights("default"), "B": layer.up("default").weight}
    wanted = per_expert(x.double(), **{name: w.double() for name, w in weights.items()}, scale=0.5)
    assert worst([layer.delta(x, "default")], [wanted]) < 1e-5


def test_dropout_of_gates_draws_the_masks_of_torchs_operations():
    layer = layer_of("talklora-released", gate_dropout=0.5)
    eager = copy.deepcopy(layer)
    eager.settings["default"].use_kernel = False
    x, weight = torch.randn(9, D), torch.randn(9, K)
    assert worst(run(layer, x, weight), run(eager, x, weight)) < 1e-5


@pytest.mark.parametrize("settings", [{"talk": "off"}, {"talk": "frozen"}, {"spectral_bound": 0.2},
                                      {"talk": "off", "share_A": True}, {"transform": False}], ids=str)  # fmt: skip
def test_switches(settings):
    layer, x, weight = layer_of(**settings), torch.randn(7, D), torch.randn(7, K)
    assert worst(run(layer, x, weight), run(plain(layer), x.double(), weight.double())) < 1e-5


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("shape", [(0, D), (2, 0, D)], ids=str)
def test_empty_batches(preset, shape):
    layer = layer_of(preset)
    y, *gradients = run(layer, torch.randn(shape), torch.randn(*shape[:-1], K))
    assert y.shape == (*shape[:-1], K)
    assert not any(gradient.any() for gradient in gradients)


@pytest.mark.parametrize(("dtype", "most"), [(torch.bfloat16, 0.03), (torch.float16, 0.004)], ids=str)
def test_half_precision_is_as_close_as_its_rounding(dtype, most):
    layer = layer_of().to(dtype)
    x, weight = torch.randn(33, D, dtype=dtype), torch.randn(33, K, dtype=dtype)
    wanted = run(plain(layer), x.double(), weight.double())
    assert worst(run(layer, x, weight), wanted) < most


def test_autocast_stays_close_to_float64():
    layer, x, weight = layer_of(), torch.randn(33, D), torch.randn(33, K)
    wanted = run(plain(layer), x.double(), weight.double())
    with torch.autocast("cpu", torch.bfloat16):
        got = run(layer, x, weight)
    assert got[0].dtype == torch.bfloat16
    assert worst(got, wanted) < 0.03


def test_a_checkpoint_gives_the_same_gradients():
    layer, x, weight = layer_of(), torch.randn(7, D), torch.randn(7, K)

    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x: Tensor) -> Tensor:
            return checkpoint(self.layer, x, use_reentrant=False)

    for a, b in zip(run(Checkpointed(), x, weight), run(layer, x, weight), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("preset", ["talklora", "moelora"])
def test_a_compiled_layer_is_one_graph_with_one_operator_each_way(preset):
    layer, x, weight = layer_of(preset), torch.randn(7, D), torch.randn(7, K)
    graphs: list[str] = []

    def kept(module: Any, inputs: Any) -> Any:
        graphs.append(module.code)
        return module.forward

    from torch._dynamo.backends.common import aot_autograd

    compiled = torch.compile(layer, fullgraph=True, backend=aot_autograd(fw_compiler=kept))
    assert worst(run(compiled, x, weight), run(plain(layer), x.double(), weight.double())) < 1e-5
    assert [code.count("ops.llmkit") for code in graphs] == [1, 1]


def test_second_derivatives_are_those_of_torchs_operations():
    layer = layer_of()
    eager = copy.deepcopy(layer)
    eager.settings["default"].use_kernel = False
    x = torch.randn(5, D, requires_grad=True)
    penalties = []
    for one in (layer, eager):
        (slope,) = torch.autograd.grad(one(x).square().sum(), x, create_graph=True)
        parameters = [p for p in one.parameters() if p.requires_grad]
        penalties.append(torch.autograd.grad(slope.square().sum(), [x, *parameters]))
    assert worst(*penalties) < 1e-4


def test_balancing_and_telemetry_see_the_gates():
    layer = layer_of(balance_coef=0.5)
    seen: list[Tensor] = []
    layer.observer = lambda _, gate: seen.append(gate.detach())
    eager = copy.deepcopy(layer)
    eager.settings["default"].use_kernel = False
    x, gradients = torch.randn(7, D), []
    for one in (layer, eager):
        one.current.begin(None)
        y = one(x)
        (loss,) = one.current.end()
        gradients.append(torch.autograd.grad(y.sum() + loss, [p for p in one.parameters() if p.requires_grad]))
    assert worst(*gradients) < 1e-5
    assert worst(seen[:1], seen[1:]) < 1e-6


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("keep_folds", [True, False])
def test_decoding_folded_and_not_where_rows_are_many(preset, keep_folds, calls):
    layer = layer_of(preset, keep_folds=keep_folds).eval()
    x = torch.randn(5, 13, D)
    with torch.no_grad():
        assert worst([layer(x)], [plain(layer)(x.double())]) < 1e-5
    assert "_branch" not in calls


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("keep_folds", [True, False])
def test_decoding_folded_and_not(preset, keep_folds):
    layer = layer_of(preset, keep_folds=keep_folds).eval()
    x = torch.randn(3, 1, D)
    with torch.no_grad():
        assert worst([layer(x)], [plain(layer)(x.double())]) < 1e-5


def test_two_adapters_add_up_where_the_sum_is_in_place():
    layer = layer_of().eval()
    layer.update_layer("other", TalkLoraConfig(r=8, num_experts=2, share_B=False, init_weights=False), None)
    layer.set_adapter(["default", "other"])
    x = torch.randn(3, D)
    with torch.no_grad():
        wanted = layer.base_layer(x) + layer.delta(x, "default") + layer.delta(x, "other")
        torch.testing.assert_close(layer(x), wanted)
