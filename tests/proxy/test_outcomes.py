"""What becomes of a text: once, within limits, and the same for good."""

from __future__ import annotations

import asyncio
import json

import pytest
from helpers.upstreams import ScriptedWorker, chat, echo, get, here, post, repair_file, scripted, whole
from hypothesis import given
from hypothesis import strategies as st

from llmkit.cli import app
from llmkit.errors import UsageError
from llmkit.proxy import Proxy, opened, opening
from llmkit.proxy.outcomes import Budget, Memory, Outcome, Outcomes
from llmkit.proxy.settings import Settings
from llmkit.proxy.upstream import Upstream
from llmkit.proxy.worker import Lost, Worker, _answer
from llmkit.repair import Repair, Repaired, RepairFile, document
from llmkit.repair.document import AskedModel, GateFile, Guarantee, Knots
from llmkit.types import Reply, Request, Usage

GUARANTEE = Guarantee(
    harm=0.01, confidence=0.95, definition="changed", rows=500, fired=5, harmed=0, upper=0.006, date="2026-11-30"
)
GATE = GateFile(scales=(Knots(detector="unknown_words", knots=((0.0, 0.0), (1.0, 2.0))),), threshold=1.5)


async def in_capitals(text):
    await asyncio.sleep(0)
    return Repaired(text.upper(), action="repaired" if text.upper() != text else "unchanged")


def outcomes_of(worker, texts, milliseconds=1000.0, memory=None):
    async def run():
        many = Outcomes([worker], memory)
        budget = Budget.of(milliseconds, 0)
        return await asyncio.gather(*(many.of([text], budget, None) for text in texts))

    return [outcome for outcomes in asyncio.run(run()) for outcome in outcomes]


@given(st.lists(st.sampled_from(["a", "b", "c", "D"]), max_size=12))
def test_each_text_is_repaired_once_whoever_asks(texts):
    worker = ScriptedWorker(in_capitals)
    outcomes = outcomes_of(worker, texts)
    assert [outcome.text or text for text, outcome in zip(texts, outcomes, strict=True)] == [t.upper() for t in texts]
    assert sorted(worker.texts) == sorted(set(texts))


def test_a_budget_of_no_time_lets_a_text_pass():
    async def never(text):
        await asyncio.sleep(60)

    assert outcomes_of(ScriptedWorker(never), ["a"], 1) == [Outcome(None, "failed", reason="time")]


@pytest.mark.parametrize(
    ("error", "reason"), [(Lost("died"), "corrector died"), (ValueError("secret text"), "ValueError")]
)
def test_whatever_fails_a_text_passes(error, reason):
    async def fails(text):
        raise error

    assert outcomes_of(ScriptedWorker(fails), ["a"]) == [Outcome(None, "failed", reason=reason)]


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 30)), max_size=40),
    st.integers(1, 5),
    st.integers(1, 60),
)
def test_memory_is_bounded_by_texts_and_characters(puts, most_texts, most_characters):
    memory = Memory(most_texts, most_characters)
    held = {}
    for number, length in puts:
        key = bytes([number])
        if memory.get(key) is None:
            memory.put(key, Outcome("a" * length, "repaired"))
        held[key] = length
        kept = [memory.get(key) for key in held]
        assert len(memory) <= most_texts
        assert sum(len(outcome.text) for outcome in kept if outcome) <= most_characters


def test_tokens_are_reserved_and_given_back():
    budget = Budget.of(1000, 300)

    async def ask(request):
        return Reply("a", usage=Usage(completion=10))

    async def run():
        return [await budget.ask(Request(()), ask) for _ in range(6)]

    # Each may write 256 tokens and writes 10: after four of them 256 are not left.
    answers = asyncio.run(run())
    assert [isinstance(answer, Reply) for answer in answers] == [True] * 5 + [False]
    assert budget.tokens == 250


def test_what_a_corrector_raises_is_a_failure_and_no_more():
    repair = Repair(RepairFile(chain="fold"))

    class Raising:
        def correct(self, text, options=()):
            raise ZeroDivisionError
            yield

    repair.chain = Raising()
    lost = _answer(repair, {}, 0, "a")
    assert isinstance(lost, Lost)
    assert str(lost) == "ZeroDivisionError"
    assert isinstance(_answer(repair, {}, 7, []), Lost)  # of a process before this one


def test_a_model_corrects_within_its_tokens(tmp_path):
    """The chain `model` asks the server behind the proxy, with the key of the client."""

    async def corrects(seen, send):
        asked = json.loads(seen.body)
        if "Correct" not in asked["messages"][0]["content"]:
            await echo(seen, send)
            return
        message = {"role": "assistant", "content": "<think>hm</think>I have not received my order"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        await whole(send, {"choices": [choice], "usage": {"completion_tokens": 9}})

    path = repair_file(tmp_path, "model", instruction="Correct the text.", max_tokens=64)
    one = Worker(document.read(path))
    with scripted() as upstream:
        upstream.reply = corrects
        settings = Settings("repair", budget_tokens=64, budget_ms=60_000)
        with here(Proxy(settings, Upstream(upstream.url), [one])) as url:
            noisy = "I have not recieved my ordr"
            status, headers, _ = post(f"{url}/v1/chat/completions", chat(noisy), Authorization="Bearer of-a-client")
            assert (status, headers["x-llmkit-repair"]) == (200, "repaired")
            asked, answered = upstream.seen
            assert json.loads(asked.body)["model"] == "m"
            assert asked.header("authorization") == "Bearer of-a-client"
            assert json.loads(answered.body)["messages"][0]["content"] == "I have not received my order"
            _, headers, _ = post(f"{url}/v1/chat/completions", chat(noisy))
            assert (headers["x-llmkit-repair"], len(upstream.seen)) == ("repaired", 3)  # known, so not asked again
            upstream.reply = refuses
            _, headers, _ = post(f"{url}/v1/completions", {"model": "m", "prompt": f"{noisy} two"})
            assert headers["x-llmkit-repair"] == "failed"
            assert 'llmkit_proxy_failures_total{reason="model"} 1' in get(f"{url}/metrics")


async def refuses(seen, send):
    await whole(send, {"error": "no"}, 500)


def guaranteed(tmp_path, **more):
    path = tmp_path / "repair.json"
    document.write(RepairFile(chain="fold+spell", gate=GATE, guarantee=GUARANTEE, **more), path)
    return str(path)


@pytest.fixture
def no_workers(monkeypatch):
    monkeypatch.setattr(opening, "Worker", lambda document: None)


@pytest.mark.usefixtures("no_workers")
class TestGuarantee:
    def test_without_one_a_repair_is_only_looked_at(self, tmp_path):
        with scripted() as upstream:
            behind = Upstream(upstream.url)
            path = str(repair_file(tmp_path))
            with pytest.raises(UsageError, match="not served in the mode `repair`: no guarantee"):
                opened(Settings("repair"), path, behind)
            assert opened(Settings("repair"), path, behind, without_guarantee=True).settings.model is None
            opened(Settings("shadow"), path, behind, log=tmp_path / "shadow.jsonl")

    def test_with_one_the_calibrated_model_is_repaired_and_no_other(self, tmp_path):
        path = guaranteed(tmp_path, model=AskedModel(model="m"))
        with scripted() as upstream:
            notes = []
            proxy = opened(Settings("repair"), path, Upstream(upstream.url), note=notes.append)
            assert proxy.settings.model == "m"
            assert "at most 1 % of clean texts" in notes[0]

    @pytest.mark.parametrize(
        ("model", "named", "known", "reason"),
        [
            (AskedModel(model="other"), None, None, "calibrated for the model `other`, and the upstream has m"),
            (AskedModel(model="m", adapter="abc"), None, None, "an adapter of m: give the upstream's name"),
            (AskedModel(model="m"), "n", None, "calibrated for the model `n`"),
            (AskedModel(model="m", revision="1"), None, {"m": AskedModel(model="m", revision="2")}, "another model"),
        ],
    )
    def test_one_for_another_model_is_void(self, tmp_path, model, named, known, reason):
        path = guaranteed(tmp_path, model=model)
        with scripted() as upstream, pytest.raises(UsageError, match=reason):
            opened(Settings("repair", model=named), path, Upstream(upstream.url), known=known)

    def test_one_of_a_served_adapter_is_known_by_its_content(self, tmp_path):
        path = guaranteed(tmp_path, model=AskedModel(model="base", adapter="abc"))
        known = {"base": AskedModel(model="base"), "mine": AskedModel(model="base", adapter="abc")}
        proxy = opened(Settings("repair"), path, Upstream("http://127.0.0.1:9"), known=known)
        assert proxy.settings.model == "mine"

    def test_one_of_other_code_is_void(self, tmp_path):
        path = guaranteed(tmp_path, made_with={"llmkit.repair": "other"})
        with scripted() as upstream, pytest.raises(UsageError, match=r"guarantee void: llmkit\.repair"):
            opened(Settings("repair"), path, Upstream(upstream.url))

    def test_log_probabilities_are_not_asked_for(self, tmp_path):
        path = str(repair_file(tmp_path, "spell_in_context"))
        with pytest.raises(UsageError, match="needs log-probabilities"):
            opened(Settings("repair"), path, Upstream("http://127.0.0.1:9"), without_guarantee=True)


def test_requests_to_another_model_pass():
    one = ScriptedWorker(in_capitals)
    with scripted() as upstream, here(Proxy(Settings("repair", model="m"), Upstream(upstream.url), [one])) as url:
        body = json.dumps({**chat("I have not recieved my ordr"), "model": "other"}).encode()
        _, headers, _ = post(f"{url}/v1/chat/completions", body)
        assert (headers["x-llmkit-repair"], upstream.seen[-1].body) == ("skipped", body)
        assert post(f"{url}/v1/chat/completions", chat("mine"))[1]["x-llmkit-repair"] == "repaired"
        assert 'llmkit_proxy_skipped_total{reason="other model"} 1' in get(f"{url}/metrics")


@pytest.mark.parametrize(
    ("flags", "variables", "message"),
    [
        (["--mode", "repair"], {}, "the mode `repair` needs a repair"),
        (["--mode", "fix"], {}, "there is no mode `fix`"),
        (["--mode", "pass", "--api-key-env", "NOT_SET"], {}, "the variable NOT_SET holds no key"),
        (
            ["--mode", "pass", "--host", "0.0.0.0", "--upstream-key-env", "KEY"],
            {"KEY": "a-key-of-somebody"},
            "anyone who can reach 0.0.0.0",
        ),
        (["--mode", "shadow", "--repair", "nowhere.json"], {}, "nowhere.json"),
    ],
)
def test_what_cannot_be_served_is_said_before_anything_starts(capsys, monkeypatch, flags, variables, message):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert app.run(["proxy", "--upstream", "http://127.0.0.1:9/v1", *flags]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert "a-key-of" not in said
