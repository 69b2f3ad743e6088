"""The examples around the proxy: the compose file by its structure, and the hook in LiteLLM where that is installed."""

from __future__ import annotations

import asyncio
import copy
import importlib.util
import sys
from pathlib import Path

import pytest
from helpers import benchmarks
from helpers.upstreams import proxy, repair_file, scripted
from ruamel.yaml import YAML

EXAMPLES = Path(__file__).parents[2] / "examples"
PROXY = EXAMPLES / "proxy"
COMPOSE = YAML(typ="safe").load(PROXY / "compose.yaml")


def test_the_command_of_the_compose_file_is_one_that_the_proxy_takes():
    words = COMPOSE["services"]["proxy"]["command"]
    assert benchmarks.load("docs").faults(words) == []
    flags = dict(word.removeprefix("--").split("=", 1) for word in words[1:])
    service = COMPOSE["services"]["proxy"]
    assert flags["api-key-env"] in service["environment"]
    assert service["environment"][flags["api-key-env"]].startswith("${LLMKIT_PROXY_KEY:?")  # no start without a key
    assert any(volume.split(":")[1] == flags["repair"] for volume in service["volumes"])
    assert flags["upstream"].split("/")[2].split(":")[0] in COMPOSE["services"]
    assert service["ports"] == [f"127.0.0.1:{flags['port']}:{flags['port']}"]
    assert f":{flags['port']}/health" in service["healthcheck"]["test"][-1]


def test_the_proxy_of_the_compose_file_is_not_root_and_writes_nowhere_but_in_memory():
    service = COMPOSE["services"]["proxy"]
    assert service["user"] == "65534:65534"
    assert service["read_only"] is True
    assert service["tmpfs"] == ["/tmp"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert all(volume.endswith(":ro") for volume in service["volumes"])
    assert "privileged" not in service


def test_only_the_proxy_reaches_the_model_of_the_compose_file():
    model, networks = COMPOSE["services"]["model"], COMPOSE["networks"]
    assert "ports" not in model
    assert model["networks"] == ["inside"]
    assert networks["inside"]["internal"] is True
    assert "inside" in COMPOSE["services"]["proxy"]["networks"]
    assert COMPOSE["services"]["proxy"]["depends_on"]["model"]["condition"] == "service_healthy"


def test_what_the_compose_file_builds_exists():
    build = COMPOSE["services"]["proxy"]["build"]
    root = (PROXY / build["context"]).resolve()
    assert (root / build["dockerfile"]).is_file()
    kept = (root / f"{build['dockerfile']}.dockerignore").read_text().splitlines()
    assert all((root / line.removeprefix("!")).exists() for line in kept if line.startswith("!"))
    dockerfile = (root / build["dockerfile"]).read_text()
    assert f"USER {COMPOSE['services']['proxy']['user']}" in dockerfile


@pytest.mark.e2e
def test_the_health_check_of_the_compose_file_sees_a_proxy(tmp_path):
    program, _, code = COMPOSE["services"]["proxy"]["healthcheck"]["test"][1:]
    assert program == "python"
    with scripted() as upstream, proxy(upstream.url, "--mode", "pass") as running:
        exec(code.replace("http://127.0.0.1:8100", running.url))


def test_the_hook_repairs_what_users_wrote_inside_litellm(tmp_path, monkeypatch):
    pytest.importorskip("litellm", reason="litellm does not install beside the other packages: see docs/proxy.md")
    monkeypatch.setenv("LLMKIT_REPAIR", str(repair_file(tmp_path)))
    specification = importlib.util.spec_from_file_location("llmkit_repair", EXAMPLES / "litellm" / "llmkit_repair.py")
    module = importlib.util.module_from_spec(specification)
    monkeypatch.setitem(sys.modules, "llmkit_repair", module)
    specification.loader.exec_module(module)
    typed = "Whta is the pirce of a tikcet to London?"
    image = {"type": "image_url", "image_url": {"url": "data:,"}}
    data = {
        "model": "m",
        "messages": [
            {"role": "system", "content": typed},
            {"role": "user", "content": typed},
            {"role": "assistant", "content": typed, "tool_calls": []},
            {"role": "user", "content": [{"type": "text", "text": typed}, image]},
            {"role": "user", "content": "What does it cost?"},
        ],
        "tools": [{"type": "function", "function": {"name": "pirce"}}],
    }
    done = asyncio.run(module.hook.async_pre_call_hook(None, None, copy.deepcopy(data), "completion"))
    first, second = done["messages"][1]["content"], done["messages"][3]["content"][0]["text"]
    assert first == second == "What is the price of a ticket to London?"
    data["messages"][1]["content"] = data["messages"][3]["content"][0]["text"] = first
    assert done == data
    other = {"input": "Whta?", "messages": None}
    assert asyncio.run(module.hook.async_pre_call_hook(None, None, copy.deepcopy(other), "embeddings")) == other
