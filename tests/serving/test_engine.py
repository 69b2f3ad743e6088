"""llmkit's vLLM engine with TalkLoRA adapters: it chooses the path by itself, and says what does not fit."""

import json
import shutil
import sys
from pathlib import Path

import pytest
from helpers import engine_run
from helpers.processes import run

from llmkit.errors import DataError, LlmkitError, UsageError

pytestmark = [pytest.mark.tiny, pytest.mark.xdist_group("engine")]


def test_it_builds_in_what_fits_no_slot_and_nothing_after_that(tiny_llama, tiny_adapters, make_adapter, tmp_path):
    """A model without slots, gates that no slot can hold, and then an ordinary adapter, in one process. There the
    transformers engine still runs the first, whose classes vLLM has changed."""
    import torch
    from transformers import AutoTokenizer, StableLmConfig, StableLmForCausalLM

    from llmkit.talklora import TalkLoraConfig

    size = {"vocab_size": 512, "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2}
    torch.manual_seed(0)
    heads = {"num_attention_heads": 4, "num_key_value_heads": 4}
    config = StableLmConfig(**size, **heads, initializer_range=0.2, eos_token_id=1)
    base = tmp_path / "stablelm"
    StableLmForCausalLM(config).save_pretrained(base)
    AutoTokenizer.from_pretrained(tiny_llama).save_pretrained(base)
    plain = TalkLoraConfig(r=8, target_modules=["q_proj", "up_proj"], task_type="CAUSAL_LM")
    odd = TalkLoraConfig(r=8, talk="after-softmax", top_k=3, target_modules=["q_proj"], task_type="CAUSAL_LM")
    without_slots = (str(base), str(make_adapter(base, plain, tmp_path / "plain")))
    odd_folder = make_adapter(tiny_llama, odd, tmp_path / "odd")
    broken = shutil.copytree(odd_folder, tmp_path / "broken")
    cut(broken / "adapter_model.safetensors")
    jobs = [
        ("vllm", *without_slots),
        ("vllm", tiny_llama, str(odd_folder)),
        ("vllm", tiny_llama, tiny_adapters["talk-a"]),
        ("transformers", *without_slots),
    ]
    program = engine_run.__file__
    damaged = ("vllm", tiny_llama, str(broken))
    done = run([sys.executable, program, json.dumps([*jobs, damaged])])
    line = next((line for line in done.stdout.splitlines() if line.startswith("SAID ")), None)
    assert line, done.stderr[-3000:]
    *said, refused = json.loads(line.removeprefix("SAID "))
    assert said == [engine_run.replies("transformers", *job) for _, *job in jobs]
    assert refused.startswith(f"DataError: {broken} cannot be read")
    warnings = [line for line in done.stderr.splitlines() if "built into the model" in line]
    gates = "gates with top_k or talk='after-softmax'"
    assert warnings == [
        f"no LoRA slots for {why}: the adapter is built into the model" for why in ("StableLmForCausalLM", gates, gates)
    ]


def cut(weights):
    weights.write_bytes(weights.read_bytes()[:-100])


def without_a_matrix(weights):
    from safetensors.torch import load_file, save_file

    kept = load_file(weights)
    del kept["base_model.model.model.layers.1.mlp.up_proj.talklora_C.weight"]
    save_file(kept, weights)


def pickled(weights):
    weights.rename(weights.with_suffix(".bin"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut, "own cannot be read: "),
        (without_a_matrix, r"layers\.1\.mlp\.up_proj\.talklora_C\.weight is missing"),
        (pickled, r"own` has no adapter_model\.safetensors"),
        (Path.unlink, r"own` has no adapter_model\.safetensors"),
    ],
)
def test_a_damaged_adapter_is_named_at_the_start(tiny_llama, own_adapter, damage, message):
    damage(own_adapter / "adapter_model.safetensors")
    with pytest.raises(LlmkitError, match=message) as caught:
        engine_run.replies("vllm", tiny_llama, str(own_adapter))
    assert type(caught.value) in (DataError, UsageError)
    assert caught.value.hint
