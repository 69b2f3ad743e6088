"""llmkit's vLLM engine with TalkLoRA adapters: it chooses the path by itself, and says what does not fit."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from serving.engine_run import replies

from llmkit.errors import DataError

pytestmark = [pytest.mark.tiny, pytest.mark.xdist_group("engine")]


def test_it_builds_in_what_fits_no_slot_and_nothing_after_that(tiny_llama, tiny_adapters, make_adapter, tmp_path):
    """A model without slots, gates that no slot can hold, and then an ordinary adapter, in one process. There the
    transformers engine still runs the first, whose classes vLLM has changed."""
    import torch
    from transformers import AutoTokenizer, GPTNeoXConfig, GPTNeoXForCausalLM

    from llmkit.talklora import TalkLoraConfig

    size = {"vocab_size": 512, "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2}
    torch.manual_seed(0)
    config = GPTNeoXConfig(**size, num_attention_heads=4, initializer_range=0.2, eos_token_id=1)
    GPTNeoXForCausalLM(config).save_pretrained(tmp_path / "neox")
    AutoTokenizer.from_pretrained(tiny_llama).save_pretrained(tmp_path / "neox")
    plain = TalkLoraConfig(r=8, target_modules=["query_key_value", "dense_h_to_4h"], task_type="CAUSAL_LM")
    odd = TalkLoraConfig(r=8, talk="after-softmax", top_k=3, target_modules=["q_proj"], task_type="CAUSAL_LM")
    without_slots = (str(tmp_path / "neox"), str(make_adapter(tmp_path / "neox", plain, tmp_path / "plain")))
    jobs = [
        ("vllm", *without_slots),
        ("vllm", tiny_llama, str(make_adapter(tiny_llama, odd, tmp_path / "odd"))),
        ("vllm", tiny_llama, tiny_adapters["talk-a"]),
        ("transformers", *without_slots),
    ]
    program = Path(__file__).with_name("engine_run.py")
    done = subprocess.run([sys.executable, program, json.dumps(jobs)], capture_output=True, text=True)
    line = next((line for line in done.stdout.splitlines() if line.startswith("SAID ")), None)
    assert line, done.stderr[-3000:]
    assert json.loads(line.removeprefix("SAID ")) == [replies("transformers", *job) for _, *job in jobs]


def test_an_adapter_that_does_not_fit_is_named_at_the_start(tiny_llama, tiny_adapters, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(tiny_adapters["talk-a"], tmp_path / "half")
    weights = load_file(folder / "adapter_model.safetensors")
    del weights["base_model.model.model.layers.1.mlp.up_proj.talklora_C.weight"]
    save_file(weights, folder / "adapter_model.safetensors")
    with pytest.raises(DataError, match=r"layers\.1\.mlp\.up_proj\.talklora_C\.weight is missing"):
        replies("vllm", tiny_llama, str(folder))
