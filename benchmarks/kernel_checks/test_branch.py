"""A whole branch as one kernel, by Triton's interpreter: chosen for few rows without gradients, and never elsewhere."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import benchmarks
from peft import get_peft_model
from torch import Tensor, nn

from kernel_checks.layers import D, layer_of, plain, worst
from llmkit.talklora import PRESETS, TalkLoraConfig
from llmkit.talklora.layer import Linear
from llmkit.talklora.telemetry import Telemetry

SIZES = [(16, 4), (32, 4), (8, 2), (24, 3), (10, 5), (32, 2), (16, 16)]
HYDRA = [(8, 4), (4, 4), (5, 3)]
CASES = [(preset, size) for preset in PRESETS for size in (HYDRA if preset == "hydralora" else SIZES)]


@torch.no_grad()
def off(layer: Linear, x: Tensor) -> float:
    """Returns the relative error of a branch by itself, over a base of zeros, to float64."""
    layer.base_layer.weight.zero_()
    return worst([layer(x)], [plain(layer)(x.double())])


@pytest.mark.parametrize("shape", [(1,), (2, 2), (3, 7), (64,)], ids=str)
@pytest.mark.parametrize(("preset", "size"), CASES, ids=str)
def test_it_adds_what_float64_adds(preset, size, shape, calls):
    layer = layer_of(preset, *size).eval()
    assert off(layer, torch.randn(*shape, D)) < 1e-5
    assert calls == ["_branch"]


@pytest.mark.parametrize("tokens", [3, 20])
@pytest.mark.parametrize("preset", ["talklora", "moelora"])
def test_wide_layers_take_several_rounds_and_programs(preset, tokens, calls):
    layer = layer_of(preset, d=1100, k=150).eval()
    assert off(layer, torch.randn(tokens, 1100)) < 1e-5
    assert calls == ["_branch"]


@pytest.mark.parametrize(
    ("settings", "rows"),
    [({"use_kernel": False}, 3), ({"spectral_bound": 0.2}, 3), ({"top_k": 2}, 3), ({"r": 64}, 3), ({}, 65), ({}, 0)],
    ids=str,
)
def test_what_it_does_not_serve(settings, rows, calls):
    layer = layer_of(**settings).eval()
    assert off(layer, torch.randn(rows, D)) < 1e-5
    assert "_branch" not in calls
    calls.append("nothing")  # torch's operations alone are right here


def test_gradients_training_and_doubles_are_not_served(calls):
    layer, x = layer_of(), torch.randn(3, D)
    layer.eval()(x)
    with torch.no_grad():
        layer.train()(x)
        assert "_branch" not in calls
        layer.eval().double()(x.double())
        assert "_branch" not in calls
        layer.float()(x)
    assert calls[-1] == "_branch"


def test_a_hook_on_a_matrix_is_seen(calls):
    layer, x = layer_of().eval(), torch.randn(3, D)
    up = layer.up("default")
    handle = up.register_forward_hook(lambda module, inputs, output: 2 * output)
    with torch.no_grad():
        twice = layer(x) - layer.base_layer(x)
        handle.remove()
        torch.testing.assert_close(twice, 2 * (layer(x) - layer.base_layer(x)), rtol=1e-4, atol=1e-5)
    assert calls.count("_branch") == 1


def test_base_output_and_input_keep_their_values(calls):
    layer = layer_of().eval()
    kept: list[tuple[Tensor, Tensor]] = []
    layer.base_layer.register_forward_hook(lambda module, inputs, output: kept.append((output, output.clone())))
    x = torch.randn(3, D)
    before = x.clone()
    with torch.inference_mode():
        layer(x)
    assert torch.equal(*kept[0])
    assert torch.equal(x, before)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("half_adapter", [True, False])
@pytest.mark.parametrize("rows", [2, 33])
def test_half_precision_is_as_close_as_its_rounding(dtype, half_adapter, rows):
    layer = layer_of().eval().to(dtype)
    if not half_adapter:
        for parts in (layer.talklora_A, layer.talklora_E, layer.talklora_C, layer.talklora_router, layer.talklora_B):
            parts.float()
    x = torch.randn(rows, D, dtype=dtype)
    with torch.no_grad():
        assert worst([layer(x)], [plain(layer)(x.double())]) < (0.01 if dtype == torch.bfloat16 else 0.001)
        assert layer(x).dtype == dtype


def test_rows_that_are_not_adjacent():
    layer = layer_of().eval()
    wide = torch.randn(3, 6, 2 * D)
    with torch.no_grad():
        for x in (wide[:, ::2, :D], wide[..., ::2], wide[0].T[:D].T):
            torch.testing.assert_close(layer(x), layer(x.contiguous()))


def test_under_autocast_it_stays_close_to_float64(calls):
    layer, x = layer_of().eval(), torch.randn(9, D)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        got = layer(x)
    assert got.dtype == torch.bfloat16
    with torch.no_grad():
        assert worst([got], [plain(layer)(x.double())]) < 0.02
    assert calls == ["_branch"]


def test_a_compiled_layer_is_one_graph_with_one_operator():
    layer, x = layer_of().eval(), torch.randn(7, D)
    graphs: list[str] = []

    def kept(module: Any, inputs: Any) -> Any:
        graphs.append(module.code)
        return module.forward

    from torch._dynamo.backends.common import aot_autograd

    with torch.no_grad():
        compiled = torch.compile(layer, fullgraph=True, backend=aot_autograd(fw_compiler=kept))
        torch.testing.assert_close(compiled(x), layer(x))
    assert [code.count("ops.llmkit.add_branch") for code in graphs] == [1]


def model() -> nn.Module:
    layers = nn.ModuleList(nn.ModuleDict({"q_proj": nn.Linear(D, D, bias=False)}) for _ in range(2))
    return nn.ModuleDict({"layers": layers})


def test_layers_that_share_b(calls):
    adapted = get_peft_model(model(), TalkLoraConfig(target_modules=["q_proj"], init_weights=False)).eval()
    first, second = (adapted.base_model.model["layers"][i]["q_proj"] for i in range(2))
    assert first.up("default") is second.up("default")
    x = torch.randn(3, D)
    with torch.no_grad():
        got = [layer(x) for layer in (first, second)]
        assert calls == ["_branch"] * 2
        first.settings["default"].use_kernel = False  # the settings of both layers are one object
        torch.testing.assert_close(got, [layer(x) for layer in (first, second)])
    assert calls == ["_branch"] * 2


def test_telemetry_sees_the_gates_of_few_rows(calls):
    adapted = get_peft_model(model(), TalkLoraConfig(target_modules=["q_proj"], init_weights=False)).eval()
    layer = adapted.base_model.model["layers"][0]["q_proj"]
    with torch.no_grad(), Telemetry(adapted) as telemetry:
        layer(torch.randn(1, 3, D))
    assert "_branch" not in calls
    assert sum(telemetry.report()["layers.0.q_proj"]["load"]) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(("tokens", "widths"), [(1, [64, 256]), (20, [128, 256])])
def test_the_benchmark_for_a_gpu_times_it_beside_three_launches(tokens, widths, monkeypatch, calls):
    monkeypatch.syspath_prepend(str(benchmarks.ROOT / "benchmarks"))
    gpu = benchmarks.load("gpu")
    monkeypatch.setattr(gpu.talklora, "SIZES", {"llama3": {"q": (32, 48), "k": (32, 16)}})
    monkeypatch.setattr(gpu.talklora, "seconds_on_gpu", lambda run: (run(), 1e-6)[1])
    rows = gpu.branch_times(32, tokens)
    assert list(rows)[-2:] == [f"one launch, BK {width}" for width in widths]
    assert calls.count("_branch") == 2 * (1 + len(widths))
    assert "met: 1.00 times an empty launch" in gpu.verdict("branch", rows)
