"""Adapters under the transformers engine: what fits is loaded whole, what does not is refused in words."""

from __future__ import annotations

import re

import pytest

from llmkit.engines import open_engine
from llmkit.errors import EngineError
from llmkit.recipe.schema import EngineSection, ModelSection
from llmkit.types import Message, Reply, Request, Sampling

pytestmark = [pytest.mark.tiny, pytest.mark.xdist_group("engine")]

TARGETS = ["q_proj", "v_proj", "down_proj"]


@pytest.fixture(scope="module")
def saved(tiny_llama, tmp_path_factory):
    """saved("LORA", r=4): the folder of such an adapter for the tiny model, its weights random."""
    import torch
    from peft import get_peft_model
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
    from transformers import AutoModelForCausalLM

    import llmkit.talklora  # noqa: F401

    def make(kind, **settings):
        torch.manual_seed(1)
        model = AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32)
        config = PEFT_TYPE_TO_CONFIG_MAPPING[kind](task_type="CAUSAL_LM", **settings)
        adapted = get_peft_model(model, config)
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                torch.nn.init.normal_(parameter, std=0.2)
        folder = tmp_path_factory.mktemp("adapter")
        adapted.save_pretrained(folder)
        return folder

    return make


def ask(model, adapter):
    """The engine's reply to one question; EngineError where it cannot start."""
    section = EngineSection(kind="transformers", dtype="float32", max_model_len=1024)
    engine = open_engine(ModelSection(path=str(model), adapter=adapter and str(adapter)), section)
    try:
        engine.submit(0, Request((Message("user", "2 apples and 3 pears"),), Sampling(max_tokens=8)))
        (_, reply), *_ = engine.drain()
    finally:
        engine.close()
    return reply


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("TALKLORA", {"r": 8, "num_experts": 4, "target_modules": TARGETS}),
        ("LORA", {"r": 4, "target_modules": TARGETS}),
        ("LORA", {"r": 4, "target_modules": TARGETS, "use_dora": True}),
        ("LORA", {"r": 4, "target_modules": TARGETS, "modules_to_save": ["lm_head"]}),
        ("LORA", {"r": 4, "target_modules": ["embed_tokens", "q_proj"]}),
        ("IA3", {"target_modules": TARGETS, "feedforward_modules": ["down_proj"]}),
        ("VERA", {"r": 4, "target_modules": ["q_proj"]}),
        ("VBLORA", {"r": 4, "target_modules": ["q_proj"], "vector_length": 64, "num_vectors": 8}),
        ("LOHA", {"r": 4, "target_modules": TARGETS}),
        ("PROMPT_TUNING", {"num_virtual_tokens": 4}),
        ("PREFIX_TUNING", {"num_virtual_tokens": 4}),
    ],
    ids=str,
)
def test_an_adapter_that_fits_is_taken(saved, tiny_llama, kind, settings):
    reply = ask(tiny_llama, saved(kind, **settings))
    assert isinstance(reply, Reply)
    assert reply.text != ask(tiny_llama, None).text


@pytest.mark.parametrize("kind", ["TALKLORA", "LORA"])
@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (3, r"it has no weights for this model's model\.layers\.2\.\S+, \S+, \S+"),
        (1, r"this model has no model\.layers\.1\.\S+, \S+, \S+"),
    ],
)
def test_a_base_with_other_layers_is_refused(saved, tiny_llama, tmp_path, kind, layers, message):
    from helpers.fakes import make_tiny_llama

    other = make_tiny_llama(tmp_path / "other", layers=layers)
    folder = saved(kind, r=8, target_modules=TARGETS)
    with pytest.raises(EngineError, match=message) as caught:
        ask(other, folder)
    assert f"adapter {folder} was made for another base ({tiny_llama})" in caught.value.message
    assert "--model" in caught.value.hint


@pytest.mark.parametrize("kind", ["TALKLORA", "LORA"])
def test_a_base_of_another_width_is_refused_with_both_sizes(saved, tiny_llama, tmp_path, kind):
    from safetensors.torch import load_file, save_file

    folder = saved(kind, r=8, target_modules=TARGETS)
    path = folder / "adapter_model.safetensors"
    weights = load_file(path)
    name = next(key for key in weights if re.search(r"layers\.0\.\S*q_proj\S*_A\.weight", key))
    weights[name] = weights[name][:, :96].contiguous()
    save_file(weights, path)
    with pytest.raises(EngineError, match=r"q_proj\S*_A\.weight is \[8, 96\] in the adapter, \[8, 128\] in this model"):
        ask(tiny_llama, folder)


def test_an_adapter_without_some_of_its_weights_is_refused(saved, tiny_llama):
    from safetensors.torch import load_file, save_file

    folder = saved("LORA", r=4, target_modules=TARGETS)
    path = folder / "adapter_model.safetensors"
    weights = load_file(path)
    lost = sorted(weights)[0]
    del weights[lost]
    save_file(weights, path)
    with pytest.raises(EngineError, match="it has no weights for") as caught:
        ask(tiny_llama, folder)
    assert lost.removeprefix("base_model.model.") in caught.value.message


def test_a_cut_adapter_is_named_as_damaged(saved, tiny_llama, tmp_path, capsys):
    from llmkit.cli.app import run

    folder = saved("LORA", r=4, target_modules=TARGETS)
    path = folder / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(EngineError, match="are damaged"):
        ask(tiny_llama, folder)
    keys = {"data.task": "arithmetic", "data.size": 20, "data.limit": 1, "output.dir": tmp_path, "rop.max_tokens": 4}
    sets = [arg for key, value in keys.items() for arg in ("--set", f"{key}={value}")]
    code = run(["eval", "--engine", "transformers", "--model", tiny_llama, "--adapter", str(folder), *sets])
    shown = capsys.readouterr().err
    assert code == 1
    assert f"error: the weights of adapter {folder} are damaged" in shown
    assert "internal" not in shown


def test_a_cut_model_is_one_error(tiny_llama, tmp_path):
    from helpers.fakes import make_tiny_llama

    model = make_tiny_llama(tmp_path / "model")
    path = model / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(EngineError, match="model cannot be loaded"):
        ask(model, None)
