"""What `llmkit serve` decides in the process that becomes vLLM's server. Imports vLLM, starts no engine."""

import json
import os
import sys

import pytest

from llmkit.errors import UsageError
from llmkit.serving import child, vllm_internals
from llmkit.serving.server import make_plan

pytestmark = [pytest.mark.tiny, pytest.mark.xdist_group("engine")]


@pytest.fixture
def serve(monkeypatch):
    """serve(plan) gives the command line that vLLM's server would be started with."""
    monkeypatch.setattr(vllm_internals, "run_server", lambda: None)
    monkeypatch.setattr(sys, "argv", ["child"])
    for name in ("LLMKIT_FALLBACK_ADAPTER", "VLLM_WORKER_MULTIPROC_METHOD"):
        monkeypatch.setenv(name, "")  # so that what is set here is undone

    def serve(plan):
        child._serve(plan)
        return sys.argv

    return serve


@pytest.fixture
def odd_adapter(own_adapter):
    """Its gates fit no slot."""
    path = own_adapter / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "top_k": 2}))
    return own_adapter


def test_an_adapter_without_a_slot_is_built_in_with_one_warning_line(serve, tiny_llama, odd_adapter, capfd):
    argv = serve(make_plan(tiny_llama, [f"odd={odd_adapter}"], "127.0.0.1", 0, []))
    line = "llmkit: warning: no LoRA slots for gates with top_k or talk='after-softmax': the adapter is built into the "
    assert capfd.readouterr().out == f"{line}model\n"
    assert argv[-2:] == ["--model-impl", "transformers"]
    assert "--enable-lora" not in argv
    assert os.environ["LLMKIT_FALLBACK_ADAPTER"] == str(odd_adapter)


def test_adapters_in_slots_need_no_warning(serve, tiny_llama, tiny_adapters, capfd):
    argv = serve(make_plan(tiny_llama, [f"a={tiny_adapters['talk-a']}"], "127.0.0.1", 0, []))
    assert capfd.readouterr().out == ""
    assert argv[argv.index("--max-lora-rank") + 1] == "16"
    assert os.environ["LLMKIT_FALLBACK_ADAPTER"] == ""


def test_of_adapters_without_a_slot_there_is_one_per_server(serve, tiny_llama, tiny_adapters, odd_adapter):
    two = [f"odd={odd_adapter}", f"plain={tiny_adapters['plain']}"]
    with pytest.raises(UsageError, match=r"no LoRA slots for gates .*: one per server") as caught:
        serve(make_plan(tiny_llama, two, "127.0.0.1", 0, []))
    assert caught.value.hint == "start one server for each adapter"


def test_a_vllm_that_changed_serves_plain_lora_and_refuses_talklora(serve, tiny_llama, tiny_adapters, monkeypatch):
    monkeypatch.setattr("vllm.__version__", "0.99.0")
    monkeypatch.delattr("vllm.lora.utils.parse_fine_tuned_lora_name")
    assert "--enable-lora" in serve(make_plan(tiny_llama, [f"p={tiny_adapters['plain']}"], "127.0.0.1", 0, []))
    with pytest.raises(UsageError, match=r"vLLM 0\.99\.0 no longer has vllm\.lora\.utils\.parse_fine_tuned"):
        serve(make_plan(tiny_llama, [f"t={tiny_adapters['talk-a']}"], "127.0.0.1", 0, []))
