"""TalkLoRA in vLLM, in this process: greedy float32 output is that of transformers and PEFT, token for token."""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
import torch
from helpers import processes

from llmkit.errors import DataError

pytestmark = [pytest.mark.tiny, pytest.mark.xdist_group("engine")]

TEXT = "apples and pears are pieces of fruit How many are left after three of them went to the market"
WORDS = TEXT.split()
PROMPTS = [" ".join(WORDS[(3 * i + j) % len(WORDS)] for j in range(3 + i % 40)) + "?" for i in range(50)]
NEW = 12


def open_vllm(model, **options):
    os.environ["LLMKIT_VLLM"] = "1"
    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    from llmkit.serving.plugin import register

    register()
    from vllm import LLM

    return LLM(
        model=model,
        dtype="float32",
        max_model_len=256,
        block_size=32,
        kv_cache_memory_bytes=256 << 20,
        use_tqdm_on_load=False,
        **{"enforce_eager": True, **options},
    )


def close(llm):
    llm.llm_engine.engine_core.shutdown()


def ask(llm, prompts, adapters, requests):
    """What vLLM gives for each prompt with its adapter, all in one batch."""
    from vllm import SamplingParams

    greedy = SamplingParams(temperature=0, max_tokens=NEW, ignore_eos=True, logprobs=0)
    return llm.generate(prompts, greedy, lora_request=[requests[name] for name in adapters], use_tqdm=False)


def say(*args):
    """(prompt ids, new ids, their log-probabilities) of what `ask` gives."""
    return read(ask(*args))


def read(outputs):
    said = []
    for output in outputs:
        ids = list(output.outputs[0].token_ids)
        logprobs = [row[token].logprob for row, token in zip(output.outputs[0].logprobs, ids, strict=True)]
        said.append((list(output.prompt_token_ids), ids, logprobs))
    return said


def lora_requests(folders):
    from vllm.lora.request import LoRARequest

    return {None: None} | {name: LoRARequest(name, i, path) for i, (name, path) in enumerate(folders.items(), 1)}


class Reference:
    """transformers with PEFT: whether it would say the same, given what was said so far."""

    def __init__(self, base, folders):
        from peft import PeftModel
        from transformers import AutoModelForCausalLM

        import llmkit.talklora  # noqa: F401

        self.models = {None: AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)}
        for name, folder in folders.items():
            model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
            self.models[name] = PeftModel.from_pretrained(model, folder).eval()

    @torch.no_grad()
    def check(self, said, name):
        """One pass over prompt and answer: at every position of the answer the most probable token must be the one."""
        prompt, ids, logprobs = said
        logits = self.models[name](input_ids=torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1]
        expected = logits.log_softmax(-1)
        assert logits.argmax(-1).tolist() == ids
        mine = torch.tensor(logprobs)
        torch.testing.assert_close(mine, expected.gather(1, torch.tensor(ids)[:, None])[:, 0], atol=1e-3, rtol=0)


@pytest.fixture(scope="module")
def requests(tiny_adapters):
    return lora_requests(tiny_adapters)


@pytest.fixture(scope="module")
def vllm(tiny_llama):
    llm = open_vllm(tiny_llama, enable_lora=True, max_loras=3, max_lora_rank=16, enable_prefix_caching=True)
    yield llm
    close(llm)


@pytest.fixture(scope="module")
def reference(tiny_llama, tiny_adapters):
    return Reference(tiny_llama, tiny_adapters)


@pytest.mark.parametrize("name", [None, "talk-a", "talk-b", "plain"])
def test_fifty_prompts_alone(vllm, requests, reference, name):
    for said in say(vllm, PROMPTS, [name] * len(PROMPTS), requests):
        reference.check(said, name)


def check_mixed_batch(llm, requests, reference):
    names = [(None, "talk-a", "talk-b", "plain")[i % 4] for i in range(len(PROMPTS))]
    for said, name in zip(say(llm, PROMPTS, names, requests), names, strict=True):
        reference.check(said, name)


def test_a_mixed_batch_says_what_each_says_alone(vllm, requests, reference):
    check_mixed_batch(vllm, requests, reference)


def test_the_adapters_say_different_things(vllm, requests):
    said = {name: [ids for _, ids, _ in say(vllm, PROMPTS[:8], [name] * 8, requests)] for name in requests}
    assert len({str(value) for value in said.values()}) == 4


# Engines of their own from here on: closing one takes the process groups of the one above with it.
def test_a_mixed_batch_where_vllm_is_allowed_to_compile(tiny_llama, requests, reference):
    """The way of a server without --enforce-eager. vLLM's CPU build still compiles nothing once LoRA is on; where this
    changes, the gate in slots has to be shown in compiled mode too."""
    from vllm.config import CompilationMode

    llm = open_vllm(tiny_llama, enable_lora=True, max_loras=3, max_lora_rank=16, enforce_eager=False)
    try:
        config = llm.llm_engine.vllm_config
        assert not config.model_config.enforce_eager
        assert config.compilation_config.mode == CompilationMode.NONE
        check_mixed_batch(llm, requests, reference)
    finally:
        close(llm)


def test_long_prompts_in_chunks_with_cached_prefixes(tiny_llama, tiny_adapters, requests, reference):
    """Chunked prefill cuts prompts across steps; a second round takes its blocks from the cache."""
    llm = open_vllm(
        tiny_llama, enable_lora=True, max_loras=3, max_lora_rank=16, max_num_batched_tokens=64, max_num_seqs=8
    )
    prompts, names = [" ".join(PROMPTS[38:41])[:500]] * 4, [None, "talk-a", "talk-b", "plain"]
    try:
        rounds = [ask(llm, prompts, names, requests) for _ in range(2)]
    finally:
        close(llm)
    assert [output.num_cached_tokens for output in rounds[0]] == [0, 0, 0, 0]  # one prompt, but no block in common
    assert all(output.num_cached_tokens >= 64 for output in rounds[1])
    first, second = map(read, rounds)
    assert [ids for _, ids, _ in first] == [ids for _, ids, _ in second]
    for said, name in zip(first, names, strict=True):
        assert len(said[0]) > 64
        reference.check(said, name)


def trained(folder):
    """A TalkLoRA adapter for SmolLM2 after a few real steps; its folder."""
    from llmkit.finetune import finetune
    from llmkit.recipe import load

    steps = {"max_steps": 6, "batch_size": 4, "lr": 5e-3, "schedule": "constant"}
    overrides = {
        "data.task": "arithmetic",
        "data.levels": [1],
        "data.size": 200,
        "finetune.r": 8,
        "finetune.data.dev_limit": 4,
        "finetune.train.dtype": "float32",
        "finetune.train.eval_every": 6,
        "output.dir": str(folder),
        **{f"finetune.optim.{key}": value for key, value in steps.items()},
    }
    return str(finetune(load("base/smollm2", overrides), quiet=True).adapter)


@pytest.mark.e2e
def test_smollm2_says_what_transformers_says_alone_and_in_a_mixed_batch(smollm2, make_adapter, configs, tmp_path):
    folders = {
        name: str(make_adapter(smollm2, config, tmp_path / name, seed=i, size=0.05))
        for i, (name, config) in enumerate(configs.items())
        if name != "talk-a"
    }
    folders["talk-a"] = trained(tmp_path)
    requests, reference = lora_requests(folders), Reference(smollm2, folders)
    names = ["talk-a", None, "plain", "talk-b"]
    llm = open_vllm(smollm2, enable_lora=True, max_loras=3, max_lora_rank=16)
    try:
        alone = say(llm, PROMPTS, ["talk-a"] * 50, requests)
        mixed = say(llm, PROMPTS, [names[i % 4] for i in range(50)], requests)
    finally:
        close(llm)
    for i in range(50):
        reference.check(alone[i], "talk-a")
        reference.check(mixed[i], names[i % 4])


def test_a_lora_on_embedding_and_head_beside_requests_without(tiny_llama, make_adapter, tmp_path):
    from peft import LoraConfig

    config = LoraConfig(r=8, target_modules=["embed_tokens", "q_proj", "lm_head"], task_type="CAUSAL_LM")
    folders = {"head": str(make_adapter(tiny_llama, config, tmp_path / "head"))}
    llm = open_vllm(tiny_llama, enable_lora=True, max_loras=1, max_lora_rank=8)
    try:
        mixed = say(llm, PROMPTS[:8], ["head", None] * 4, lora_requests(folders))
    finally:
        close(llm)
    reference = Reference(tiny_llama, folders)
    for said, name in zip(mixed, ["head", None] * 4, strict=True):
        reference.check(said, name)


def test_an_adapter_needs_room_for_its_gates(tiny_llama, tiny_adapters):
    llm = open_vllm(tiny_llama, enable_lora=True, max_loras=1, max_lora_rank=8)
    request = lora_requests({"talk-a": tiny_adapters["talk-a"]})
    try:
        with pytest.raises(Exception, match=r"takes rank 12 \(r 8 and 4 experts\), this vLLM holds 8"):
            say(llm, PROMPTS[:1], ["talk-a"], request)
    finally:
        close(llm)


@pytest.mark.parametrize("name", ["talk-a", "plain"])
def test_an_adapter_for_another_base_is_refused_by_name_and_size(vllm, tiny_adapters, tmp_path, name):
    """In the process that loads it. vLLM itself would take one that is too small, and leave the rest at zero."""
    from safetensors.torch import load_file, save_file
    from vllm.lora.request import LoRARequest

    weights = load_file(f"{tiny_adapters[name]}/adapter_model.safetensors")
    narrow = {key: w[:, :64].contiguous() if "_A" in key and w.shape[-1] == 128 else w for key, w in weights.items()}
    narrow = {key.replace("_128x", "_64x"): weight for key, weight in narrow.items()}
    folder = shutil.copytree(tiny_adapters[name], tmp_path / "narrow")
    save_file(narrow, folder / "adapter_model.safetensors")
    with pytest.raises(DataError, match=r"has 64 inputs and \d+ outputs in the adapter, 128 inputs and"):
        vllm.llm_engine.add_lora(LoRARequest("narrow", 99, str(folder)))  # under a known number none would be loaded


def test_a_vllm_without_llmkit_keeps_its_own_functions():
    code = """
import sys
from vllm.plugins import load_general_plugins
load_general_plugins()
from vllm.lora.worker_manager import WorkerLoRAManager
from vllm.platforms import current_platform
print(WorkerLoRAManager._load_adapter.__code__.co_filename.endswith("worker_manager.py"),
      current_platform.get_punica_wrapper().startswith("vllm."), "llmkit.serving.vllm_internals" in sys.modules)
"""
    environment = {name: value for name, value in os.environ.items() if name != "LLMKIT_VLLM"}
    done = processes.run([sys.executable, "-c", code], env=environment)
    assert done.stdout.split()[-3:] == ["True", "True", "False"], done.stderr


def say_elsewhere(llm, names, folders=(), environment=()):
    """What a vLLM in a process of its own says to the first prompts."""
    job = {"llm": llm, "environment": dict(environment), "folders": dict(folders), "names": names, "new": NEW}
    job["prompts"] = PROMPTS[: len(names)]
    program = Path(__file__).with_name("vllm_run.py")
    done = processes.run([sys.executable, program, json.dumps(job)])
    line = next((line for line in done.stdout.splitlines() if line.startswith("SAID ")), None)
    assert line, done.stderr[-3000:]
    return json.loads(line.removeprefix("SAID "))


def test_two_tensor_parallel_processes_say_what_one_does(tiny_llama, tiny_adapters, reference):
    """Row-parallel layers hold half of their inputs each: only the sum of their latents gives the gates."""
    names = [None, "talk-a", "talk-b", "plain"] * 3
    options = {"model": tiny_llama, "tensor_parallel_size": 2, "enforce_eager": True}
    options |= {"enable_lora": True, "max_loras": 3, "max_lora_rank": 16}
    said = say_elsewhere(options, names, tiny_adapters, {"VLLM_CPU_OMP_THREADS_BIND": "nobind"})
    for one, name in zip(said, names, strict=True):
        reference.check(one, name)


def test_the_fallback_in_compiled_mode_says_the_same(tiny_llama, make_adapter, tmp_path):
    """The adapter is built into GPT-NeoX in vLLM's transformers backend, and compiled with it."""
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    from llmkit.talklora import TalkLoraConfig

    size = {"vocab_size": 512, "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2}
    torch.manual_seed(0)
    config = GPTNeoXConfig(**size, num_attention_heads=4, initializer_range=0.2, eos_token_id=1)
    GPTNeoXForCausalLM(config).save_pretrained(tmp_path / "base")
    talk = TalkLoraConfig(
        r=8, num_experts=4, target_modules=["query_key_value", "dense_h_to_4h"], task_type="CAUSAL_LM"
    )
    folder = make_adapter(tmp_path / "base", talk, tmp_path / "adapter")
    said = say_elsewhere(
        {
            "model": str(tmp_path / "base"),
            "tokenizer": tiny_llama,
            "model_impl": "transformers",
            "enforce_eager": False,
        },
        [None] * 8,
        environment={"LLMKIT_FALLBACK_ADAPTER": str(folder), "VLLM_ENABLE_V1_MULTIPROCESSING": "0"},
    )
    reference = Reference(str(tmp_path / "base"), {"talk": str(folder)})
    for one in said:
        reference.check(one, "talk")
    with pytest.raises(AssertionError):
        reference.check(said[-1], None)
