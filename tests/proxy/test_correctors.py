"""Correctors that ask a model do so at the server behind the proxy: as the client, within limits, and once."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
from helpers.upstreams import ScriptedWorker, chat, echo, get, here, post, repair_file, scripted, whole

from llmkit.cli import app
from llmkit.errors import UsageError
from llmkit.proxy import Proxy, opened, opening
from llmkit.proxy.settings import Settings
from llmkit.proxy.upstream import Upstream
from llmkit.proxy.worker import Worker
from llmkit.repair import Repaired, RepairFile, document
from llmkit.repair.document import AskedModel, GateFile, Guarantee, Knots

pytestmark = pytest.mark.slow

CHAT = "/v1/chat/completions"
NOISY, FIXED = "I have not recieved my ordr", "I have not received my order"
INSTRUCTION = "Correct the text."
PATIENT = {"budget_ms": 60_000}


def is_correction(asked):
    return any(words in asked["messages"][0]["content"] for words in (INSTRUCTION, "Write each word in brackets"))


def corrections(seen):
    """The bodies of the requests that ask for a correction."""
    return [body for body in (json.loads(one.body) for one in seen) if is_correction(body)]


def corrected_to(say):
    """A server that echoes, and answers a request for a correction with `say(number, body)`, by their order."""
    numbers = iter(range(1_000))

    async def reply(seen, send):
        asked = json.loads(seen.body)
        if not is_correction(asked):
            await echo(seen, send)
            return
        message = {"role": "assistant", "content": say(next(numbers), asked)}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        await whole(send, {"choices": [choice], "usage": {"completion_tokens": 9}})

    return reply


@pytest.fixture
def upstream():
    with scripted() as started:
        yield started


def worker_of(folder, chain):
    return Worker(document.read(repair_file(folder, chain, instruction=INSTRUCTION, max_tokens=64, votes=3)))


@pytest.fixture(scope="module")
def voting(tmp_path_factory):
    one = worker_of(tmp_path_factory.mktemp("vote"), "vote")
    yield one
    one.close()


@pytest.fixture
def vote(voting, monkeypatch):
    """A worker of the chain `vote` that outlives the proxies of several tests."""
    monkeypatch.setattr(voting, "close", lambda: None)
    return voting


def test_votes_are_asked_for_at_once_with_seeds_of_their_own(vote, upstream):
    meant = ["I have not received my ordr", "I have not received my order", "I have got not recieved my order"]
    upstream.reply = corrected_to(lambda number, asked: meant[number])
    with here(Proxy(Settings("repair", **PATIENT), Upstream(upstream.url), [vote])) as url:
        _, headers, _ = post(f"{url}{CHAT}", chat(NOISY), Authorization="Bearer of-a-client", api_key="an-azure-key")
        metrics = get(f"{url}/metrics")
    *votes, answered = upstream.seen
    assert headers["x-llmkit-repair"] == "repaired"
    assert json.loads(answered.body)["messages"][0]["content"] == FIXED  # what two of three say of each word
    bodies = corrections(votes)
    assert len(bodies) == 3
    assert len({body["seed"] for body in bodies}) == 3
    assert {(body["model"], body["temperature"], body["max_tokens"]) for body in bodies} == {("m", 0.7, 64)}
    assert {(one.header("authorization"), one.header("api-key")) for one in votes} == {
        ("Bearer of-a-client", "an-azure-key")
    }
    assert "of-a-client" not in metrics + str(headers)


def test_votes_beyond_the_tokens_let_the_text_pass(vote, upstream):
    upstream.reply = corrected_to(lambda number, asked: FIXED)
    text = f"{NOISY} of tokens"
    with here(Proxy(Settings("repair", budget_tokens=128, **PATIENT), Upstream(upstream.url), [vote])) as url:
        _, headers, answer = post(f"{url}{CHAT}", chat(text))
        assert 'llmkit_proxy_failures_total{reason="tokens"} 1' in get(f"{url}/metrics")
    assert headers["x-llmkit-repair"] == "failed"
    assert json.loads(answer)["choices"][0]["message"]["content"] == text
    assert len(corrections(upstream.seen)) == 2  # a third could write 64 tokens more


def test_a_corrector_that_takes_too_long_is_left(vote, upstream):
    async def slow(seen, send):
        if is_correction(json.loads(seen.body)):
            await asyncio.sleep(60)
        await echo(seen, send)

    upstream.reply = slow
    text = f"{NOISY} in time"
    with here(Proxy(Settings("repair", budget_ms=300), Upstream(upstream.url), [vote])) as url:
        _, headers, answer = post(f"{url}{CHAT}", chat(text))
        assert 'llmkit_proxy_failures_total{reason="time"} 1' in get(f"{url}/metrics")
    assert headers["x-llmkit-repair"] == "failed"
    assert text in answer.decode()
    deadline = time.monotonic() + 20
    while upstream.left < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert upstream.left == 3  # the server need not go on with what nobody waits for


def no_answer(value, status=200):
    async def reply(seen, send):
        if is_correction(json.loads(seen.body)):
            await whole(send, value, status)
        else:
            await echo(seen, send)

    return reply


@pytest.mark.parametrize(
    ("number", "reply"),
    enumerate(
        [
            no_answer({"error": "no"}, 500),
            no_answer({"error": "slow down"}, 429),
            no_answer({"choices": []}),
            no_answer({"choices": [{"message": {"content": None}, "finish_reason": "stop"}]}),
            no_answer(["no object"]),
            no_answer({"choices": [{"message": {"content": "a" * 5_000_000}, "finish_reason": "stop"}]}),
        ]
    ),
)
def test_without_an_answer_of_the_corrector_the_text_passes(vote, upstream, number, reply):
    upstream.reply = reply
    text = f"{NOISY} {number}"
    with here(Proxy(Settings("repair", **PATIENT), Upstream(upstream.url), [vote])) as url:
        status, headers, answer = post(f"{url}{CHAT}", chat(text))
        assert 'llmkit_proxy_failures_total{reason="model"} 1' in get(f"{url}/metrics")
    assert (status, headers["x-llmkit-repair"]) == (200, "failed")
    assert text in answer.decode()


@pytest.mark.parametrize("said", ["", "It is 7.", "Sure! Here is what I think of it, at length. " * 9, "```"])
def test_a_reply_that_is_no_correction_changes_nothing(vote, upstream, said):
    upstream.reply = corrected_to(lambda number, asked: said)
    text = f"{NOISY} {len(said)}"
    with here(Proxy(Settings("repair", **PATIENT), Upstream(upstream.url), [vote])) as url:
        _, headers, answer = post(f"{url}{CHAT}", chat(text))
    assert headers["x-llmkit-repair"] == "unchanged"
    assert text in answer.decode()


def test_a_client_without_a_key_spoils_no_text_for_others(vote, upstream):
    async def guarded(seen, send):
        if seen.header("authorization") != "Bearer right":
            await whole(send, {"error": "no"}, 401)
        else:
            await corrected_to(lambda number, asked: f"{FIXED} for all")(seen, send)

    upstream.reply = guarded
    with here(Proxy(Settings("repair", **PATIENT), Upstream(upstream.url), [vote])) as url:
        request = chat(f"{NOISY} for all")
        assert post(f"{url}{CHAT}", request, Authorization="Bearer wrong")[0] == 401
        status, headers, _ = post(f"{url}{CHAT}", request, Authorization="Bearer right")
    assert (status, headers["x-llmkit-repair"]) == (200, "repaired")


def test_a_text_that_one_model_corrected_is_another_text_for_another_model(vote, upstream):
    upstream.reply = corrected_to(lambda number, asked: f"{FIXED if asked['model'] == 'm' else NOISY} by whom")
    with here(Proxy(Settings("repair", **PATIENT), Upstream(upstream.url), [vote])) as url:
        body = chat(f"{NOISY} by whom")
        words = [post(f"{url}{CHAT}", {**body, "model": name})[1]["x-llmkit-repair"] for name in ("n", "m", "n")]
    assert words == ["unchanged", "repaired", "unchanged"]
    assert len(corrections(upstream.seen)) == 6  # three votes of each model, once


def test_the_proxys_own_key_goes_to_no_corrector(vote, upstream):
    upstream.reply = corrected_to(lambda number, asked: f"{FIXED} mine")
    settings = Settings("repair", own_key="the-key-of-the-proxy", **PATIENT)
    with here(Proxy(settings, Upstream(upstream.url, key="the-key-of-the-upstream"), [vote])) as url:
        answer = post(f"{url}{CHAT}", chat(f"{NOISY} mine"), Authorization="Bearer the-key-of-the-proxy")
    assert answer[1]["x-llmkit-repair"] == "repaired"
    assert {one.header("authorization") for one in upstream.seen} == {"Bearer the-key-of-the-upstream"}


def test_of_two_proxies_the_second_repairs_no_question_of_the_first(vote, upstream):
    upstream.reply = corrected_to(lambda number, asked: f"{FIXED} twice")

    async def in_capitals(text):
        return Repaired(text.upper(), action="repaired")

    second = Proxy(Settings("repair"), Upstream(upstream.url), [ScriptedWorker(in_capitals)])
    with here(second) as behind, here(Proxy(Settings("repair", **PATIENT), Upstream(behind), [vote])) as url:
        _, headers, answer = post(f"{url}{CHAT}", chat(f"{NOISY} twice"))
        assert 'llmkit_proxy_skipped_total{reason="off"} 3' in get(f"{behind}/metrics")
        assert f"{FIXED} twice".upper() in answer.decode()
        assert f"{NOISY} twice" in corrections(upstream.seen)[0]["messages"][0]["content"]
        assert headers.get_all("x-llmkit-repair") == ["repaired"]  # by the first
        assert NOISY in post(f"{url}{CHAT}", chat(NOISY), x_llmkit_repair="off")[2].decode()  # off is off for both


def test_an_adapter_is_asked_for_the_words_in_doubt_alone(tmp_path, upstream):
    upstream.reply = corrected_to(lambda number, asked: "payd: pay")
    settings = Settings("repair", corrector="speller", **PATIENT)
    with here(Proxy(settings, Upstream(upstream.url), [worker_of(tmp_path, "adapter")])) as url:
        _, headers, answer = post(f"{url}{CHAT}", chat("Wher is my parcl, I payd for fast delivry"))
        assert headers["x-llmkit-repair"] == "repaired"
        assert "Where is my parcel, I pay for fast delivery" in answer.decode()
        (asked,) = corrections(upstream.seen)
        assert "Where is my parcel, I [payd: paid, pay] for fast delivery" in asked["messages"][0]["content"]
        assert (asked["model"], asked["temperature"]) == ("speller", 0.0)
        assert "seed" not in asked
        upstream.reply = corrected_to(lambda number, asked: "I cannot say.")
        assert post(f"{url}{CHAT}", chat("I oderd a kettle and got a pot"))[1]["x-llmkit-repair"] == "unchanged"
        upstream.reply = no_answer({"error": "no"}, 500)
        assert post(f"{url}{CHAT}", chat("I want a refnd for the cak that came lat"))[1]["x-llmkit-repair"] == "failed"


GUARANTEE = Guarantee(
    harm=0.01, confidence=0.95, definition="changed", rows=500, fired=5, harmed=0, upper=0.006, date="2026-11-30"
)
GATE = GateFile(scales=(Knots(detector="unknown_words", knots=((0.0, 0.0), (1.0, 2.0))),), threshold=1.5)


@pytest.fixture
def no_workers(monkeypatch):
    monkeypatch.setattr(opening, "Worker", lambda document: None)


def settings_of(tmp_path, chain, corrector, named=None, known=None):
    """The settings of a proxy whose repair was calibrated for the model `m` with this corrector."""
    path = tmp_path / "repair.json"
    model = AskedModel(model="m", corrector=corrector)
    document.write(RepairFile(chain=chain, instruction="a", gate=GATE, guarantee=GUARANTEE, model=model), path)
    with scripted() as upstream:
        return opened(Settings("repair", corrector=named), str(path), Upstream(upstream.url), known=known).settings


@pytest.mark.usefixtures("no_workers")
class TestNames:
    def test_the_model_that_answers_corrects_where_it_did_so_before(self, tmp_path):
        settings = settings_of(tmp_path, "fold+model", "m")
        assert (settings.model, settings.corrector) == ("m", None)

    def test_also_an_adapter_that_is_served_beside_its_base(self, tmp_path):
        known = {"m": AskedModel(model="m", adapter="b"), "mine": AskedModel(model="m")}
        settings = settings_of(tmp_path, "model", "m", known=known)
        assert (settings.model, settings.corrector) == ("mine", None)

    def test_another_one_is_asked_by_its_name(self, tmp_path):
        known = {"m": AskedModel(model="m"), "speller": AskedModel(model="m", adapter="s")}
        assert settings_of(tmp_path, "adapter", "speller", known=known).corrector == "speller"

    def test_another_one_that_is_not_there_makes_the_guarantee_void(self, tmp_path):
        with pytest.raises(UsageError, match="calibrated with the corrector `big`, and the upstream has m"):
            settings_of(tmp_path, "model", "big")
        with pytest.raises(UsageError, match=r"the upstream has no model `bgi` to correct"):
            settings_of(tmp_path, "model", "big", named="bgi")
        assert settings_of(tmp_path, "model", "big", named="m").corrector == "m"

    def test_one_that_has_to_be_trained_is_named_or_refused(self, tmp_path):
        with pytest.raises(UsageError, match="`adapter` asks a model that was trained to correct"):
            settings_of(tmp_path, "spell+adapter", None)
        with pytest.raises(UsageError, match="`adapter` asks a model that was trained to correct"):
            settings_of(tmp_path, "adapter", "folder/of/it")
        assert settings_of(tmp_path, "adapter", None, named="m").corrector == "m"

    def test_a_chain_that_asks_nobody_has_none(self, tmp_path):
        assert settings_of(tmp_path, "fold+spell", None, named="nobody").corrector is None


def test_a_proxy_before_itself_is_refused(capsys):
    flags = ["--upstream", "http://localhost:8100/v1", "--mode", "pass"]
    assert app.run(["proxy", *flags]) == 2
    assert "is the address of this proxy" in capsys.readouterr().err
