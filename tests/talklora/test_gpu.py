"""The tuner on a GPU: the same mathematics, in bfloat16 too, in graphs, and under checkpointing."""

from __future__ import annotations

import copy

import pytest
import torch
from helpers.models import llama, smollm2_shape
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from transformers import LlamaForCausalLM

from llmkit.talklora import TalkLoraConfig, TalkLoraLayer
from llmkit.talklora.balancing import ForwardPass
from llmkit.talklora.layer import Linear
from llmkit.talklora.reference import per_expert

pytestmark = pytest.mark.gpu

TARGETS = ["q_proj", "k_proj", "v_proj", "up_proj", "down_proj"]
D, K, R, N = 256, 192, 16, 4


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def layer_of(dtype: torch.dtype) -> TalkLoraLayer:
    layer = Linear(nn.Linear(D, K, bias=False), ForwardPass())
    config = TalkLoraConfig(r=R, num_experts=N, alpha=R, share_B=False, init_weights=False)
    layer.update_layer("default", config, None)
    layer.set_adapter("default")
    return layer.to("cuda", dtype)


def expected(layer: TalkLoraLayer, x: torch.Tensor) -> torch.Tensor:
    """What the equations give for the same weights, in float64."""
    weights = {"A": layer.talklora_A["default"].weight, **layer.weights("default"), "B": layer.up("default").weight}
    delta = per_expert(x.double(), **{name: w.double() for name, w in weights.items()}, scale=1.0)
    return layer.base_layer(x).double() + delta


def off(got: torch.Tensor, wanted: torch.Tensor) -> float:
    """Relative error, as norms."""
    return ((got.double() - wanted).norm() / wanted.norm()).item()


@pytest.mark.parametrize(
    ("dtype", "most"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-2), (torch.float16, 2e-3)], ids=str
)
@pytest.mark.parametrize("training", [True, False], ids=["training", "folded"])
def test_the_fused_layer_gives_what_the_equations_give(dtype, most, training):
    layer = layer_of(dtype).train(training)
    x = torch.randn(33, D, device="cuda", dtype=dtype)
    with torch.set_grad_enabled(training):
        assert off(layer(x), expected(layer, x)) < most


def test_under_autocast_gates_and_gradients_stay_close_to_float64():
    layer = layer_of(torch.float32)
    x = torch.randn(64, D, device="cuda", requires_grad=True)
    parameters = [p for p in layer.parameters() if p.requires_grad]
    weight = torch.randn(64, K, device="cuda")
    wanted = torch.autograd.grad((expected(layer, x) * weight).sum(), [x, *parameters])
    with torch.autocast("cuda", dtype=torch.bfloat16):
        y = layer(x)
    got = torch.autograd.grad((y.float() * weight).sum(), [x, *parameters])
    assert max(off(one, other.double()) for one, other in zip(got, wanted, strict=True)) < 3e-2


def test_a_compiled_layer_is_one_graph_and_equal():
    layer = layer_of(torch.float32).train()
    x = torch.randn(16, D, device="cuda")
    compiled = torch.compile(layer, fullgraph=True)
    torch.testing.assert_close(compiled(x), layer(x), rtol=1e-4, atol=1e-4)


def test_a_cuda_graph_of_the_folded_layer_replays_with_new_inputs():
    layer = layer_of(torch.bfloat16).eval()
    x = torch.randn(8, D, device="cuda", dtype=torch.bfloat16)
    with torch.inference_mode():
        layer(x)  # folds, and warms the libraries up outside the capture
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            y = layer(x)
        x.copy_(torch.randn_like(x))
        graph.replay()
        torch.testing.assert_close(y, layer(x))


def adapted(dtype: torch.dtype = torch.bfloat16) -> PeftModel:
    config = TalkLoraConfig(r=8, num_experts=4, target_modules=TARGETS, init_weights=False)
    return get_peft_model(llama().to("cuda", dtype), config)


def test_checkpointing_without_reentry_gives_the_same_gradients():
    ids = torch.arange(48, device="cuda").view(4, 12)
    plain = adapted(torch.float32).train()
    checkpointed = copy.deepcopy(plain)
    checkpointed.gradient_checkpointing_enable({"use_reentrant": False})
    checkpointed.enable_input_require_grads()
    gradients = []
    for model in (plain, checkpointed):
        model(input_ids=ids, labels=ids).loss.backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.requires_grad})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        assert gradient is not None, name
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-4, atol=1e-6)


def test_training_in_bfloat16_lowers_the_loss():
    model = get_peft_model(
        llama().to("cuda", torch.bfloat16), TalkLoraConfig(r=16, num_experts=4, target_modules="all-linear")
    ).train()
    assert {p.dtype for p in model.parameters() if p.requires_grad} == {torch.float32}
    ids = torch.randint(1, 60, (2, 10), device="cuda")
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=2e-2)
    losses = []
    for _ in range(60):
        with torch.autocast("cuda", dtype=torch.bfloat16):
            loss = model(input_ids=ids, labels=ids).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]


def test_an_adapter_saved_from_a_gpu_answers_the_same_on_it_and_on_a_cpu(tmp_path):
    model, ids = adapted(torch.float32).eval(), torch.arange(12, device="cuda").view(2, 6)
    model.save_pretrained(str(tmp_path))
    with torch.no_grad():
        wanted = model(ids).logits
        for device in ("cuda", "cpu"):
            loaded = PeftModel.from_pretrained(llama().to(device), str(tmp_path)).eval()
            torch.testing.assert_close(loaded(ids.to(device)).logits.to("cuda"), wanted, rtol=1e-3, atol=1e-4)


def test_a_step_in_bfloat16_keeps_hardly_more_memory_than_loras():
    config = smollm2_shape(4, 4096)
    ids = torch.arange(1024, device="cuda").view(4, 256)
    peaks = []
    for adapter in (LoraConfig(r=16, target_modules=TARGETS), TalkLoraConfig(r=16, target_modules=TARGETS)):
        model = get_peft_model(LlamaForCausalLM(config).to("cuda", torch.bfloat16), adapter).train()
        with torch.autocast("cuda", dtype=torch.bfloat16):
            model(input_ids=ids, labels=ids).loss.backward()  # the first pass also sets the libraries up
            before = torch.cuda.memory_allocated()
            loss = model(input_ids=ids, labels=ids).loss
        peaks.append(torch.cuda.memory_allocated() - before)
        loss.backward()
        del model, loss
    assert peaks[1] <= 1.05 * peaks[0]


def launches(run) -> int:
    """Kernels that run on the GPU while `run` does."""
    with torch.profiler.profile() as seen:
        run()
        torch.cuda.synchronize()
    return sum(event.device_type == torch.autograd.DeviceType.CUDA for event in seen.events())


def test_a_layer_launches_at_most_one_more_than_lora_forward_and_two_backward():
    pytest.importorskip("triton")
    counts = []
    for config in (LoraConfig(r=R, target_modules=["q"]), TalkLoraConfig(r=R, num_experts=N, target_modules=["q"])):
        model = nn.ModuleDict({"q": nn.Linear(D, K, bias=False, device="cuda")})
        layer = get_peft_model(model, config).base_model.model["q"].train()
        x = torch.randn(64, D, device="cuda", requires_grad=True)
        gradient = torch.randn(64, K, device="cuda")
        layer(x).backward(gradient)  # compiles, and sets the libraries up
        layer.zero_grad(set_to_none=True)
        x.grad, outputs = None, []
        forward = launches(lambda layer=layer, x=x, outputs=outputs: outputs.append(layer(x)))
        counts.append((forward, launches(lambda outputs=outputs, gradient=gradient: outputs[0].backward(gradient))))
    (lora_forward, lora_backward), (forward, backward) = counts
    assert forward <= lora_forward + 1
    assert backward <= lora_backward + 2


@pytest.mark.parametrize(("r", "n"), [(16, 4), (32, 4), (32, 2), (64, 4), (256, 4)])
def test_the_kernel_gives_the_gradients_of_torchs_operations(r, n):
    pytest.importorskip("triton")
    layer = Linear(nn.Linear(D, K, bias=False), ForwardPass())
    layer.update_layer("default", TalkLoraConfig(r=r, num_experts=n, share_B=False, init_weights=False), None)
    layer.set_adapter("default")
    layer = layer.to("cuda").train()
    x, gradients = torch.randn(333, D, device="cuda"), []
    for use_kernel in (True, False):
        layer.settings["default"].use_kernel = use_kernel
        gradients.append(torch.autograd.grad(layer(x).square().sum(), list(layer.parameters())[1:]))
    for got, wanted in zip(*gradients, strict=True):
        assert off(got, wanted.double()) < 1e-4
