"""`llmkit serve` with the plain openai client, as a user runs it."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager

import httpx
import pytest
from helpers.processes import run, started

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("engine")]

PROMPT = "3 apples and 4 pears are 7 pieces of fruit. How many are left? " * 6  # more than one block of 32 tokens
OPTIONS = ["--", "--dtype", "float32", "--enforce-eager", "--max-model-len", "512"]


@contextmanager
def serving(tiny_llama, *adapters, options=(), limit=540.0):
    """A running server's process and what it said when it was ready."""
    command = [sys.executable, "-m", "llmkit", "serve", "--model", tiny_llama, "--port", "0", "--json"]
    for adapter in adapters:
        command += ["--adapter", adapter]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with started([*command, *OPTIONS, *options], limit, **pipes) as process:
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        yield process, json.loads(line)


@pytest.fixture(scope="module")
def shared(tiny_llama, tiny_adapters):
    """The process of one server for several tests, and what it said. The last of them ends it."""
    adapters = [f"talk={tiny_adapters['talk-a']}", f"plain={tiny_adapters['plain']}"]
    options = ["--max-loras", "4", "--enable-prompt-tokens-details"]
    with serving(tiny_llama, *adapters, options=options, limit=3600.0) as (process, ready):  # of this whole file
        yield process, ready


@pytest.fixture(scope="module")
def ready(shared):
    return shared[1]


@pytest.fixture(scope="module")
def client(ready):
    from openai import OpenAI

    return OpenAI(base_url=ready["url"], api_key="none", max_retries=0)


def complete(client, model, prompt=PROMPT):
    answer = client.completions.create(model=model, prompt=prompt, max_tokens=12, temperature=0)
    return whole(answer.choices[0].text)


def cached(client, model):
    """How many of the prompt's tokens came from the prefix cache."""
    answer = client.completions.create(model=model, prompt=PROMPT, max_tokens=1)
    return answer.usage.prompt_tokens_details.cached_tokens


def long_stream(client, model, tokens):
    """A long answer that has begun."""
    stream = client.completions.create(
        model=model, prompt=PROMPT, max_tokens=tokens, stream=True, extra_body={"ignore_eos": True}
    )
    next(stream)
    return stream


def ask_until_refused(client, model):
    """What comes in before a signal has arrived is still answered."""
    while True:
        client.completions.create(model=model, prompt="3 apples", max_tokens=1)


def whole(text):
    """Without a character that was cut in the middle of its bytes."""
    return text.rstrip("\ufffd")


def post(ready, route, **body):
    request = urllib.request.Request(
        f"{ready['url']}/{route}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    return urllib.request.urlopen(request, timeout=60).read().decode()


def expected(base, folder=None, prompt=PROMPT):
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    import llmkit.talklora  # noqa: F401

    model, tokenizer = (
        AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32),
        AutoTokenizer.from_pretrained(base),
    )
    if folder:
        model = PeftModel.from_pretrained(model, str(folder))
    inputs = tokenizer(prompt, return_tensors="pt")
    ids = model.generate(**inputs, max_new_tokens=12, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    return whole(tokenizer.decode(ids, skip_special_tokens=True))


def test_base_and_adapters_answer_by_name_as_transformers_does(ready, client, tiny_llama, tiny_adapters):
    assert ready["models"] == ["tiny-llama", "talk", "plain"]
    assert [model.id for model in client.models.list()] == ready["models"]
    for name, folder in (("tiny-llama", None), ("talk", tiny_adapters["talk-a"]), ("plain", tiny_adapters["plain"])):
        assert complete(client, name) == expected(tiny_llama, folder)


def test_an_adapter_comes_and_goes_and_comes_back_retrained(ready, client, tiny_llama, tiny_adapters, tmp_path):
    """Same name, same path, new weights: nothing of the old one, least of all its cached blocks, is met again."""
    from openai import NotFoundError

    folder = tmp_path / "mine"
    for source in ("talk-b", "talk-a"):
        shutil.copytree(tiny_adapters[source], folder, dirs_exist_ok=True)
        post(ready, "load_lora_adapter", lora_name="mine", lora_path=str(folder))
        assert cached(client, "mine") == 0
        assert cached(client, "mine") >= 32
        assert complete(client, "mine") == expected(tiny_llama, folder)
        post(ready, "unload_lora_adapter", lora_name="mine")
        with pytest.raises(NotFoundError):
            complete(client, "mine")


def test_an_adapter_that_does_not_fit_is_refused_and_the_server_goes_on(ready, client, own_adapter):
    (own_adapter / "adapter_model.safetensors").unlink()
    with pytest.raises(urllib.error.HTTPError) as caught:
        post(ready, "load_lora_adapter", lora_name="broken", lora_path=str(own_adapter))
    assert "adapter_model.safetensors is missing" in caught.value.read().decode()
    assert complete(client, "talk")


def test_sigterm_lets_a_running_request_finish(shared, client):
    """The last test that asks the shared server."""
    process, ready = shared
    stream = long_stream(client, "talk", 300)
    process.send_signal(signal.SIGTERM)
    reasons = [chunk.choices[0].finish_reason for chunk in stream]
    _, log = process.communicate()
    assert reasons[-1] == "length"
    assert process.returncode == 0, log
    with pytest.raises(ProcessLookupError):
        os.kill(ready["pid"], 0)


def test_what_fits_no_slot_is_built_in_and_what_outlives_the_drain_time_ends_clearly(tiny_llama, own_adapter):
    """One server for both. While it drains it refuses what is new."""
    from openai import APIError, APIStatusError, OpenAI

    path = own_adapter / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "top_k": 2}))
    options = ["--max-model-len", "1024", "--shutdown-timeout", "1"]
    with serving(tiny_llama, f"odd={own_adapter}", options=options) as (process, ready):
        assert ready["models"] == ["odd"]
        client = OpenAI(base_url=ready["url"], api_key="none", max_retries=0, timeout=60)
        assert complete(client, "odd") == expected(tiny_llama, own_adapter) != expected(tiny_llama)
        stream = long_stream(client, "odd", 850)
        process.send_signal(signal.SIGTERM)
        with pytest.raises(APIStatusError):  # an answer of the server, not a connection that is gone
            ask_until_refused(client, "odd")
        reasons, broken = [], False
        try:
            reasons = [chunk.choices[0].finish_reason for chunk in stream]
        except (APIError, httpx.HTTPError):
            broken = True
        _, log = process.communicate()
    assert broken or reasons[-1] == "abort", reasons
    assert process.returncode == 0, log
    assert log.count("warning: no LoRA slots for gates with top_k") == 1
    with pytest.raises(ProcessLookupError):
        os.kill(ready["pid"], 0)


def test_a_vllm_of_the_users_own_serves_a_talklora_adapter_that_its_command_line_names(
    tiny_llama, tiny_adapters, tmp_path
):
    """vLLM's own server, started without llmkit: the installed plugin sees the adapter and acts."""
    from openai import OpenAI

    port, folder = free_port(), tiny_adapters["talk-a"]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", tiny_llama, "--port", str(port)]
    command += ["--enable-lora", "--max-lora-rank", "16", "--lora-modules", f"mine={folder}", *OPTIONS[1:]]
    command += ["--kv-cache-memory-bytes", "256M", "--block-size", "32"]
    own = {name: value for name, value in os.environ.items() if name != "LLMKIT_VLLM"}
    own["VLLM_WORKER_MULTIPROC_METHOD"] = "fork"
    log = tmp_path / "log.txt"
    with log.open("w") as out, started(command, stdout=out, stderr=out, env=own) as process:
        url = f"http://127.0.0.1:{port}"
        while not answers(f"{url}/health"):
            assert process.poll() is None, log.read_text()[-3000:]
            time.sleep(0.3)
        client = OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
        assert complete(client, "mine") == expected(tiny_llama, folder) != expected(tiny_llama)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def answers(url):
    try:
        return urllib.request.urlopen(url, timeout=5).status == 200
    except OSError:
        return False


def test_a_server_that_dies_while_starting_shows_its_last_lines(tiny_llama):
    command = [sys.executable, "-m", "llmkit", "serve", "--model", tiny_llama, "--port", "0", "--", "--no-such-option"]
    done = run(command)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "error: the server died while starting (exit code 2)" in done.stderr
    assert "unrecognized arguments: --no-such-option" in done.stderr


def test_ctrl_c_while_starting_leaves_nothing_behind(tiny_llama):
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a background job ignores it
    )
    code += "from llmkit.cli.app import main; main(sys.argv[1:])"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with started([sys.executable, "-c", code, "serve", "--model", tiny_llama, "--port", "0"], **pipes) as process:
        assert process.stderr.readline().startswith("starting vLLM")
        time.sleep(1.0)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert process.returncode == 130, err
    assert out == ""
