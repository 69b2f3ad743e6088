import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from llmkit.errors import DataError
from llmkit.serving.adapter import AdapterWeights, fingerprint, linears


@pytest.fixture(scope="module")
def tiny_linears(tiny_llama):
    from transformers import AutoConfig

    return linears(AutoConfig.from_pretrained(tiny_llama))


def edit_config(folder, **changes):
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def edit_weights(folder, change):
    path = folder / "adapter_model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path)


@pytest.mark.parametrize(("name", "rank"), [("talk-a", 8 + 4), ("talk-b", 12 + 3), ("plain", 8)])
def test_an_adapter_fits_its_own_base(tiny_adapters, tiny_linears, name, rank):
    adapter = AdapterWeights.read(tiny_adapters[name])
    adapter.check(tiny_linears)
    assert adapter.rank == rank


def test_an_adapter_for_another_base_names_the_sizes(tiny_adapters, tiny_linears):
    other = {name: (2 * d, k) for name, (d, k) in tiny_linears.items()}
    with pytest.raises(DataError, match=r"has 256 inputs and 128 outputs in the adapter, 512 inputs and 128"):
        AdapterWeights.read(tiny_adapters["talk-a"]).check(other)


def test_an_adapter_for_a_deeper_base_names_what_this_one_lacks(tiny_adapters, tiny_linears):
    shallow = {name: size for name, size in tiny_linears.items() if ".1." not in name}
    with pytest.raises(DataError, match=r"made for another base .*this model has no model\.layers\.1\..*and 2 more"):
        AdapterWeights.read(tiny_adapters["plain"]).check(shallow)


@pytest.mark.parametrize("piece", ["talklora_E", "talklora_router", "talklora_C"])
def test_a_missing_piece_is_named(own_adapter, tiny_linears, piece):
    key = f"base_model.model.model.layers.1.mlp.up_proj.{piece}.weight"
    edit_weights(own_adapter, lambda weights: weights.pop(key))
    with pytest.raises(DataError, match=key.replace(".", r"\.")):
        AdapterWeights.read(own_adapter).check(tiny_linears)


def test_a_module_without_any_weights_is_named(own_adapter, tiny_linears):
    def drop(weights):
        for key in [key for key in weights if "layers.1.self_attn.v_proj" in key]:
            del weights[key]

    edit_weights(own_adapter, drop)
    with pytest.raises(DataError, match=r"lacks the weights for model\.layers\.1\.self_attn\.v_proj"):
        AdapterWeights.read(own_adapter).check(tiny_linears)


def test_weights_of_no_known_part_are_refused(own_adapter, tiny_linears):
    edit_weights(own_adapter, lambda weights: weights.update({"base_model.model.lm_head.weight": torch.zeros(2)}))
    with pytest.raises(DataError, match=r"not part of a TALKLORA adapter: base_model\.model\.lm_head\.weight"):
        AdapterWeights.read(own_adapter).check(tiny_linears)


def test_a_pickle_is_never_opened(own_adapter):
    (own_adapter / "adapter_model.safetensors").rename(own_adapter / "adapter_model.bin")
    with pytest.raises(DataError, match=r"adapter_model\.bin is a pickle, .*refused"):
        AdapterWeights.read(own_adapter)


@pytest.mark.parametrize(
    ("kind", "message"), [("VERA", "type VERA: vLLM serves LORA"), ("NONESUCH", "PEFT does not know: NONESUCH")]
)
def test_another_kind_of_adapter_is_named(own_adapter, kind, message):
    edit_config(own_adapter, peft_type=kind)
    with pytest.raises(DataError, match=message):
        AdapterWeights.read(own_adapter)


@pytest.mark.parametrize("text", ["not json", "[]", "{}"])
def test_a_configuration_that_is_none(own_adapter, text):
    (own_adapter / "adapter_config.json").write_text(text)
    with pytest.raises(DataError, match="is not a PEFT configuration"):
        AdapterWeights.read(own_adapter)


def test_a_folder_without_an_adapter(tmp_path):
    with pytest.raises(DataError, match=r"adapter_config\.json is missing"):
        AdapterWeights.read(tmp_path)


@pytest.mark.parametrize("kept", [-100, 100, 0])
def test_cut_off_weights(own_adapter, kept):
    weights = own_adapter / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:kept])
    with pytest.raises(DataError, match="cannot be read"):
        AdapterWeights.read(own_adapter)


@pytest.mark.parametrize("changes", [{"top_k": 2}, {"talk": "after-softmax"}])
def test_gates_that_are_not_one_softmax_do_not_fit_slots(own_adapter, tiny_linears, changes):
    assert AdapterWeights.read(own_adapter).fits_slots
    edit_config(own_adapter, **changes)
    adapter = AdapterWeights.read(own_adapter)
    adapter.check(tiny_linears)
    assert not adapter.fits_slots


def test_a_retrained_adapter_has_another_fingerprint(own_adapter, tmp_path):
    before = fingerprint(own_adapter)
    edit_weights(own_adapter, lambda weights: next(iter(weights.values())).add_(1e-3))
    assert len(before) == 12
    assert fingerprint(own_adapter) != before
    assert fingerprint(tmp_path / "nowhere") == ""
