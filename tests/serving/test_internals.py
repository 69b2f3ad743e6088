"""What llmkit touches inside vLLM, without starting an engine."""

import pytest

from llmkit.serving import vllm_internals

pytestmark = [pytest.mark.tiny, pytest.mark.xdist_group("engine")]


def test_this_vllm_has_all_that_is_touched():
    assert vllm_internals.problem() is None


def test_an_older_vllm_is_named(monkeypatch):
    monkeypatch.setattr("vllm.__version__", "0.31.2")
    assert vllm_internals.problem() == "vLLM 0.31.2 is older than 0.32.0, the first that can serve TalkLoRA"


def test_a_newer_vllm_without_a_touched_place_is_named(monkeypatch):
    monkeypatch.setattr("vllm.__version__", "0.99.0")
    monkeypatch.delattr("vllm.lora.model_manager.LoRAModelManager.activate_adapter")
    assert (
        vllm_internals.problem()
        == "vLLM 0.99.0 no longer has vllm.lora.model_manager.LoRAModelManager.activate_adapter"
    )


def test_compiled_graphs_of_an_adapter_are_its_own(monkeypatch, tiny_adapters):
    """Else the graph of the base model, found on disk, would be run in place of the adapter's."""
    from vllm.config import VllmConfig

    config = VllmConfig()
    theirs = config.compute_hash()
    vllm_internals.install()
    keys = [config.compute_hash()]
    for name in ("talk-a", "talk-b"):
        monkeypatch.setenv("LLMKIT_FALLBACK_ADAPTER", tiny_adapters[name])
        keys.append(config.compute_hash())
    assert len({*keys}) == 3
    assert {len(key) for key in keys} == {len(theirs)}
