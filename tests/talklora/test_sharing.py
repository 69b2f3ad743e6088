"""B, one for all layers of a projection type: on disk, in memory, in gradients, for every adapter."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
from helpers import models
from helpers.adapters import LLAMA, adapted, config, inputs, layers, output, shared, trainable
from hypothesis import given
from hypothesis import strategies as st
from peft import PeftModel, get_peft_model
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import T5Config, T5ForConditionalGeneration

from llmkit.talklora import TalkLoraLayer
from llmkit.talklora.sharing import share_group


def assert_each_layer_holds_the_models_own_b(model: PeftModel, adapter: str = "default") -> None:
    """Module by module: a copy with equal values would train apart."""
    for projection in LLAMA:
        held = {id(layer.up(adapter)) for path, layer in layers(model).items() if path.endswith(projection)}
        assert held == {
            id(module) for group, module in model.base_model.talklora_B[adapter].items() if f"-{projection}_" in group
        }
        assert len(held) == 1


def stored(folder) -> list[str]:
    with safe_open(folder / "adapter_model.safetensors", "pt") as file:
        return [key for key in file.keys() if "talklora_B" in key]  # noqa: SIM118


def test_t12_a_cast_keeps_the_very_same_modules():
    model, x = adapted(), inputs("llama")
    model.to(torch.bfloat16)
    assert_each_layer_holds_the_models_own_b(model)
    assert {layer.up("default").weight.dtype for layer in layers(model).values()} == {torch.bfloat16}
    assert output(model, x).isfinite().all()


def test_t12_loading_keeps_the_very_same_modules(tmp_path):
    model, x = adapted(), inputs("llama")
    model.save_pretrained(tmp_path)
    for low in (False, True):
        loaded = PeftModel.from_pretrained(models.llama(), tmp_path, low_cpu_mem_usage=low)
        assert_each_layer_holds_the_models_own_b(loaded)
        loaded.load_adapter(tmp_path, "again", low_cpu_mem_usage=low)
        assert_each_layer_holds_the_models_own_b(loaded, "again")
        loaded.set_adapter("again")
        assert torch.equal(output(loaded, x), output(model, x))


def test_t12_a_second_adapter_has_one_b_of_its_own(tmp_path):
    model = adapted()
    model.add_adapter("second", config())
    for name in ("default", "second"):
        assert_each_layer_holds_the_models_own_b(model, name)
    pointers = [{w.data_ptr() for w in shared(model, name).values()} for name in ("default", "second")]
    assert not pointers[0] & pointers[1]
    model.save_pretrained(tmp_path)
    assert sorted(stored(tmp_path)) == sorted(stored(tmp_path / "second"))
    assert len(stored(tmp_path / "second")) == len(LLAMA)


def test_encoder_decoder_and_cross_attention_share_among_themselves_only(tmp_path):
    torch.manual_seed(0)
    sizes = T5Config(d_model=16, d_kv=8, d_ff=24, num_layers=2, num_heads=2, vocab_size=60, decoder_start_token_id=0)
    base = T5ForConditionalGeneration(sizes).eval()
    model = get_peft_model(copy.deepcopy(base), config(target_modules=["q", "v"])).eval()
    users: dict[int, list[str]] = {}
    for path, layer in layers(model).items():
        users.setdefault(id(layer.up("default")), []).append(path)
    kinds = sorted({(p.split(".")[2], *p.split(".")[-2:]) for p in paths} for paths in users.values())
    assert all(len(kind) == 1 for kind in kinds)  # no group mixes stacks, or self with cross attention
    assert sorted(len(paths) for paths in users.values()) == [2] * 6  # (encoder, decoder, cross) x (q, v), two layers
    ids = torch.arange(1, 9).view(2, 4)
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(base, tmp_path)
    expected = model(input_ids=ids, decoder_input_ids=ids).logits
    assert torch.equal(loaded(input_ids=ids, decoder_input_ids=ids).logits, expected)


def test_requires_grad_of_shared_b_follows_every_switch(tmp_path):
    model = adapted()
    flags = lambda: {weight.requires_grad for weight in shared(model).values()}  # noqa: E731
    assert flags() == {True}
    model.set_requires_grad("default", False)
    assert flags() == {False}
    model.set_requires_grad("default", True)
    assert flags() == {True}
    model.base_model.disable_adapter_layers()
    assert flags() == {False}
    model.base_model.enable_adapter_layers()
    assert flags() == {True}
    model.set_adapter("default", inference_mode=True)
    assert flags() == {False}
    model.save_pretrained(tmp_path)
    again = PeftModel.from_pretrained(models.llama(), tmp_path, is_trainable=True)
    assert trainable(again) == trainable(adapted())


def test_b_is_stored_once_on_disk_and_in_memory(tmp_path):
    model = adapted()
    assert len(shared(model)) == len(LLAMA)
    assert_each_layer_holds_the_models_own_b(model)
    model.save_pretrained(tmp_path)
    keys = stored(tmp_path)
    first = "base_model.model.model.layers.0."
    assert sorted(keys) == sorted(
        f"{first}{'mlp' if name in ('up_proj', 'down_proj') else 'self_attn'}.{name}.talklora_B.weight"
        for name in LLAMA
    )


def test_gradients_of_all_layers_meet_in_b():
    model, x = adapted(), inputs("llama")
    output(model, x).square().mean().backward()
    whole = {name: weight.grad.clone() for name, weight in shared(model).items()}
    alone = dict.fromkeys(whole, 0)
    for index in range(2):
        model.zero_grad()
        hooks = []
        for layer in model.base_model.model.model.layers[1 - index].modules():
            if isinstance(layer, TalkLoraLayer):  # B as a constant in the other layer
                up = layer.up("default")
                constant = nn.Linear(up.in_features, up.out_features, bias=False).requires_grad_(False)
                constant.weight.data = up.weight.data
                hooks.append((layer, layer.shared_B["default"]))
                layer.shared_B["default"] = constant
        output(model, x).square().mean().backward()
        alone = {name: alone[name] + weight.grad for name, weight in shared(model).items()}
        for layer, original in hooks:
            layer.shared_B["default"] = original
    for name, gradient in whole.items():
        torch.testing.assert_close(alone[name], gradient)


def test_a_deep_copy_is_independent_and_still_shares():
    model, x = adapted(), inputs("llama")
    twin = copy.deepcopy(model)
    before = output(model, x)
    for weight in shared(twin).values():
        weight.data.zero_()
    assert torch.equal(output(model, x), before)
    assert torch.equal(output(twin, x), output(models.llama(), x))


def test_moving_and_casting_keep_b_shared():
    model, x = adapted(), inputs("llama")
    before = output(model, x)
    model.to(torch.float64).to(torch.float32)
    assert torch.equal(output(model, x), before)
    for layer in model.modules():
        if isinstance(layer, TalkLoraLayer):
            assert any(layer.up("default").weight is weight for weight in shared(model).values())


class Wrapped(nn.Module):
    """A model one level down, as transformers moved the language models of its multimodal ones."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, *args, **kwargs):
        return self.inner(*args, **kwargs)


def rename(folder, *, old_keys: bool) -> None:
    """Writes the shared B of a saved adapter under the names that they had before they were a layer's."""
    tensors = load_file(folder / "adapter_model.safetensors")
    renamed = {}
    for key, tensor in tensors.items():
        path = key.removeprefix("base_model.model.").removesuffix(".talklora_B.weight")
        if old_keys and key.endswith(".talklora_B.weight"):
            d = tensors[f"base_model.model.{path}.talklora_A.weight"].shape[1]
            words = "_".join(word for word in path.split(".") if not word.isdigit())
            key = f"base_model.talklora_B_{words}_{d}x{tensor.shape[0]}.weight"
        renamed[key] = tensor
    save_file(renamed, folder / "adapter_model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize("old_keys", [False, True])
def test_a_key_mapping_renames_b_with_its_layers(old_keys, tmp_path):
    model, x = adapted(), inputs("llama")
    model.save_pretrained(tmp_path)
    rename(tmp_path, old_keys=old_keys)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = PeftModel.from_pretrained(Wrapped(models.llama()), tmp_path, key_mapping={"^model": "inner.model"})
    assert torch.equal(output(loaded, x), output(model, x))


@pytest.mark.parametrize("old_keys", [False, True])
def test_an_encoder_and_a_decoder_keep_their_own_b_through_a_key_mapping(old_keys, tmp_path):
    torch.manual_seed(5)
    base = T5ForConditionalGeneration(
        T5Config(d_model=16, d_kv=8, d_ff=24, num_layers=2, num_heads=2, vocab_size=30, decoder_start_token_id=0)
    ).eval()
    state, ids = {name: weight.clone() for name, weight in base.state_dict().items()}, torch.arange(1, 9).view(2, 4)
    model = get_peft_model(base, config(target_modules=["q", "v", "wi"])).eval()
    expected = model(input_ids=ids, decoder_input_ids=ids).logits
    model.save_pretrained(tmp_path)
    assert len(stored(tmp_path)) == 8  # q and v of encoder, decoder and cross-attention, and both wi
    rename(tmp_path, old_keys=old_keys)
    again = T5ForConditionalGeneration(base.config).eval()
    again.load_state_dict(state)
    loaded = PeftModel.from_pretrained(Wrapped(again), tmp_path, key_mapping={"^": "inner."})
    torch.testing.assert_close(loaded(input_ids=ids, decoder_input_ids=ids).logits, expected)


def test_an_old_file_that_does_not_say_whose_b_is_whose_is_refused(tmp_path):
    def base(*names: str) -> nn.Module:
        return nn.ModuleDict({name: nn.ModuleDict({"lin": nn.Linear(4, 4)}) for name in names})

    model = get_peft_model(base("one", "two"), config(target_modules=["lin"]))
    model.save_pretrained(tmp_path)
    rename(tmp_path, old_keys=True)
    with pytest.raises(ValueError, match=r"does not say which B belongs to \w+\.lin"):
        PeftModel.from_pretrained(base("uno", "due"), tmp_path, key_mapping={"^one": "uno", "^two": "due"})


def test_only_layers_share():
    class Expert(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up = nn.Linear(6, 6)

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.experts = nn.ModuleList([Expert(), Expert()])
            self.mlp = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6))

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList([Layer(), Layer()])
            self.a_b = nn.ModuleDict({"c": nn.Linear(6, 6)})
            self.a = nn.ModuleDict({"b_c": nn.Linear(6, 6), "b-c": nn.Linear(6, 6)})
            self.layers_of_another = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6))

    model = get_peft_model(Net(), config(target_modules="all-linear"))
    owners: dict[int, list[str]] = {}
    for path, layer in layers(model.base_model.model).items():
        owners.setdefault(id(layer.up("default")), []).append(path)
    assert sorted(owners.values()) == [
        ["a.b-c"],
        ["a.b_c"],
        ["a_b.c"],
        ["layers.0.experts.0.up", "layers.1.experts.0.up"],
        ["layers.0.experts.1.up", "layers.1.experts.1.up"],
        ["layers.0.mlp.0", "layers.1.mlp.0"],
        ["layers.0.mlp.2", "layers.1.mlp.2"],
        ["layers_of_another.0"],
        ["layers_of_another.1"],
    ]


@given(st.lists(st.lists(st.text("ab_-~", min_size=1, max_size=3), min_size=1, max_size=3), min_size=2, max_size=2))
def test_no_two_types_have_one_name(paths):
    one, other = (".".join(words) for words in paths)
    assert (share_group(one, 2, 3) == share_group(other, 2, 3)) == (one == other)
