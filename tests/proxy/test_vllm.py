"""The proxy before vLLM's own server, as `llmkit serve --repair` starts both."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from helpers.processes import started
from helpers.upstreams import get, post, repair_file

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("engine")]

NOISY, FIXED = "I have not recieved my ordr from last week", "I have not received my order from last week"
OPTIONS = ["--", "--dtype", "float32", "--enforce-eager", "--max-model-len", "512", "--enable-auto-tool-choice"]
TOOLS = [{"type": "function", "function": {"name": "refund", "parameters": {"type": "object", "properties": {}}}}]


def test_a_model_is_served_with_its_repair(tiny_llama, tmp_path):
    import openai

    flags = ["--repair", repair_file(tmp_path), "--mode", "repair", "--without-guarantee"]
    command = [sys.executable, "-m", "llmkit", "serve", "--model", tiny_llama, "--port", "0", "--json", *flags]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with started([*command, *OPTIONS, "--tool-call-parser", "hermes"], 540, **pipes) as process:
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        ready = json.loads(line)
        client = openai.OpenAI(base_url=ready["url"], api_key="none", max_retries=0)
        name = ready["models"][0]
        assert [model.id for model in client.models.list()] == [name]
        settings = {"model": name, "max_tokens": 8, "temperature": 0}

        def said(text, **more):
            messages = [{"role": "system", "content": "recieved"}, {"role": "user", "content": text}]
            return client.chat.completions.with_raw_response.create(messages=messages, **settings, **more)

        fixed, noisy = said(FIXED), said(NOISY)
        assert (noisy.headers["x-llmkit-repair"], fixed.headers["x-llmkit-repair"]) == ("repaired", "passed")
        assert noisy.parse().choices[0].message == fixed.parse().choices[0].message
        assert noisy.parse().usage.prompt_tokens == fixed.parse().usage.prompt_tokens
        off = said(NOISY, extra_headers={"x-llmkit-repair": "off"})
        assert off.headers["x-llmkit-repair"] == "off"
        assert off.parse().usage.prompt_tokens != fixed.parse().usage.prompt_tokens
        stream = said(NOISY, stream=True, stream_options={"include_usage": True}).parse()
        pieces = list(stream)
        assert "".join(p.choices[0].delta.content or "" for p in pieces if p.choices) == (
            fixed.parse().choices[0].message.content
        )
        assert pieces[-1].usage.prompt_tokens == fixed.parse().usage.prompt_tokens
        assert said(NOISY, tools=TOOLS).headers["x-llmkit-repair"] == "repaired"
        completion = client.completions.with_raw_response.create(prompt=NOISY, **settings)
        assert completion.headers["x-llmkit-repair"] == "repaired"
        response = client.responses.with_raw_response.create(model=name, input=NOISY, max_output_tokens=8)
        assert response.headers["x-llmkit-repair"] == "repaired"
        assert json.loads(response.text)["output"]
        assert 'action="repaired"} 6' in get(ready["url"].removesuffix("v1") + "metrics")
        assert json.loads(post(ready["url"].removesuffix("v1") + "repair", {"text": NOISY})[2])["text"] == FIXED
        process.terminate()
        assert process.wait(120) == 0
