"""The transformers engine on a GPU gives in float32 what it gives on a CPU."""

from __future__ import annotations

import pytest

from llmkit.engines import open_engine
from llmkit.engines.transformers_engine import TransformersEngine
from llmkit.recipe.schema import EngineSection, ModelSection
from llmkit.types import Message, Request, Sampling

pytestmark = [pytest.mark.gpu, pytest.mark.tiny]


def answers(engine, requests):
    for i, request in enumerate(requests):
        engine.submit(i, request)
    done = dict(engine.drain())
    engine.close()
    return [done[i] for i in range(len(requests))]


@pytest.fixture
def requests():
    asked = [Message("user", " ".join(f"{i} apples and {n} pears" for n in range(k))) for i, k in enumerate((1, 9, 30))]
    greedy = [Request((message,), Sampling(max_tokens=24)) for message in asked]
    return greedy + [Request((message,), Sampling(max_tokens=1), continuation=" 7 pears") for message in asked]


def test_replies_and_log_probabilities_are_those_of_the_cpu(tiny_llama, requests, monkeypatch):
    section = EngineSection(kind="transformers", dtype="float32", max_model_len=512)
    on_gpu = open_engine(ModelSection(path=tiny_llama), section)
    assert dict(on_gpu.identity.settings)["device"] == "cuda"
    got = answers(on_gpu, requests)
    monkeypatch.setattr("llmkit.engines.transformers_engine.accelerator", lambda: "cpu")
    on_cpu = TransformersEngine(ModelSection(path=tiny_llama), section)
    assert dict(on_cpu.identity.settings)["device"] == "cpu"
    wanted = answers(on_cpu, requests)
    assert [reply.text for reply in got] == [reply.text for reply in wanted]
    for one, other in zip(got[3:], wanted[3:], strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-3)


def test_bfloat16_is_what_auto_means_on_a_gpu(tiny_llama):
    engine = open_engine(ModelSection(path=tiny_llama), EngineSection(kind="transformers"))
    assert engine.identity.dtype == "bfloat16"
    engine.close()
