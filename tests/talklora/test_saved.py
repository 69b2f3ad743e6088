"""Adapters saved before B moved into the keys of its layers: they load, and answer as they did when they were saved.

Every weight comes from a formula, and the expected numbers were computed in float64 by the code that wrote such files.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from helpers.adapters import layers
from helpers.models import smollm2_shape
from peft import PeftModel
from safetensors.torch import save_file
from torch import nn
from transformers import LlamaForCausalLM

from llmkit.talklora.export import fold_adapter, read_adapter
from llmkit.talklora.functions import inference_gates

D, K = 12, 8
DEFAULTS = {
    "alpha": 16.0,
    "auto_mapping": None,
    "balance_coef": 0.0,
    "base_model_name_or_path": None,
    "dropout": 0.0,
    "exclude_modules": None,
    "gate_dropout": 0.0,
    "inference_mode": True,
    "init_weights": True,
    "layers_pattern": None,
    "layers_to_transform": None,
    "modules_to_save": None,
    "num_experts": 4,
    "output_dropout": 0.0,
    "peft_type": "TALKLORA",
    "peft_version": "0.21.2",
    "r": 8,
    "revision": None,
    "router_init_scale": 1.0,
    "router_input": "latent",
    "share_A": False,
    "share_B": True,
    "spectral_bound": None,
    "talk": "on",
    "target_modules": ["down", "up"],
    "task_type": None,
    "top_k": None,
    "transform": True,
    "use_rslora": False,
}
RELATIVE = {"router_input": "input", "talk": "off", "transform": False, "share_B": False}
# Settings of an adapter, and four outputs of the model below with it.
CASES = {
    "talklora": ({}, [6.641892146537105, 5.57549179698932, -4.8576908721915855, -5.610061327468701]),
    "released": (
        {"dropout": 0.05, "gate_dropout": 0.05, "output_dropout": 0.05, "alpha": None},
        [1.9113282257029678, 1.509500934884628, -0.7840452738396223, -2.56795321125519],
    ),
    "moelora": (RELATIVE, [5.867074543633867, 1.7955176855614274, -5.221676017346848, -9.83445533992625]),
    "hydralora": (
        {**RELATIVE, "share_A": True},
        [1.5563985067293165, 0.48384243548059214, -1.48205680958259, -1.5761074108397366],
    ),
    "unshared": ({"share_B": False}, [2.4246562840376766, 2.2970601406026567, 1.3652833279893084, -12.323165810414473]),
    "silent": ({"talk": "off"}, [1.2329105013139516, 10.80412889897579, -8.183441671032408, -12.969121239858756]),
    "frozen": (
        {"talk": "frozen", "use_rslora": True},
        [10.351403781266683, 18.366933988469835, -21.11375704915028, -18.07409120221802],
    ),
    "after-softmax": (
        {"talk": "after-softmax"},
        [3.1707359469157623, -10.419790647057926, 9.739845653372432, -7.938624843500269],
    ),
    "top-2": ({"top_k": 2}, [6.832248535437454, 4.9436587508903, -3.7546017069313966, -5.038105585788879]),
    "bounded": (
        {"spectral_bound": 0.4},
        [0.7517705359928843, 4.905797264348053, -2.294163374312347, -9.320969533725437],
    ),
    "no-router": (
        {"router_input": "none", "talk": "off"},
        [-2.3894864744008344, 4.767846522942709, -1.9016326116339064, -11.831511816150808],
    ),
    "one-expert": (
        {"num_experts": 1},
        [-179.16806356259025, 24.596264381059996, -95.70649624652671, 53.81700595816783],
    ),
}


def waves(shift: float, *shape: int) -> torch.Tensor:
    return torch.sin(0.7 * torch.arange(math.prod(shape), dtype=torch.float64) + shift).view(shape)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(D, K), nn.Linear(K, D)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.down(torch.tanh(self.up(x)))


class Tower(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([Block(), Block()])
        for i, parameter in enumerate(self.parameters()):
            parameter.data = 0.3 * waves(i, *parameter.shape)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


def weights(settings: dict) -> dict[str, torch.Tensor]:
    """The file's tensors under the names that they had."""
    n, r = settings["num_experts"], settings["r"]
    m = r if settings["share_A"] else r // n
    tensors = {}
    for i, (layer, (name, d, k)) in enumerate((a, b) for a in (0, 1) for b in (("up", D, K), ("down", K, D))):
        stem = f"base_model.model.layers.{layer}.{name}.talklora_"
        tensors[f"{stem}A.weight"] = 0.5 * waves(10 + i, r, d)
        if settings["transform"]:
            tensors[f"{stem}E.weight"] = waves(20 + i, n, m, m)
        if settings["talk"] != "off":
            tensors[f"{stem}C.weight"] = waves(30 + i, n, n)
        if settings["router_input"] != "none":
            width = d if settings["router_input"] == "input" else r
            tensors[f"{stem}router.weight"] = 2 * waves(40 + i, n, width)
        if settings["share_B"]:
            tensors[f"base_model.talklora_B_layers_{name}_{d}x{k}.weight"] = waves(50 + i % 2, k, n * m)
        else:
            tensors[f"{stem}B.weight"] = waves(60 + i, k, n * m)
    return tensors


def save(folder: Path, **settings) -> None:
    settings = {**DEFAULTS, **settings}
    (folder / "adapter_config.json").write_text(json.dumps(settings), encoding="utf-8")
    save_file(weights(settings), folder / "adapter_model.safetensors", metadata={"format": "pt"})


def outputs(model: nn.Module) -> list[float]:
    y = model(waves(3, 2, 5, D))
    return [y[0, 0, 0].item(), y[0, 4, 7].item(), y[1, 2, 3].item(), y[1, 4, 11].item()]


@pytest.mark.parametrize("case", CASES)
def test_it_answers_as_it_did(case, tmp_path):
    settings, expected = CASES[case]
    save(tmp_path, **settings)
    model = PeftModel.from_pretrained(Tower(), tmp_path).eval()
    assert not model.load_adapter(tmp_path, "default").unexpected_keys
    assert outputs(model) == pytest.approx(expected, rel=1e-12)
    with torch.no_grad():
        assert outputs(model) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_it_folds_to_the_same_function(case, tmp_path):
    save(tmp_path, **CASES[case][0])
    config, state_dict = read_adapter(tmp_path)
    folded = fold_adapter(config, state_dict, any_gates=True)
    model = PeftModel.from_pretrained(Tower(), tmp_path).eval()
    for path, layer in layers(model.base_model.model).items():
        A, B, scale = folded[path]
        x, q = waves(4, 3, layer.in_features), config.up_rank
        z = x @ A.T
        gate = inference_gates(config, z[:, q:], state_dict.get(f"base_model.model.{path}.talklora_C.weight"))
        y = scale * (gate.repeat_interleave(config.expert_rank, -1) * z[:, :q]) @ B[:, :q].T
        torch.testing.assert_close(y, layer.delta(x, "default"), rtol=1e-12, atol=1e-12)


# Of adapters/demo-loop: first and last output of each layer for one input, and their norm.
DEMO = {
    "model.layers.0.self_attn.q_proj": [0.04426248632160673, -0.013832102309040287, 1.0448392059581044],
    "model.layers.0.self_attn.k_proj": [0.007908453160986918, -0.022587969949026246, 0.4446680441514038],
    "model.layers.0.self_attn.v_proj": [0.018176391193761025, -0.013642883752546953, 0.6930871517840309],
    "model.layers.0.mlp.up_proj": [-0.05652255791945654, 0.07923918453426546, 2.8648182453113997],
    "model.layers.0.mlp.down_proj": [0.051337231075207226, 0.020218624873762265, 1.8408708150749962],
    "model.layers.1.self_attn.q_proj": [-0.023778585267318627, 0.03738033120614607, 1.0403987188205028],
    "model.layers.1.self_attn.k_proj": [0.03929715046830605, 0.011971721116097593, 0.7257261481033435],
    "model.layers.1.self_attn.v_proj": [-0.023514048545050983, 0.01524924323251947, 0.3975459541750459],
    "model.layers.1.mlp.up_proj": [-0.07612016120411504, 0.04419650855887587, 3.069413430590849],
    "model.layers.1.mlp.down_proj": [0.10863637840769866, -0.015314675335150824, 3.3972488751337027],
}


def test_the_adapter_of_the_loop_answers_as_it_did():
    folder = Path(__file__).parents[2] / "adapters" / "demo-loop"
    model = PeftModel.from_pretrained(LlamaForCausalLM(smollm2_shape(2, 64)), folder).double().eval()
    for path, layer in layers(model.base_model.model).items():
        y = layer.delta(waves(2, 3, layer.in_features), "default")
        assert [y[0, 0].item(), y[2, -1].item(), y.norm().item()] == pytest.approx(DEMO[path], rel=1e-9)
