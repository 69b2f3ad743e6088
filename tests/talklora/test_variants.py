"""The switches: configuration errors, top-k, the spectral bound, dropouts, scale."""

from __future__ import annotations

import pytest
import torch
from helpers import models
from peft import get_peft_model

from llmkit.talklora import TalkLoraConfig, TalkLoraLayer
from llmkit.talklora.functions import latent_router
from llmkit.talklora.spectral import bounded


def layer(**settings) -> TalkLoraLayer:
    torch.manual_seed(2)
    config = TalkLoraConfig(**{"r": 8, "num_experts": 4, "init_weights": False, "target_modules": ["lin0"], **settings})
    return get_peft_model(models.mlp(), config).base_model.model.lin0


def gates(module: TalkLoraLayer, x: torch.Tensor) -> torch.Tensor:
    seen = []
    module.observer = lambda _, gate: seen.append(gate)
    module.delta(x, "default")
    return seen[0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"r": 10}, "r=10 is not divisible by num_experts=4: choose r from 8, 12 or num_experts from 1, 2, 5, 10"),
        ({"r": 0}, "`r` should be a positive integer value but the value passed is 0"),
        ({"r": 8.0}, "`r` should be a positive integer"),
        ({"num_experts": 4.0}, "`num_experts` should be a positive integer value but the value passed is 4.0"),
        ({"num_experts": 0}, "`num_experts` should be a positive integer"),
        ({"num_experts": True}, "`num_experts` should be a positive integer"),
        ({"dropout": 1.5}, "dropout=1.5 must be at least 0 and less than 1"),
        ({"gate_dropout": -0.1}, "gate_dropout=-0.1 must be"),
        ({"output_dropout": float("nan")}, "output_dropout=nan must be"),
        ({"alpha": -16}, "alpha=-16 must be positive, or None"),
        ({"alpha": 0}, "alpha=0 must be positive"),
        ({"alpha": "16"}, "alpha=16 must be positive"),
        ({"balance_coef": -1.0}, "balance_coef=-1.0 must not be negative"),
        ({"talk": "loudly"}, "talk='loudly': choose one of on, off, frozen, after-softmax"),
        ({"router_input": "input"}, "needs router_input='latent'"),
        ({"router_input": "none", "talk": "off", "top_k": 2}, "constant gates"),
        ({"top_k": 5}, "between 1 and num_experts=4"),
        ({"spectral_bound": 0.0}, "must be positive"),
        (
            {"layers_pattern": "layers"},
            "`layers_to_transform` must also be specified.",
        ),
        (
            {"target_modules": ".*q", "layers_to_transform": 1},
            "`layers_to_transform` cannot be used when",
        ),
        (
            {"target_modules": ".*q", "layers_pattern": "h"},
            "`layers_pattern` cannot be used when",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        TalkLoraConfig(**settings)


def test_an_unknown_preset_names_the_known_ones():
    with pytest.raises(ValueError, match="talklora, talklora-released, moelora, hydralora"):
        TalkLoraConfig.preset("moe")


def test_scales():
    assert TalkLoraConfig(r=64).scale == TalkLoraConfig(r=8).scale == 1
    assert TalkLoraConfig(r=16, alpha=32).scale == 2
    assert TalkLoraConfig(r=16, alpha=32, use_rslora=True).scale == 8
    assert TalkLoraConfig.preset("talklora-released", r=16).scale == 1


def test_top_k_keeps_the_largest_gates_and_their_ratio():
    x = torch.randn(6, 12)
    dense, sparse = gates(layer(), x), gates(layer(top_k=2), x)
    assert ((sparse > 0).sum(-1) == 2).all()
    torch.testing.assert_close(sparse.sum(-1), torch.ones(6))
    expected = torch.where(sparse > 0, dense, 0)
    torch.testing.assert_close(sparse, expected / expected.sum(-1, keepdim=True))


def test_talking_after_the_softmax_keeps_a_distribution_near_the_router():
    x = torch.randn(6, 12)
    module = layer(talk="after-softmax")
    gate = gates(module, x)
    torch.testing.assert_close(gate.sum(-1), torch.ones(6))
    C = module.talklora_C["default"].weight
    torch.testing.assert_close(torch.softmax(C, 0).diagonal(), torch.full((4,), 0.948), rtol=0, atol=1e-3)


def test_t15_the_spectral_bound_holds_after_every_step():
    module = layer(spectral_bound=1.0).train()
    optimizer = torch.optim.SGD(module.parameters(), lr=5.0)
    x = torch.randn(32, 12)
    config, A = module.settings["default"], module.talklora_A["default"]
    norms = []
    for _ in range(10):
        optimizer.zero_grad()
        router = latent_router(config, module.talklora_router["default"].weight, module.talklora_C["default"].weight)
        torch.softmax(A(x) @ router.T, dim=-1)[:, 0].mean().backward()
        optimizer.step()
        C = module.talklora_C["default"].weight
        norms.append(torch.linalg.matrix_norm(C, 2).item())
        effective = bounded(C, 1.0)
        assert torch.linalg.matrix_norm(effective, 2) <= 1 + 1e-5
    assert max(norms) > 1  # the bound was needed


def test_released_dropouts_work_in_training_only():
    module, x = layer(dropout=0.5, gate_dropout=0.5, output_dropout=0.5), torch.randn(64, 12)
    calm = module.eval().delta(x, "default")
    assert torch.equal(calm, module.delta(x, "default"))
    torch.manual_seed(0)
    noisy = module.train().delta(x, "default")
    assert (noisy == 0).float().mean() > 0.4
    assert not torch.equal(noisy, calm)


@pytest.mark.parametrize("settings", [{}, {"talk": "after-softmax"}, {"talk": "off", "router_input": "input"}], ids=str)
def test_one_expert_has_nothing_that_cannot_learn(settings):
    module = layer(num_experts=1, **settings).train()
    module(torch.randn(6, 12)).square().sum().backward()
    assert all(p.grad.any() for p in module.parameters() if p.requires_grad)
    assert not module.talklora_router
    assert not module.talklora_C


def test_alpha_none_is_the_default_and_a_stated_alpha_stays(tmp_path):
    assert TalkLoraConfig().alpha is None
    TalkLoraConfig(r=8, alpha=4).save_pretrained(tmp_path)
    assert TalkLoraConfig.from_pretrained(tmp_path).scale == 0.5


def test_folds_are_kept_unless_switched_off():
    x = torch.randn(6, 12)
    kept, free = (layer(keep_folds=keep).eval() for keep in (True, False))
    with torch.no_grad():
        torch.testing.assert_close(kept(x), free(x))
    assert kept.kept_folds
    assert not free.kept_folds
    adapter = sum(p.numel() for name, p in kept.named_parameters() if "talklora_" in name)
    assert kept.kept_folds["default"].rows.numel() < adapter
