"""Answers of servers beside the plain form of the protocol, and attempts to lead a client elsewhere."""

from __future__ import annotations

import json
import stat

import pytest
from helpers.fault_server import FaultServer
from helpers.processes import run

from llmkit.engines import ResponseCache, decode_reply, encode_reply, open_engine
from llmkit.engines.answers import one_line
from llmkit.errors import EngineError, UsageError
from llmkit.recipe.schema import EngineSection, ModelSection
from llmkit.resources import cache_dir
from llmkit.runs import Runner
from llmkit.types import Message, Request, Sampling, ToolCall, Usage


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LLMKIT_CACHE", str(tmp_path / "cache"))


def ask(url, *texts, cache=None, **settings):
    """text -> Reply, or the error that ended its request."""
    section = EngineSection(kind="openai", base_url=(url,), **{"retries": 0, "max_num_seqs": 4, **settings})

    def steps(text):
        return (yield Request((Message("user", text),), Sampling(max_tokens=50)))

    with Runner({"answerer": open_engine(ModelSection(path="tiny"), section)}, cache) as runner:
        return {f.key: f.error or f.result for f in runner.run((t, steps(t)) for t in texts)}


def with_message(**message):
    def change(answer):
        answer["choices"][0]["message"] |= message
        return answer

    return change


PARTS = [
    {"type": "thinking", "thinking": [{"type": "text", "text": "two and two"}]},
    {"type": "text", "text": "The answer"},
    {"type": "text", "text": " is 4."},
]


@pytest.mark.parametrize(
    ("content", "text", "reasoning"),
    [
        (PARTS, "The answer is 4.", "two and two"),
        (["plain ", {"text": "parts"}], "plain parts", ""),
        ([{"type": "reasoning", "summary": ["why"]}], "", "why"),
        (None, "", ""),
    ],
)
def test_content_may_be_a_list_of_parts(content, text, reasoning):
    with FaultServer(change=with_message(content=content)) as server:
        reply = ask(server.url, "what is it")["what is it"]
    assert (reply.text, reply.reasoning) == (text, reasoning)


def test_reasoning_in_no_form_at_all_leaves_the_answer():
    with FaultServer(change=with_message(reasoning_content=True)) as server:
        reply = ask(server.url, "what is it")["what is it"]
    assert (reply.text, reply.reasoning) == ("it is what", "")


def test_a_refusal_is_what_was_said():
    with FaultServer(change=with_message(content=None, refusal="I cannot help with that.")) as server:
        assert ask(server.url, "what is it")["what is it"].text == "I cannot help with that."


def test_a_content_filter_is_an_answer(tmp_path):
    with FaultServer(lambda text, attempt: "filter" if "bad" in text else None) as server:
        cache = ResponseCache(tmp_path / "replies.sqlite")
        replies = ask(server.url, "a bad word", "a good word", cache=cache)
        assert (replies["a bad word"].text, replies["a bad word"].finish_reason) == ("", "content_filter")
        assert replies["a good word"].text == "word good a"
        ask(server.url, "a bad word", cache=cache)
        assert server.tries["a bad word"] == 1, "and is kept as one"


@pytest.mark.parametrize(
    "change",
    [
        lambda answer: answer | {"choices": [answer["choices"][0] | {"message": None}]},
        lambda answer: answer | {"choices": [answer["choices"][0] | {"message": "just a text"}]},
        lambda answer: answer | {"choices": "none"},
        lambda answer: answer | {"choices": [None]},
        lambda answer: answer | {"choices": {"0": answer["choices"][0]}},
        lambda answer: [answer],
        lambda answer: "just a text",
        lambda answer: None,
        with_message(content=7),
        with_message(content=[{"type": "text", "text": 7}]),
    ],
)
def test_an_answer_in_no_form_at_all_is_a_failure_that_can_be_read(change):
    match = "a server fails its first calls: the answer "
    with FaultServer(change=change, logprobs=False) as server, pytest.raises(EngineError, match=match):
        ask(server.url, "what is it")


@pytest.mark.parametrize("page", ["models", "completions"])
def test_an_answer_nested_too_deeply_is_a_failure_that_can_be_read(page, monkeypatch):
    deep = b"[" * 50_000 + b"]" * 50_000

    def fault(handler, *_):
        handler._send_bytes(200, deep, {})

    with FaultServer(lambda text, attempt: fault if page == "completions" else None) as server:
        if page == "models":
            monkeypatch.setattr("helpers.fault_server._Handler.do_GET", fault)
            assert ask(server.url, "what is it")["what is it"].text == "it is what"
        else:
            with pytest.raises(EngineError, match="nested too deeply"):
                ask(server.url, "what is it")


@pytest.mark.parametrize("top", [None, [], [{"token": None, "logprob": "x"}]])
def test_log_probabilities_that_are_not_there_leave_the_words(top):
    def change(answer):
        answer["choices"][0]["logprobs"] = {"content": [{"token": "a", "logprob": -0.1, "top_logprobs": top}]}
        return answer

    with FaultServer(change=change) as server:
        assert ask(server.url, "what is it")["what is it"].text == "it is what"


@pytest.mark.parametrize(
    ("usage", "counted"),
    [
        ({"prompt_tokens": float("nan"), "completion_tokens": 1e30}, Usage()),
        ({"prompt_tokens": -3, "completion_tokens": "many", "prompt_tokens_details": {"cached_tokens": None}}, Usage()),
        ({"prompt_tokens": 5.0, "completion_tokens": 2}, Usage(5, 2)),
        ([1, 2], Usage()),
    ],
)
def test_a_count_that_is_none_is_no_count(usage, counted):
    with FaultServer(change=lambda answer: answer | {"usage": usage}) as server:
        assert ask(server.url, "what is it")["what is it"].usage == counted
    stored = json.loads('{"text": "a", "usage": [NaN, 1e30, 3], "finish_reason": "stop"}')
    assert decode_reply(stored).usage == Usage(0, 0, 3), "and a journal that holds one can be read"


def test_a_whole_answer_has_to_come_in_time():
    with FaultServer(lambda text, attempt: "drip" if text == "slow" else None) as server:
        done = ask(server.url, "slow", timeout_s=1.0)
    assert "no whole answer within the time limit" in done["slow"].message


@pytest.mark.parametrize(("status", "words"), [("401", "refuses the request"), ("500", "server error"), ("429", "429")])
def test_a_failure_keeps_the_words_of_the_server(status, words):
    with FaultServer(lambda text, attempt: status if text == "hm" else None) as server:
        message = ask(server.url, "hm")["hm"].message
    assert words in message
    assert ("slow down" if status == "429" else f"fault {status}") in message


def test_a_page_is_quoted_without_its_tags():
    page = "<html><style>p {color: red}</style>\n<h1>Gateway</h1><p>is\nbroken" + "!" * 5000
    with FaultServer(change=lambda answer: page) as server, pytest.raises(EngineError, match="Gateway is broken!") as e:
        ask(server.url, "what is it")
    assert len(e.value.message) < 700
    assert one_line("<" * 100_000) == "<" * 500


@pytest.mark.parametrize("place", ["http://127.0.0.1:{port}/v1/chat/completions", "http://localhost:{port}/x"])
def test_a_redirect_to_another_server_carries_nothing_along(place):
    with FaultServer() as other, FaultServer(lambda t, a: f"redirect {target}" if t == "private" else None) as server:
        target = place.format(port=other.url.split(":")[2].removesuffix("/v1"))
        done = ask(server.url, "private", "common")
        assert "redirects to another server, http://" in done["private"].message
        assert "--base-url" in done["private"].hint
        assert other.paths == []
        assert done["common"].text == "common"


def test_a_reply_that_never_ends_is_cut_off():
    def flood(handler, body):
        handler._send_chunks((b" " * 2**20 for _ in range(100)), "application/json")

    with FaultServer(lambda text, attempt: flood if text == "flood" else None) as server:
        done = ask(server.url, "flood", "drop")
        assert server.tries["flood"] == 1
    assert "sends more than 16 MiB: the reply was cut off" in done["flood"].message
    assert done["drop"].text == "drop"


def test_a_redirect_within_the_server_is_followed():
    with FaultServer(lambda t, a: f"redirect {server.url}/chat/completions" if t == "go" and a < 1 else None) as server:
        assert ask(server.url, "go")["go"].text == "go"


def test_a_fault_of_tls_is_named(tmp_path):
    with FaultServer() as server, pytest.raises(EngineError, match="the TLS connection to https://") as caught:
        ask(server.url.replace("http://", "https://"), "what is it")
    assert "SSL_CERT_FILE" in caught.value.hint
    assert "no server answers" not in caught.value.message


def test_a_certificate_that_nobody_signed_is_named_and_its_owner_may_trust_it(tmp_path, monkeypatch):
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    made += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(cert)]
    try:
        assert run(made).returncode == 0
    except FileNotFoundError:
        pytest.skip("openssl is not here")
    with FaultServer(certificate=(cert, key)) as server:
        with pytest.raises(EngineError, match=r"certificate verify failed: self.signed certificate"):
            ask(server.url, "what is it")
        monkeypatch.setenv("SSL_CERT_FILE", str(cert))
        assert ask(server.url, "what is it")["what is it"].text == "it is what"


def test_an_echoed_key_is_kept_nowhere_and_the_users_own_words_are_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "some-key-of-mine")
    monkeypatch.setenv("SORT_KEY", "customer-number")

    def echo(answer):
        said = answer["choices"][0]["message"]["content"]
        return with_message(content=f"{said} Bearer some-key-of-mine customer-number")(answer)

    with FaultServer(change=echo, logprobs=False) as server, ResponseCache() as cache:
        done = ask(server.url, "my question", "it says some-key-of-mine", cache=cache)
    assert done["my question"].text == "question my Bearer *** customer-number"
    assert done["it says some-key-of-mine"].text.startswith("some-key-of-mine says it Bearer some-key-of-mine")
    files = [p for p in cache_dir().rglob("*") if p.is_file() and not p.name.endswith(".lock")]
    kept = {p.parent.name if p.suffix == ".json" else p.name for p in files}
    assert {"responses.sqlite", "canaries"} <= kept
    assert {stat.S_IMODE(p.stat().st_mode) for p in files} == {0o600}
    assert not any(b"some-key-of-mine" in p.read_bytes() for p in files if p.suffix == ".json")


def test_an_older_cache_becomes_private(tmp_path):
    path = tmp_path / "replies.sqlite"
    with ResponseCache(path) as cache:
        path.chmod(0o644)
        with ResponseCache(path):
            assert {stat.S_IMODE(p.stat().st_mode) for p in tmp_path.iterdir()} == {0o600}
        cache.info()


@pytest.mark.parametrize("content", ["The answer", None])
def test_a_reply_that_a_filter_cut_is_an_answer(content):
    def cut(answer):
        answer["choices"][0] |= {
            "finish_reason": "content_filter",
            "message": {"role": "assistant", "content": content},
        }
        return answer

    with FaultServer(change=cut) as server:
        reply = ask(server.url, "what is it")["what is it"]
        assert server.tries["what is it"] == 1
    assert (reply.text, reply.finish_reason) == (content or "", "content_filter")


@pytest.mark.parametrize(
    ("error", "filtered"),
    [
        ({"code": "content_filter"}, True),
        ({"type": "content_filter", "code": None}, True),
        ({"code": "bad", "innererror": {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {}}}, True),
        ({"code": "invalid_value", "innererror": None}, False),
        ("content_filter", False),
    ],
)
def test_the_shapes_of_a_content_filter(error, filtered):
    def refuse(handler, body):
        handler._send(400, {"error": error})

    with FaultServer(lambda text, attempt: refuse if text == "bad" else None) as server:
        reply = ask(server.url, "bad")["bad"]
        assert server.tries["bad"] == 1
    assert (getattr(reply, "finish_reason", None) == "content_filter") is filtered


TOOLS = ({"type": "function", "function": {"name": "find", "parameters": {"type": "object", "x-own": [1, None]}}},)


def with_tools(url):
    section = EngineSection(kind="openai", base_url=(url,), retries=0)

    def steps():
        return (yield Request((Message("user", "find it"),), tools=TOOLS))

    with Runner({"answerer": open_engine(ModelSection(path="tiny"), section)}) as runner:
        (done,) = runner.run([("a", steps())])
    return done.result


def test_tools_go_to_the_server_and_their_calls_come_back(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "some-key-of-mine")
    calls = [
        {"id": "1", "type": "function", "function": {"name": "find", "arguments": '{"q": "ä", "n": [1, 2]}'}},
        {"id": "2", "type": "function", "function": {"name": "end", "arguments": "not JSON, some-key-of-mine"}},
        {"id": "3", "type": "function", "function": {"name": "now", "arguments": {"already": True}}},
        {"id": "4", "type": "function", "function": {"name": None}},
        "no call",
    ]
    with FaultServer(change=with_message(content=None, tool_calls=calls), logprobs=False) as server:
        reply = with_tools(server.url)
        asked = next(body for body in server.bodies if "tools" in body)
        assert sum("tools" in body for body in server.bodies) == 1, "the canary asks without"
    assert asked["tools"] == list(TOOLS)
    assert reply.text == ""
    assert reply.tool_calls == (
        ToolCall("find", {"q": "ä", "n": [1, 2]}),
        ToolCall("end", "not JSON, ***"),
        ToolCall("now", {"already": True}),
    )
    assert decode_reply(json.loads(json.dumps(encode_reply(reply)))) == reply


def test_an_engine_that_passes_no_tools_on_says_so():
    def steps():
        return (yield Request((Message("user", "find it"),), tools=TOOLS))

    with FaultServer() as server:
        section = EngineSection(kind="openai", base_url=(server.url,))
        engine = open_engine(ModelSection(path="tiny", chat_template="none"), section)
        with Runner({"answerer": engine}) as runner, pytest.raises(UsageError, match="passes no tools on"):
            list(runner.run([("a", steps())]))
