"""Everything PEFT asks of a tuner, over three architectures and all presets."""

from __future__ import annotations

import copy
import sys
import types
import warnings

import pytest
import torch
from helpers import models
from helpers.adapters import LLAMA, TARGETS, VARIANTS, adapted, config, inputs, layers, output, shared, trainable
from peft import (
    AutoPeftModelForCausalLM,
    PeftModel,
    get_peft_model,
    get_peft_model_state_dict,
    inject_adapter_in_model,
    set_peft_model_state_dict,
)
from peft.utils import quantization_utils
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn
from transformers import AutoModelForCausalLM, TorchAoConfig

from llmkit.talklora import PRESETS, TalkLoraLayer

matrix = pytest.mark.parametrize("kind", list(TARGETS))
variants = pytest.mark.parametrize("variant", list(VARIANTS))


@matrix
@variants
def test_saved_and_loaded_it_is_the_same_under_any_name(kind, variant, tmp_path):
    model, x = adapted(kind, variant), inputs(kind)
    model.save_pretrained(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name, low in (("default", False), ("other", True)):
            loaded = PeftModel.from_pretrained(
                getattr(models, kind)(), tmp_path, adapter_name=name, low_cpu_mem_usage=low
            )
            assert torch.equal(output(loaded, x), output(model, x))
            assert not trainable(loaded)


@matrix
@variants
def test_disabled_it_is_the_base_model_and_training_moves_only_the_adapter(kind, variant):
    model, x = adapted(kind, variant), inputs(kind)
    base = output(getattr(models, kind)(), x)
    before, frozen = output(model, x), {n: p.clone() for n, p in model.named_parameters() if not p.requires_grad}
    assert not torch.equal(before, base)
    with model.disable_adapter():
        assert torch.equal(output(model, x), base)
    assert torch.equal(output(model, x), before)
    assert trainable(model)
    assert all("talklora_" in name for name in trainable(model))

    model.train()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        output(model, x).float().square().mean().backward()
        optimizer.step()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    assert not torch.equal(output(model.eval(), x), before)
    assert all(torch.equal(p, frozen[n]) for n, p in model.named_parameters() if n in frozen)
    with model.disable_adapter():
        assert torch.equal(output(model, x), base)


@matrix
def test_unloaded_it_is_the_base_model(kind):
    model, x = adapted(kind), inputs(kind)
    assert torch.equal(output(model.unload(), x), output(getattr(models, kind)(), x))


@matrix
def test_a_second_adapter_shares_b_as_the_first_does_and_leaves_it_alone(kind):
    model, x = adapted(kind), inputs(kind)
    first, flags = output(model, x), trainable(model)
    model.add_adapter("second", config(kind, r=4, num_experts=2))
    assert torch.equal(output(model, x), first)
    assert trainable(model) == flags
    assert shared(model).keys() == shared(model, "second").keys()

    model.set_adapter("second")
    assert not torch.equal(output(model, x), first)
    assert all(".second." in name for name in trainable(model))
    assert all(weight.requires_grad for weight in shared(model, "second").values())
    assert not any(weight.requires_grad for weight in shared(model).values())

    model.delete_adapter("second")
    assert model.active_adapters == ["default"]
    assert not [name for name, _ in model.named_parameters() if "second" in name]
    assert torch.equal(output(model, x), first)


def test_two_adapters_at_once_add_up():
    model, x = adapted(), inputs("llama")
    model.add_adapter("second", config())
    layer = next(m for m in model.modules() if isinstance(m, TalkLoraLayer))
    h = torch.randn(2, 3, 32)
    model.base_model.set_adapter(["default", "second"])
    expected = layer.base_layer(h) + layer.delta(h, "default") + layer.delta(h, "second")
    torch.testing.assert_close(layer(h), expected)
    assert output(model, x).isfinite().all()


def test_an_adapter_for_inference_leaves_the_one_in_training_alone(tmp_path):
    model = adapted()
    flags = trainable(model)
    model.save_pretrained(tmp_path)
    model.load_adapter(tmp_path, "frozen")
    assert trainable(model) == flags


def test_a_frozen_c_stays_frozen_and_is_saved(tmp_path):
    model = adapted(variant="frozen")
    model.set_requires_grad("default", True)
    model.base_model.enable_adapter_layers()
    assert not any("talklora_C" in name for name in trainable(model))
    model.save_pretrained(tmp_path)
    with safe_open(tmp_path / "adapter_model.safetensors", "pt") as file:
        assert any("talklora_C" in key for key in file.keys())  # noqa: SIM118


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("upcast", [True, False])
def test_a_half_precision_base_carries_a_float32_adapter(dtype, upcast, tmp_path):
    model = get_peft_model(models.llama().to(dtype), config(), autocast_adapter_dtype=upcast)
    expected = torch.float32 if upcast else dtype
    assert {p.dtype for n, p in model.named_parameters() if "talklora_" in n} == {expected}
    logits = output(model, inputs("llama"))
    assert logits.dtype == dtype
    logits.float().square().mean().backward()
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(models.llama().to(dtype), tmp_path, autocast_adapter_dtype=upcast)
    assert {p.dtype for n, p in loaded.named_parameters() if "talklora_" in n} == {expected}
    assert torch.equal(output(loaded.eval(), inputs("llama")), output(model.eval(), inputs("llama")))


@pytest.mark.parametrize(
    ("settings", "count"),
    [
        ({"target_modules": "all-linear"}, 14),
        ({"target_modules": r".*layers\.1\..*(q|v)_proj"}, 2),
        ({"target_modules": LLAMA, "layers_to_transform": [1]}, 5),
        ({"target_modules": LLAMA, "layers_to_transform": 0, "layers_pattern": "layers"}, 5),
        ({"target_modules": LLAMA, "exclude_modules": ["up_proj"]}, 8),
        ({"target_modules": LLAMA, "exclude_modules": r".*layers\.0\..*"}, 5),
        ({"target_modules": None}, 4),  # PEFT's own default for this architecture: q_proj and v_proj
    ],
)
def test_targets_are_chosen_as_in_peft(settings, count):
    model = adapted(**settings)
    found = [name for name, module in model.named_modules() if isinstance(module, TalkLoraLayer)]
    assert len(found) == count
    assert not any("lm_head" in name for name in found)


def test_targets_that_match_nothing_or_cannot_be_adapted_are_refused():
    with pytest.raises(ValueError, match="nothing_like_it"):
        adapted(target_modules=["nothing_like_it"])
    with pytest.raises(ValueError, match="Embedding is not supported"):
        adapted(target_modules=["embed_tokens"])


def test_modules_to_save_are_trained_and_restored(tmp_path):
    model, x = adapted(modules_to_save=["lm_head"]), inputs("llama")
    assert any("lm_head.modules_to_save.default" in name for name in trainable(model))
    model.base_model.model.lm_head.modules_to_save["default"].weight.data += 1
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(models.llama(), tmp_path)
    assert torch.equal(output(loaded, x), output(model, x))


def test_several_modules_to_save_are_trained_and_restored(tmp_path):
    model, x = adapted(modules_to_save=["lm_head", "embed_tokens"]), inputs("llama")
    wrapped = [name for name in trainable(model) if "modules_to_save" in name]
    assert sorted(name.split(".")[-4] for name in wrapped) == ["embed_tokens", "lm_head"]
    for name in wrapped:
        model.get_parameter(name).data += 0.5
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(models.llama(), tmp_path)
    assert torch.equal(output(loaded, x), output(model, x))
    with model.disable_adapter():
        assert torch.equal(output(model, x), output(models.llama(), x))


def test_embeddings_can_be_passed_instead_of_tokens():
    model, x = adapted(task_type="CAUSAL_LM"), inputs("llama")
    embeddings = model.get_input_embeddings()(x)
    assert torch.equal(model(inputs_embeds=embeddings).logits, output(model, x))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_generates_what_its_logits_say(dtype):
    model, x = get_peft_model(models.llama().to(dtype), config(task_type="CAUSAL_LM")).eval(), inputs("llama")
    text = model.generate(input_ids=x, max_new_tokens=3, do_sample=False, pad_token_id=0, eos_token_id=None)
    assert text.shape == (3, 10)
    assert torch.equal(text[:, 7], output(model, x)[:, -1].argmax(-1))


@matrix
def test_the_base_models_weights_are_never_touched(kind):
    base = getattr(models, kind)()
    model, x = get_peft_model(base, config(kind)), inputs(kind)
    assert model.get_base_model() is base
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    output(model, x).square().mean().backward()
    optimizer.step()
    state = {name.replace("base_layer.", ""): w for name, w in base.state_dict().items() if "talklora_" not in name}
    original = getattr(models, kind)().state_dict()
    assert state.keys() == original.keys()
    assert all(torch.equal(state[name], weight) for name, weight in original.items())


def test_auto_peft_model_finds_base_and_adapter(tmp_path):
    base = models.llama()
    base.save_pretrained(tmp_path / "base")
    model = get_peft_model(type(base).from_pretrained(tmp_path / "base"), config(task_type="CAUSAL_LM")).eval()
    model.save_pretrained(tmp_path / "adapter")
    loaded = AutoPeftModelForCausalLM.from_pretrained(tmp_path / "adapter")
    assert loaded.peft_config["default"].r == 8
    assert torch.equal(output(loaded, inputs("llama")), output(model, inputs("llama")))


def test_injection_without_a_tuner_is_refused_where_it_would_own_b():
    with pytest.raises(ValueError, match=r"`inject_adapter_in_model` does not support .* or share_B=False"):
        inject_adapter_in_model(config(), models.llama())
    with pytest.raises(ValueError, match="share_B=False"):
        models.llama().add_adapter(config())


def test_an_adapter_that_shares_nothing_is_injected_into_a_bare_model(tmp_path):
    model, x = adapted(variant="unshared"), inputs("llama")
    model.save_pretrained(tmp_path)
    bare = inject_adapter_in_model(config(variant="unshared"), models.llama())
    result = set_peft_model_state_dict(bare, load_file(tmp_path / "adapter_model.safetensors"))
    assert not result.unexpected_keys
    assert torch.equal(output(bare, x), output(model, x))
    weights = get_peft_model_state_dict(bare)
    assert len(weights) == len(load_file(tmp_path / "adapter_model.safetensors"))


def test_transformers_takes_adapters_that_share_nothing():
    model, x = models.llama(), inputs("llama")
    plain = output(model, x)
    model.add_adapter(config(variant="unshared"), adapter_name="one")
    model.add_adapter(config(variant="unshared", num_experts=2), adapter_name="two")
    model.set_adapter("one")
    one = output(model, x)
    model.set_adapter("two")
    assert not torch.equal(output(model, x), one)
    model.disable_adapters()
    assert torch.equal(output(model, x), plain)


def test_all_linear_finds_what_another_adapter_adapts():
    model = adapted(target_modules=["q_proj"])
    model.add_adapter("second", config(target_modules="all-linear"))
    found = [path for path, layer in layers(model).items() if "second" in layer.settings]
    assert len(found) == 14
    assert sum(path.endswith("q_proj") for path in found) == 2
    model.add_adapter("third", config(target_modules="all-linear"))
    assert sum("third" in layer.settings for layer in layers(model).values()) == 14


def test_the_card_says_what_to_import(tmp_path):
    model = adapted()
    model.add_adapter("second", config())
    for _ in range(2):
        model.save_pretrained(tmp_path)
        text = (tmp_path / "README.md").read_text()
        assert text.count("import llmkit.talklora") == 1
        assert "KeyError: 'TALKLORA'" in text


class TorchAo(torch.Tensor):
    """Stands for a weight of torchao: a tensor class of its own."""


def test_a_base_quantised_by_torchao_is_trained_beside(monkeypatch):
    monkeypatch.setattr(quantization_utils, "is_torchao_available", lambda: True)
    monkeypatch.setattr(quantization_utils, "is_torchao_ge_v0_18_0", lambda: True)
    monkeypatch.setitem(sys.modules, "torchao", types.ModuleType("torchao"))
    monkeypatch.setitem(sys.modules, "torchao.utils", types.SimpleNamespace(TorchAOBaseTensor=TorchAo))
    base, x = models.mlp(), inputs("mlp")
    plain = base(x)
    for linear in (base.lin0, base.lin1):
        linear.weight = nn.Parameter(linear.weight.detach().as_subclass(TorchAo), requires_grad=False)
    model = get_peft_model(base, config("mlp", num_experts=1))
    assert model.get_layer_status()[0].quantization_backend == "torchao"
    output(model, x).sum().backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    with model.disable_adapter():
        assert torch.equal(output(model, x), plain)
    with pytest.raises(ValueError, match="quantised"):
        model.merge_adapter()


def test_a_real_base_of_torchao_is_trained_beside(tmp_path):
    torchao = pytest.importorskip("torchao.quantization")
    x, base = inputs("llama"), models.llama()
    torchao.quantize_(base, torchao.Int8WeightOnlyConfig())
    model = get_peft_model(base, config()).train()
    model(x, labels=x).loss.backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    models.llama().save_pretrained(tmp_path)
    settings = TorchAoConfig(torchao.Int8WeightOnlyConfig())
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path, quantization_config=settings)
    model = get_peft_model(loaded, config()).train()
    model(x, labels=x).loss.backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize("variant", ["talklora", "unshared"])
def test_checkpointing_gives_the_same_gradients(variant):
    x, gradients = inputs("llama"), []
    for checkpointing in (False, True):
        model = adapted(variant=variant, balance_coef=0.1).train()
        if checkpointing:
            model.enable_input_require_grads()
            model.base_model.model.gradient_checkpointing_enable({"use_reentrant": False})
        (model(x, labels=x).loss + model.base_model.balance_loss()).backward()
        gradients.append({n: p.grad for n, p in model.named_parameters() if p.requires_grad})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("variant", list(PRESETS))
@pytest.mark.parametrize("training", [True, False])
def test_it_compiles_without_graph_breaks(variant, training):
    layer = next(m for m in adapted(variant=variant).modules() if isinstance(m, TalkLoraLayer)).train(training)
    h = torch.randn(2, 3, 32)
    torch.manual_seed(0)
    expected = layer(h)
    torch._dynamo.reset()
    compiled = torch.compile(layer, backend="eager", fullgraph=True)
    torch.manual_seed(0)
    torch.testing.assert_close(compiled(h), expected)


@pytest.mark.parametrize("variant", ["talklora", "moelora"])
def test_a_step_that_is_compiled_to_machine_code_gives_the_same_gradients(variant):
    layer = next(m for m in adapted(variant=variant).modules() if isinstance(m, TalkLoraLayer)).train()
    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True)
    h, found = torch.randn(2, 3, 32, requires_grad=True), []
    for run in (layer, compiled):
        layer.zero_grad()
        h.grad = None
        run(h).square().sum().backward()
        found.append({"h": h.grad, **{n: p.grad for n, p in layer.named_parameters() if p.grad is not None}})
    assert found[0].keys() == found[1].keys()
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, rtol=1e-4, atol=1e-6)


class Int8Linear(nn.Module):
    """Stands for a quantised layer: integer weights, its own forward."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.step = linear.weight.detach().abs().max() / 127
        self.weight = nn.Parameter((linear.weight.detach() / self.step).round().to(torch.int8), requires_grad=False)
        self.bias = linear.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(x, self.weight * self.step, self.bias)


def test_a_quantised_base_is_only_ever_called(monkeypatch):
    class Backend:
        backend_name = "int8"

        def maybe_clone_base_result(self, x):
            return x.clone()

    Int8Linear.__name__ = "Linear"  # how PEFT knows a foreign layer's sizes
    monkeypatch.setattr("llmkit.talklora.layer.resolve_quantization_backend", lambda layer, **needed: Backend())
    base = models.mlp()
    base.lin0, base.lin1 = Int8Linear(base.lin0), Int8Linear(base.lin1)
    x = inputs("mlp")
    plain = base(x)
    model = get_peft_model(base, config("mlp", num_experts=1))
    assert {p.dtype for n, p in model.named_parameters() if "talklora_" in n} == {torch.float32}
    output(model, x).sum().backward()
    assert not torch.equal(output(model, x), plain)
    with model.disable_adapter():
        assert torch.equal(output(model, x), plain)
    with pytest.raises(ValueError, match="quantised"):
        model.merge_adapter()


def test_a_talklora_of_pefts_own_is_not_written_over(monkeypatch):
    from llmkit import talklora

    member = talklora.talklora_type()
    monkeypatch.delattr(member, "added_by")
    with pytest.raises(RuntimeError, match="has its own TALKLORA"):
        talklora.register()


def test_importing_twice_registers_once():
    import importlib

    from llmkit import talklora
    from llmkit.talklora import registration

    importlib.reload(registration)
    talklora.register()
    assert [str(kind.value) for kind in registration.PeftType].count("TALKLORA") == 1
    assert copy.deepcopy(registration.talklora_type()) is registration.talklora_type()
