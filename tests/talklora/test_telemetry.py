"""Routing numbers, against their definitions and by hand."""

from __future__ import annotations

import json
import math

import pytest
import torch
from helpers import models
from helpers.adapters import adapted, inputs, layers
from peft import get_peft_model
from torch import nn

from llmkit.talklora import TalkLoraConfig
from llmkit.talklora.telemetry import Telemetry

IDS = torch.arange(1, 15).view(2, 7)


def test_telemetry_counts_real_tokens_only():
    model = adapted()
    ids = torch.cat([torch.zeros(2, 3, dtype=torch.long), IDS], dim=1)
    mask = torch.cat([torch.zeros(2, 3, dtype=torch.long), torch.ones(2, 7, dtype=torch.long)], dim=1)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    with Telemetry(model) as telemetry:
        model(IDS)
    alone = telemetry.report()
    telemetry.reset()
    with telemetry:
        model(ids, attention_mask=mask, position_ids=positions)
    padded = telemetry.report()
    for path, row in alone.items():
        for key, value in row.items():
            assert padded[path][key] == pytest.approx(value, rel=1e-4, abs=1e-6), (path, key)
    with Telemetry(model) as telemetry:
        model(ids)  # the padding as if it were text
    assert telemetry.report()["model"]["entropy"] != pytest.approx(alone["model"]["entropy"], rel=1e-4)


def test_routing_numbers_are_those_of_their_definitions():
    model = adapted()
    seen = {}
    with Telemetry(model) as telemetry:
        layers = telemetry._layers
        observe = telemetry._observe
        for layer in layers.values():
            layer.observer = lambda l, g: (seen.__setitem__(l, g.detach()), observe(l, g))
        model(IDS)
    path, layer = next(iter(layers.items()))
    gate, row = seen[layer].double(), telemetry.report()[path]
    load = gate.mean((0, 1))
    entropy = -(gate * gate.log()).sum(-1).mean().item()
    spread = -(load * load.log()).sum().item()
    assert row["load"] == pytest.approx(load.tolist())
    assert row["entropy"] == pytest.approx(entropy / math.log(4))
    assert row["effective_experts"] == pytest.approx(math.exp(spread))
    assert row["information"] == pytest.approx(spread - entropy, abs=1e-6)
    assert row["kl"] == pytest.approx((load * (load * 4).log()).sum().item(), abs=1e-6)
    top = gate.argmax(-1)
    assert row["switch_rate"] == pytest.approx((top[:, 1:] != top[:, :-1]).double().mean().item())
    C = layer.talklora_C["default"].weight
    assert row["c_norm"] == pytest.approx(torch.linalg.svdvals(C)[0].item(), rel=1e-5)


def test_telemetry_is_written_as_numbers_and_as_a_picture(tmp_path):
    model = adapted()
    with Telemetry(model) as telemetry:
        model(IDS)
    telemetry.save(tmp_path, step=3)
    saved = json.loads((tmp_path / "routing.json").read_text())
    assert saved["step"] == 3
    assert len(saved["layers"]) == 11
    assert (tmp_path / "routing.png").read_bytes().startswith(b"\x89PNG")
    assert telemetry.scalars()["routing/max_load"] > 0.25
    assert all(layer.observer is None for layer in telemetry._layers.values())


def test_a_model_without_the_adapter_cannot_be_watched():
    with pytest.raises(ValueError, match="no TalkLoRA adapter"):
        Telemetry(models.llama())


def small(**weights: list) -> Telemetry:
    """Two experts of rank 1 on a layer from 2 to 3, with the weights given."""
    model = get_peft_model(
        nn.ModuleDict({"lin": nn.Linear(2, 3)}), TalkLoraConfig(r=2, num_experts=2, target_modules=["lin"])
    )
    for name, values in weights.items():
        model.get_submodule(f"base_model.model.lin.talklora_{name}.default").weight.data = torch.tensor(values)
    return Telemetry(model)


def test_routing_by_hand():
    telemetry = small()
    (layer,) = telemetry._layers.values()
    with telemetry:
        layer.observer(layer, torch.tensor([[0.9, 0.1]]))
        layer.observer(layer, torch.tensor([[0.7, 0.3]]))
    row = telemetry.report()["lin"]
    spread = -(0.8 * math.log(0.8) + 0.2 * math.log(0.2))
    assert row["load"] == pytest.approx([0.8, 0.2])
    assert row["max_load"] == pytest.approx(0.8)
    assert row["cv2"] == pytest.approx(0.36)  # deviations of 0.3 around a mean of 0.5
    assert row["load_entropy"] == pytest.approx(0.721928, rel=1e-5)  # bits, as log n = log 2
    assert row["effective_experts"] == pytest.approx(math.exp(spread))
    assert telemetry.report()["model"]["load_entropy"] == row["load_entropy"]


def test_norms_by_hand():
    telemetry = small(A=[[1.0, 0.0], [0.6, 0.8]], C=[[1.0, 0.5], [0.0, 2.0]], router=[[2.0, 0.0], [0.0, 1.0]])
    row = telemetry.report()["lin"]
    # W C A = [[2.6, 0.8], [1.2, 1.6]]: the largest eigenvalue of its square is (11.4 + sqrt 89) / 2.
    assert row["sensitivity"] == pytest.approx(math.sqrt((11.4 + math.sqrt(89)) / 2), rel=1e-5)
    assert row["c_norm"] == pytest.approx(math.sqrt((5.25 + math.sqrt(3.25**2 + 1)) / 2), rel=1e-5)
    assert row["c_offdiagonal"] == pytest.approx(0.25 / 5.25, rel=1e-5)
    assert row["overlap"] == pytest.approx(0.36, rel=1e-5)  # the rows of A at a cosine of 0.6


def test_overlap_is_1_for_the_same_subspace_and_0_for_orthogonal_ones():
    assert small(A=[[1.0, 2.0], [-2.0, -4.0]]).report()["lin"]["overlap"] == pytest.approx(1, rel=1e-5)
    assert small(A=[[1.0, 2.0], [-2.0, 1.0]]).report()["lin"]["overlap"] == pytest.approx(0, abs=1e-6)


def test_a_watched_step_gives_the_same_gradients():
    model, x, gradients = adapted().train(), inputs("llama"), []
    for watched in (False, True):
        model.zero_grad()
        if watched:
            with Telemetry(model) as telemetry:
                model(x, labels=x).loss.backward()
            assert len(telemetry.report()["model"]) > 8
        else:
            model(x, labels=x).loss.backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.requires_grad})
    assert all(torch.equal(gradients[1][name], gradient) for name, gradient in gradients[0].items())


@pytest.mark.parametrize("settings", [{}, {"top_k": 2}, {"gate_dropout": 0.1}], ids=str)
def test_training_and_evaluation_are_seen_alike(settings):
    model, loads = adapted(**settings), []
    for training in (True, False):
        layer = next(iter(layers(model).values())).train(training)
        h = torch.randn(2, 5, 32, generator=torch.Generator().manual_seed(1))
        with Telemetry(model) as telemetry, torch.set_grad_enabled(training):
            layer.delta(h, "default")
        loads.append(next(row for row in telemetry.report().values() if "load" in row)["load"])
    assert loads[0] == pytest.approx(loads[1], rel=1e-5)
    assert max(loads[0]) > 0.25
