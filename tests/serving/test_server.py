"""What `llmkit serve` refuses before anything starts."""

import json
import socket
from types import SimpleNamespace

import pytest
from helpers.fault_server import FaultServer

from llmkit.errors import DataError, EngineError, UsageError
from llmkit.serving.child import vllm_arguments
from llmkit.serving.server import Server, ServerPlan, make_plan


def plan(**changes):
    return ServerPlan(
        **{"model": "base", "name": "base", "adapters": [], "host": "127.0.0.1", "port": 1, "max_rank": 0} | changes
    )


def test_a_plan_names_the_base_and_its_adapters(tiny_llama, tiny_adapters):
    made = make_plan(tiny_llama, [f"{name}={folder}" for name, folder in tiny_adapters.items()], "127.0.0.1", 0, [])
    assert made.names == ["tiny-llama", "talk-a", "talk-b", "plain"]
    assert made.max_rank == 15
    assert made.port > 0


def test_an_adapter_that_fits_no_slot_is_planned_for_the_model_itself(tiny_llama, own_adapter):
    path = own_adapter / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "top_k": 2}))
    assert not make_plan(tiny_llama, [f"odd={own_adapter}"], "127.0.0.1", 0, []).fits_slots


@pytest.mark.parametrize("text", ["talk", "=x", "talk="])
def test_an_adapter_without_name_or_folder(tiny_llama, text):
    with pytest.raises(UsageError, match="is not NAME=DIR"):
        make_plan(tiny_llama, [text], "127.0.0.1", 0, [])


def test_two_adapters_of_one_name(tiny_llama, tiny_adapters):
    twice = [f"mine={tiny_adapters['talk-a']}", f"mine={tiny_adapters['plain']}"]
    with pytest.raises(UsageError, match="two models would be called `mine`"):
        make_plan(tiny_llama, twice, "127.0.0.1", 0, [])


def test_an_adapter_that_is_not_there(tiny_llama):
    with pytest.raises(UsageError, match="nowhere"):
        make_plan(tiny_llama, ["mine=nowhere"], "127.0.0.1", 0, [])


def test_an_adapter_for_another_base(tiny_adapters, tmp_path):
    from helpers.fakes import make_tiny_llama
    from transformers import LlamaConfig

    folder = make_tiny_llama(tmp_path / "wide")
    config = LlamaConfig.from_pretrained(folder)
    config.intermediate_size = 512
    config.save_pretrained(folder)
    with pytest.raises(DataError, match="256 inputs and 128 outputs in the adapter, 512 inputs and 128 outputs"):
        make_plan(str(folder), [f"mine={tiny_adapters['talk-a']}"], "127.0.0.1", 0, [])


def test_an_architecture_that_nobody_knows(tiny_llama, tiny_adapters, tmp_path):
    import json
    import shutil
    from pathlib import Path

    folder = Path(shutil.copytree(tiny_llama, tmp_path / "odd"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "oddity"}))
    with pytest.raises(DataError, match=r"the architecture of .*odd is not supported.*oddity"):
        make_plan(str(folder), [f"mine={tiny_adapters['talk-a']}"], "127.0.0.1", 0, [])


def test_a_port_in_use(tiny_llama):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"cannot listen on 127.0.0.1 port {port}: Address already in use"):
            make_plan(tiny_llama, [], "127.0.0.1", port, [])


@pytest.mark.parametrize(
    "options", [["--port", "9000"], ["--port=9000"], ["--hos", "::"], ["--uds", "s"], ["--ssl_keyfile", "k"]], ids=str
)
def test_options_that_move_the_server_are_refused(options):
    """Else llmkit waits for it at the old address, and in the end stops a server that runs."""
    with pytest.raises(UsageError, match=f"{options[0]} after -- would change the address") as caught:
        make_plan("smollm2-135m", [], "127.0.0.1", 0, ["--max-model-len", "512", *options])
    assert "--host and --port go before --" in caught.value.hint


def test_other_options_are_passed_on(tiny_llama):
    own = [
        "--shutdown-timeout",
        "5",
        "--hf-overrides",
        '{"port": 1}',
        "--speculative-config",
        "--served-model-name",
        "x",
    ]
    assert make_plan(tiny_llama, [], "127.0.0.1", 0, own).options == own


def test_adapters_in_slots_get_one_slot_more_and_room_for_their_gates():
    line = " ".join(vllm_arguments(plan(adapters=[("a", "dir-a"), ("b", "dir-b")]), cpu=False, slots=True, max_rank=32))
    assert "--enable-lora --max-loras 3 --max-cpu-loras 34 --max-lora-rank 32 --lora-modules a=dir-a b=dir-b" in line


def test_a_built_in_adapter_gives_the_model_its_name():
    line = " ".join(vllm_arguments(plan(adapters=[("a", "dir-a")]), cpu=False, slots=False, max_rank=32))
    assert "--served-model-name a " in line
    assert line.endswith("--model-impl transformers")


def test_the_users_own_options_come_last_and_set_the_time_to_drain():
    own = plan(options=["--shutdown-timeout", "5"])
    assert vllm_arguments(own, cpu=True, slots=True, max_rank=0)[-2:] == ["--shutdown-timeout", "5"]
    assert own.drain == 5
    assert plan().drain == 30


@pytest.mark.parametrize(
    ("host", "options", "variable", "is_open"),
    [
        ("127.0.0.1", [], None, False),
        ("127.0.0.2", [], None, False),
        ("::1", [], None, False),
        ("0.0.0.0", [], None, True),
        ("::", ["--max-model-len", "512"], None, True),
        ("10.0.0.7", [], "a key", False),
        ("0.0.0.0", ["--api-key", "a"], None, False),
        ("0.0.0.0", ["--api-key=a"], None, False),
        ("0.0.0.0", [], "", True),
    ],
)
def test_a_server_that_others_reach_without_a_key_is_open(host, options, variable, is_open, monkeypatch):
    monkeypatch.delenv("VLLM_API_KEY", raising=False)
    if variable is not None:
        monkeypatch.setenv("VLLM_API_KEY", variable)
    assert plan(host=host, options=options).is_open == is_open


def waiting(server):
    """A Server whose process is a scripted one that listens already."""
    made = Server.__new__(Server)
    made.plan, made._process = (
        plan(port=int(server.url.split(":")[2].removesuffix("/v1"))),
        SimpleNamespace(poll=lambda: None),
    )
    return made


def test_a_server_is_ready_when_its_model_has_answered_once(monkeypatch):
    monkeypatch.setenv("VLLM_API_KEY", "a-key-of-vllm")
    with FaultServer(lambda text, attempt: "reset" if attempt < 2 else None, model="base") as server:
        waiting(server).wait_until_ready()
        assert (server.tries["1"], server.answered["1"]) == (3, 1)
        assert {headers["Authorization"] for headers in server.headers} == {"Bearer a-key-of-vllm"}
        assert server.bodies[0] == {"model": "base", "prompt": "1", "max_tokens": 1}


def test_a_server_whose_model_fails_is_not_ready():
    match = r"its model does not answer \(500\): .*fault 500"
    with FaultServer(lambda text, attempt: "500", model="base") as server, pytest.raises(EngineError, match=match):
        waiting(server).wait_until_ready()
    with FaultServer(lambda text, attempt: "401", model="base") as server:
        waiting(server).wait_until_ready()  # with a key that only vLLM knows there is no more to be told


def test_a_proxy_in_front_decides_who_reaches_the_server(monkeypatch):
    monkeypatch.delenv("VLLM_API_KEY", raising=False)
    assert (plan(front="127.0.0.1").is_local, plan(front="127.0.0.1").is_open) == (True, False)
    assert (plan(front="0.0.0.0").is_local, plan(front="0.0.0.0").is_open) == (False, True)
    assert plan(front="0.0.0.0").url == "http://127.0.0.1:1"
