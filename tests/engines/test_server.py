"""The bundled model in float32, in process and behind a real vLLM server: the same questions, the same replies."""

from __future__ import annotations

import os
import socket
import sys
import time
import urllib.request

import pytest
from helpers.processes import started

from llmkit.engines import ResponseCache, open_engine
from llmkit.recipe.schema import EngineSection, ModelSection
from llmkit.runs import Runner
from llmkit.types import Message, Request, Sampling

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("engine")]

QUESTIONS = [f"Tom has {i} apples and buys {i + 3} more. How many apples does he have?" for i in range(2, 10)]


@pytest.fixture(scope="module")
def server(smollm2, tmp_path_factory):
    """A vLLM server on a free port, started with fork and ended by its process id."""
    pytest.importorskip("vllm")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", smollm2, "--port", str(port)]
    command += ["--host", "127.0.0.1", "--served-model-name", "smol", "--dtype", "float32", "--enforce-eager"]
    command += ["--max-model-len", "1024", "--kv-cache-memory-bytes", "256M", "--block-size", "32"]
    own = {"VLLM_WORKER_MULTIPROC_METHOD": "fork", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
    log = tmp_path_factory.mktemp("server") / "log.txt"
    with open(log, "w") as out, started(command, 540, env={**os.environ, **own}, stdout=out, stderr=out) as process:
        while True:
            assert process.poll() is None, log.read_text()[-3000:]
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2)
                break
            except OSError:
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1"


def two_stages(question):
    first = yield Request((Message("user", question),), Sampling(max_tokens=32))
    second = yield Request((Message("user", f"Say it again: {first.text}"),), Sampling(max_tokens=16))
    return first.text, second.text, first.finish_reason


def score(question):
    replies = yield [Request((Message("user", question),), continuation=c) for c in (" yes", " no, never")]
    return [reply.logprobs for reply in replies]


def run(model, section, cache):
    with Runner({"answerer": open_engine(model, section)}, cache) as runner:
        done = {f.key: f.result for f in runner.run((q, two_stages(q)) for q in QUESTIONS)}
        scored = {f.key: f.result for f in runner.run((q, score(q)) for q in QUESTIONS[:2])}
        return done, scored, runner.asked


def test_a_server_and_this_process_say_the_same(server, smollm2, tmp_path, monkeypatch):
    monkeypatch.setenv("LLMKIT_CACHE", str(tmp_path))
    remote = ModelSection(path="smol"), EngineSection(kind="openai", base_url=(server,))
    local = EngineSection(kind="vllm", dtype="float32", max_model_len=1024, kv_cache_gib=0.25)
    with ResponseCache() as cache:
        here, scored_here, asked = run(ModelSection(path=smollm2), local, cache)
        assert asked == 2 * len(QUESTIONS) + 4
        there, scored_there, asked = run(*remote, cache)
        assert asked == 2 * len(QUESTIONS) + 4, "the two never share an answer"
        assert there == here
        for question, options in scored_here.items():
            for mine, theirs in zip(options, scored_there[question], strict=True):
                assert theirs == pytest.approx(mine, abs=1e-3)
        for model, section in ((ModelSection(path=smollm2), local), remote):
            assert run(model, section, cache)[2] == 0, "a second run asks nothing"
