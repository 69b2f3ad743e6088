"""Several adapters on one model: names, deleting, selecting, different targets, and what PEFT says of them."""

from __future__ import annotations

import warnings

import pytest
import torch
from helpers import models
from helpers.adapters import adapted, config, inputs, layers, output, shared, trainable
from peft import PeftModel, get_peft_model
from safetensors import safe_open

matrix = pytest.mark.parametrize("kind", ["llama", "gpt2", "mlp"])


def two(names: tuple[str, str] = ("default", "second"), **second) -> PeftModel:
    torch.manual_seed(5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT advises against names that are part of "talklora_"
        model = get_peft_model(models.llama(), config(), adapter_name=names[0]).eval()
        model.add_adapter(names[1], config(**{"r": 4, "num_experts": 2, **second}))
    return model


@matrix
def test_deleting_an_inactive_adapter_leaves_the_active_one(kind):
    model, x = adapted(kind), inputs(kind)
    before, flags = output(model, x), trainable(model)
    model.add_adapter("second", config(kind))
    model.delete_adapter("second")
    assert model.active_adapters == ["default"]
    assert list(model.peft_config) == ["default"]
    assert not [name for name in model.state_dict() if "second" in name]
    assert not any("second" in layer.settings or "second" in layer.shared_B for layer in layers(model).values())
    assert trainable(model) == flags
    assert torch.equal(output(model, x), before)


def test_deleting_the_active_adapter_makes_the_other_one_active():
    model, x = two(), inputs("llama")
    model.set_adapter("second")
    second = output(model, x)
    model.set_adapter("default")
    with pytest.warns(UserWarning, match="Setting active adapter to second"):
        model.delete_adapter("default")
    assert torch.equal(output(model, x), second)
    assert not shared(model)


def test_an_unknown_adapter_cannot_be_deleted():
    with pytest.raises(ValueError, match="nobody does not exist"):
        adapted().delete_adapter("nobody")


def test_only_the_selected_adapters_are_saved(tmp_path):
    model, x = two(), inputs("llama")
    model.save_pretrained(tmp_path, selected_adapters=["second"])
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.safetensors")] == [
        "second/adapter_model.safetensors"
    ]
    with safe_open(tmp_path / "second" / "adapter_model.safetensors", "pt") as file:
        up = [key for key in file.keys() if "talklora_B" in key]  # noqa: SIM118
    assert len(up) == len(shared(model, "second")) == 5  # once for each projection type here too
    model.set_adapter("second")
    loaded = PeftModel.from_pretrained(models.llama(), tmp_path / "second")
    assert torch.equal(output(loaded, x), output(model, x))


@pytest.mark.parametrize(
    "names",
    [
        ("one", "one_more"),
        ("more", "one_more"),
        ("lora", "talk"),
        ("talklora_", "talklora"),
        ("talklora_Q", "talklora_B_"),
    ],
    ids="-".join,
)
def test_names_that_are_parts_of_others_or_of_keys_stay_apart(names, tmp_path):
    model, x = two(names), inputs("llama")
    model.save_pretrained(tmp_path)
    for name in names:
        model.set_adapter(name)
        loaded = PeftModel.from_pretrained(models.llama(), tmp_path / name)
        assert torch.equal(output(loaded, x), output(model, x))
    model.delete_adapter(names[1])
    loaded = PeftModel.from_pretrained(models.llama(), tmp_path / names[0])
    assert torch.equal(output(model, x), output(loaded, x))


names_of_modules = pytest.mark.parametrize("name", ["q_proj", "model", "0", "layers", "norm", "talklora_A"])


@names_of_modules
def test_a_name_of_a_module_is_fine_alone_and_as_the_one_that_is_saved(name, tmp_path):
    x = inputs("llama")
    alone = get_peft_model(models.llama(), config(), adapter_name=name).eval()
    alone.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(models.llama(), tmp_path / name)
    assert torch.equal(output(loaded, x), output(alone, x))
    alone.add_adapter("second", config())
    alone.save_pretrained(tmp_path, selected_adapters=[name])
    loaded = PeftModel.from_pretrained(models.llama(), tmp_path / name, adapter_name="other")
    assert torch.equal(output(loaded, x), output(alone, x))


@pytest.mark.parametrize("name", ["q_proj", "model", "0", "layers", "talklora_A"])
def test_a_name_of_a_module_is_warned_of_and_stops_the_others_from_being_saved(name, tmp_path):
    """PEFT would save the others without what is in that module, and say nothing."""
    model, x = adapted(), inputs("llama")
    model.save_pretrained(tmp_path)
    with pytest.warns(UserWarning, match=f"an adapter is called {name}, as a module"):
        model.load_adapter(tmp_path, name)
    expected = output(model, x)
    model.set_adapter(name)
    assert torch.equal(output(model, x), expected)
    with pytest.raises(ValueError, match=f"adapter 'default' cannot be saved beside one called {name}"):
        model.save_pretrained(tmp_path / "again")
    model.delete_adapter(name)
    model.save_pretrained(tmp_path / "again")
    loaded = PeftModel.from_pretrained(models.llama(), tmp_path / "again")
    assert torch.equal(output(loaded, x), expected)


def test_a_name_of_a_module_that_no_adapter_is_in_stops_nobody(tmp_path):
    model, x = adapted(), inputs("llama")
    with pytest.warns(UserWarning, match="an adapter is called norm"):
        model.add_adapter("norm", config())
    model.save_pretrained(tmp_path)
    for name, folder in (("default", tmp_path), ("norm", tmp_path / "norm")):
        model.set_adapter(name)
        loaded = PeftModel.from_pretrained(models.llama(), folder)
        assert torch.equal(output(loaded, x), output(model, x))


def test_peft_warns_of_a_name_within_the_prefix():
    with pytest.warns(UserWarning, match="should not be contained in the prefix 'talklora_'"):
        get_peft_model(models.mlp(), config("mlp"), adapter_name="lora")


def test_adapters_of_different_modules_take_turns():
    model, x = adapted(target_modules=["q_proj", "up_proj"]), inputs("llama")
    first = output(model, x)
    model.add_adapter("second", config(target_modules=["v_proj", "up_proj"]))
    assert torch.equal(output(model, x), first)
    model.set_adapter("second")
    assert {name.split(".")[-4] for name in trainable(model) if "talklora_A" in name} == {"v_proj", "up_proj"}
    alone = get_peft_model(models.llama(), config(target_modules=["v_proj", "up_proj"])).eval()
    alone.load_state_dict({k.replace(".second.", ".default."): v for k, v in model.state_dict().items()}, strict=False)
    torch.testing.assert_close(output(model, x), output(alone, x))
    model.set_adapter("default")
    assert torch.equal(output(model, x), first)


def test_adapters_of_modules_that_do_not_overlap_take_turns():
    model, x = adapted(target_modules=["q_proj"]), inputs("llama")
    first = output(model, x)
    model.add_adapter("second", config(target_modules=["v_proj"]))
    model.set_adapter("second")
    assert trainable(model)
    assert all(".second." in name for name in trainable(model))
    second = output(model, x)
    for path, layer in layers(model).items():
        if path.endswith("q_proj"):  # holds the inactive adapter only
            layer.talklora_A["default"].weight.data.zero_()
    assert torch.equal(output(model, x), second)
    assert not torch.equal(second, first)
    model.delete_adapter("second")
    assert torch.equal(output(model, x), output(models.llama(), x))


def test_layer_and_model_status_are_what_they_are():
    model = two()
    rows = model.get_layer_status()
    assert len(rows) == 10
    for row in rows:
        assert row.module_type == "talklora.Linear"
        assert row.enabled
        assert row.active_adapters == ["default"]
        assert row.merged_adapters == []
        assert row.requires_grad == {"default": True, "second": False}
        assert sorted(row.available_adapters) == ["default", "second"]
        assert row.devices == {"default": ["cpu"], "second": ["cpu"]}

    status = model.get_model_status()
    assert status.adapter_model_type == "TalkLoraModel"
    assert status.peft_types == {"default": "TALKLORA", "second": "TALKLORA"}
    assert status.num_adapter_layers == 10
    assert status.requires_grad == {"default": True, "second": False}
    assert status.trainable_params == sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert status.total_params == sum(p.numel() for p in model.parameters())
    with model.disable_adapter():
        assert model.get_model_status().enabled is False


@pytest.mark.parametrize("variant", ["talklora", "frozen", "no-router", "unshared"])
def test_the_status_counts_a_shared_b_and_no_frozen_c(variant):
    model = adapted(variant=variant)
    assert model.get_model_status().requires_grad == {"default": True}
    assert model.get_model_status().devices == {"default": ["cpu"]}
    if variant == "talklora":
        for weight in shared(model).values():
            weight.requires_grad_(False)
        assert model.get_model_status().requires_grad == {"default": "irregular"}
    model.set_requires_grad("default", False)
    assert model.get_model_status().requires_grad == {"default": False}


def test_the_status_names_a_merged_adapter():
    model = adapted(num_experts=1)
    model.merge_adapter()
    assert model.get_model_status().merged_adapters == ["default"]
    model.unmerge_adapter()
    assert model.get_model_status().merged_adapters == []
