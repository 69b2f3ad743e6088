"""Without gradients a layer acts as one folded matrix and B: the same function, and never one of old weights."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import nn

from llmkit.talklora import TalkLoraConfig, TalkLoraLayer
from llmkit.talklora.balancing import ForwardPass
from llmkit.talklora.layer import Linear

D, K = 10, 7
VARIANTS = {
    "talklora": {},
    "bounded": {"spectral_bound": 0.5},
    "without talking": {"talk": "off", "transform": False},
    "after the softmax": {"talk": "after-softmax"},
    "top 2": {"top_k": 2},
    "no router": {"router_input": "none", "talk": "off"},
    "moelora": {"router_input": "input", "talk": "off", "transform": False},
    "hydralora": {"router_input": "input", "talk": "off", "transform": False, "share_A": True},
}


def make_layer(**settings) -> TalkLoraLayer:
    torch.manual_seed(2)
    layer = Linear(nn.Linear(D, K).double(), ForwardPass())
    layer.update_layer("default", TalkLoraConfig(r=12, num_experts=4, share_B=False, alpha=18.0, **settings), None)
    layer.set_adapter("default")
    layer.double()
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    return layer.eval()


def same_with_and_without_gradients(layer: TalkLoraLayer) -> bool:
    x = torch.randn(3, 5, D, dtype=torch.float64)
    with torch.no_grad():
        folded = layer(x)
    return torch.allclose(folded, layer(x), rtol=0, atol=1e-11)


@pytest.mark.parametrize("settings", VARIANTS.values(), ids=VARIANTS)
def test_the_folded_layer_is_the_same_function(settings):
    layer = make_layer(**settings)
    assert same_with_and_without_gradients(layer)
    assert "default" in layer.kept_folds


def test_it_is_folded_once_while_nothing_changes():
    layer = make_layer()
    assert layer.folded_rows("default") is layer.folded_rows("default")


def in_place(layer: TalkLoraLayer) -> None:
    with torch.no_grad():
        layer.talklora_C["default"].weight.mul_(3)


def new_storage(layer: TalkLoraLayer) -> None:
    layer.talklora_router["default"].weight.data = torch.randn(4, 12, dtype=torch.float64)


def new_parameter(layer: TalkLoraLayer) -> None:
    layer.talklora_E["default"].weight = nn.Parameter(torch.randn(4, 3, 3, dtype=torch.float64))


def loaded(layer: TalkLoraLayer) -> None:
    layer.load_state_dict({key: torch.randn_like(value) for key, value in layer.state_dict().items()})


def trained(layer: TalkLoraLayer) -> None:
    layer.train()
    optimizer = torch.optim.AdamW([p for p in layer.parameters() if p.requires_grad], lr=0.1)
    layer(torch.randn(4, D, dtype=torch.float64)).square().sum().backward()
    optimizer.step()
    layer.eval()


def written_through_data_while_training(layer: TalkLoraLayer) -> None:
    layer.train()
    layer.talklora_A["default"].weight.data.mul_(2)
    layer.eval()


def added_again(layer: TalkLoraLayer) -> None:
    layer.update_layer("default", TalkLoraConfig(r=8, num_experts=2, share_B=False, init_weights=False), None)
    layer.double()


CHANGES = [in_place, new_storage, new_parameter, loaded, trained, written_through_data_while_training, added_again]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_changed_weight_is_folded_anew(change):
    layer = make_layer()
    old = layer.folded_rows("default")
    change(layer)
    new = layer.folded_rows("default")
    assert new.shape != old.shape or not torch.equal(new, old)
    assert same_with_and_without_gradients(layer)


def test_a_copy_follows_its_own_weights():
    layer = make_layer()
    layer.folded_rows("default")
    copy = deepcopy(layer)
    in_place(copy)
    assert same_with_and_without_gradients(copy)
    assert same_with_and_without_gradients(layer)
    assert not torch.equal(copy.folded_rows("default"), layer.folded_rows("default"))


def test_half_precision_and_autocast_keep_their_gates_in_float32():
    layer = make_layer().bfloat16()
    with torch.no_grad():
        layer(torch.randn(2, D, dtype=torch.bfloat16))
    assert not layer.kept_folds
    layer = make_layer().float()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        layer(torch.randn(2, D))
    assert not layer.kept_folds
