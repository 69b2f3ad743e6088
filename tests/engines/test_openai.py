"""The openai engine against a server that fails: every question ends answered or recorded, none lost or asked twice."""

from __future__ import annotations

import errno
import math
import os
import threading
import time
import zlib
from collections import Counter

import pytest
from helpers.fault_server import FaultServer

from llmkit.engines import ResponseCache, canary, open_engine, server_engine
from llmkit.engines.client import retry_after
from llmkit.errors import EngineError, Incomplete, LlmkitError, UsageError
from llmkit.recipe.schema import EngineSection, ModelSection
from llmkit.runs import Runner
from llmkit.types import Message, Request, Sampling


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LLMKIT_CACHE", str(tmp_path / "cache"))


def connect(*urls, model="tiny", key="EMPTY", **settings):
    given = {"timeout_s": 30.0, "retries": 3, "max_num_seqs": 8, **settings}
    return open_engine(ModelSection(path=model), EngineSection(kind="openai", base_url=urls, **given))


def identify(server, **settings):
    engine = connect(server.url, **settings)
    try:
        return engine.identity
    finally:
        engine.close()


def ask(text):
    def steps():
        reply = yield Request((Message("user", text),), Sampling(max_tokens=50))
        return reply.text

    return text, steps()


def run(engine, texts, cache=None):
    with Runner({"answerer": engine}, cache) as runner:
        return {f.key: f for f in runner.run(ask(t) for t in texts)}


QUESTIONS = [f"question number {i}" for i in range(40)]


@pytest.mark.parametrize("fault", ["reset", "429", "429 0.1", "429 soon", "500", "503", "stall", "truncated", "empty"])
def test_a_passing_fault_is_tried_again(fault):
    hit = {t for i, t in enumerate(QUESTIONS) if i % 8 == 0}
    with FaultServer(lambda text, attempt: fault if text in hit and attempt < 2 else None) as server:
        done = run(connect(server.url, timeout_s=1.0 if fault == "stall" else 30.0), QUESTIONS)
    assert {k: f.result for k, f in done.items()} == {t: " ".join(reversed(t.split())) for t in QUESTIONS}
    assert all(server.tries[t] == (3 if t in hit else 1) for t in QUESTIONS)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("2", 2.0),
        ("0.5", 0.5),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 30.0),
        ("Tue, 20 Oct 2015 07:28:00 GMT", 0.0),
        ("Wed, 99 Oct 2015 07:28:00 GMT", None),
        ("soon", None),
        ("-1", None),
        ("1e999", math.inf),
        ("nan", None),
        ("", None),
    ],
)
def test_what_a_server_may_say_of_when_to_come_again(value, seconds, monkeypatch):
    monkeypatch.setattr("llmkit.engines.client.time.time", lambda: 1445412450.0)  # 07:27:30 on 21 October 2015
    assert retry_after({"retry-after": value} if value else {}) == seconds


def test_a_wait_is_cut_at_the_longest(monkeypatch):
    monkeypatch.setattr(server_engine, "_LONGEST_WAIT", 0.05)
    with FaultServer(lambda text, attempt: "429 3600" if attempt < 2 and text == "wait" else None) as server:
        began = time.monotonic()
        done = run(connect(server.url), ["wait", "go on"])
    assert {k: f.result for k, f in done.items()} == {"wait": "wait", "go on": "on go"}
    assert 0.1 <= time.monotonic() - began < 30


def test_a_full_disk_stops_before_anything_is_asked(monkeypatch, tmp_path):
    monkeypatch.setenv("LLMKIT_CACHE", str(tmp_path))

    def full(number):
        raise OSError(errno.ENOSPC, "No space left on device")

    with FaultServer() as server:
        engine = connect(server.url)
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(Incomplete, match=r"no space left for .*canaries"):
            _ = engine.identity
        engine.close()


def test_a_server_too_slow_for_so_many_at_once_gets_fewer_and_answers_all():
    lock, here = threading.Lock(), Counter()

    def slower_with_each(text, attempt):
        with lock:
            here["now"] += 1
            wait = 0.05 * here["now"]
        time.sleep(wait)
        with lock:
            here["now"] -= 1

    with FaultServer(slower_with_each) as server:
        done = run(connect(server.url, timeout_s=1.0, retries=1, max_num_seqs=40), QUESTIONS)
    assert [f.error for f in done.values()] == [None] * len(QUESTIONS)


def test_a_server_that_fails_now_and_then_can_be_started():
    """Each call of the start may fail `retries` times, not all of them together."""
    with FaultServer(lambda text, attempt: "500" if attempt % 2 == 0 else None) as server:
        assert run(connect(server.url, retries=1), QUESTIONS[:2])[QUESTIONS[0]].error is None
        assert sum(server.answered.values()) > sum(server.answered[text] for text in QUESTIONS) + 1


def test_a_lasting_fault_is_recorded_and_never_cached(tmp_path):
    bad = {QUESTIONS[3]: "500", QUESTIONS[5]: "reset", QUESTIONS[7]: "400", QUESTIONS[9]: "empty", QUESTIONS[11]: "404"}
    cache = ResponseCache(tmp_path / "replies.sqlite")
    with FaultServer(lambda text, attempt: bad.get(text)) as server:
        done = run(connect(server.url, retries=1), QUESTIONS, cache)
        assert set(done) == set(QUESTIONS)
        assert {k for k, f in done.items() if f.error} == set(bad)
        assert all(isinstance(done[t].error, EngineError) and done[t].calls == () for t in bad)
        assert server.tries[QUESTIONS[7]] == server.tries[QUESTIONS[11]] == 1, "what cannot pass is not tried again"
        assert cache.info().replies == len(QUESTIONS) - len(bad)
        bad.clear()
        again = run(connect(server.url), QUESTIONS, cache)
    assert not any(f.error for f in again.values())
    assert max(server.answered[t] for t in QUESTIONS) == 1, "no question was answered twice"


def test_a_server_that_throttles_most_of_the_time_is_waited_for():
    gate = threading.Semaphore(3)

    def busy(text, attempt):
        if not gate.acquire(blocking=False):
            return "429 0.02"
        threading.Timer(0.01, gate.release).start()
        return None

    with FaultServer(busy) as server:
        done = run(connect(server.url, max_num_seqs=30), QUESTIONS)
    assert not any(f.error for f in done.values())


def test_a_dead_server_fails_at_once_with_a_hint():
    with FaultServer() as server:
        pass
    began = time.monotonic()
    with pytest.raises(EngineError, match="no server answers") as caught:
        run(connect(server.url), QUESTIONS)
    assert caught.value.hint
    assert time.monotonic() - began < 10


def test_a_server_that_dies_leaves_what_finished():
    with FaultServer(delay=0.02) as server:
        engine, done = connect(server.url, max_num_seqs=4), []

        def until_it_dies(runner):
            for finished in runner.run(ask(t) for t in QUESTIONS):
                done.append(finished.key)
                if len(done) == 10:
                    threading.Thread(target=server.die).start()

        with Runner({"answerer": engine}) as runner, pytest.raises(Incomplete, match="no server answers any more"):
            until_it_dies(runner)
        assert 10 <= len(done) < len(QUESTIONS)
        assert len(set(done)) == len(done)


def test_servers_share_the_load_and_survive_one_of_them():
    with FaultServer(delay=0.02) as a, FaultServer(delay=0.02) as b:
        engine, done = connect(a.url, b.url, max_num_seqs=4), []
        with Runner({"answerer": engine}) as runner:
            for finished in runner.run(ask(t) for t in QUESTIONS):
                assert finished.error is None
                done.append(finished.key)
                if len(done) == 12:
                    threading.Thread(target=a.die).start()
        assert sorted(done) == sorted(QUESTIONS)
        assert all(sum(s.answered[t] for t in QUESTIONS) >= 4 for s in (a, b))


def test_one_dead_server_of_two_is_left_out_at_the_start():
    with FaultServer() as dead:
        pass
    with FaultServer() as server:
        done = run(connect(dead.url, server.url), QUESTIONS)
    assert not any(f.error for f in done.values())


def test_servers_with_different_models_are_refused():
    with FaultServer() as a, FaultServer(bias=1.0) as b, pytest.raises(EngineError, match="not the same model"):
        run(connect(a.url, b.url, replicas=True), QUESTIONS)


@pytest.mark.parametrize("logprobs", [True, False])
def test_a_changed_model_opens_a_new_namespace(logprobs):
    with FaultServer(logprobs=logprobs) as server:
        first = identify(server)
        server.bias = 0.01
        assert identify(server) == first, "rounding is no change"
        server.bias = 1.0
        changed = identify(server)
        assert changed != first
        assert identify(server) == changed
        server.bias = 0.0
        assert identify(server) == first, "and back again"


def test_the_address_is_part_of_the_identity_unless_declared_replicas():
    with FaultServer() as a, FaultServer() as b:
        identities = [identify(s, replicas=r) for r in (False, True) for s in (a, b)]
    assert identities[0] != identities[1]
    assert identities[2] == identities[3]


def test_a_wrong_model_name_is_one_clear_error():
    with FaultServer() as server, pytest.raises(UsageError, match="no model `tinny`") as caught:
        run(connect(server.url, model="tinny"), QUESTIONS)
    assert "`tiny`" in caught.value.hint
    assert caught.value.exit_code == 2


def test_the_only_model_of_a_server_needs_no_name():
    with FaultServer() as server:
        engine = connect(server.url, model=None)
        assert engine.identity.model == "tiny"
        engine.close()


def test_no_key_leaves_the_process_but_in_the_header(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret-of-the-house")
    with FaultServer(lambda text, attempt: "401" if "number 3" in text else None) as server:
        url = server.url.replace("http://", "http://user:passw0rd-x@") + "?api-key=query-secret-1"
        engine = connect(url)
        done = run(engine, QUESTIONS[:5])
        said = f"{engine.identity} {[(f.error and (f.error.message, f.error.hint)) for f in done.values()]}"
    assert sum(f.error is not None for f in done.values()) == 1
    assert not any(s in said for s in ("secret-of-the-house", "passw0rd-x", "query-secret-1"))
    assert all("api-key=query-secret-1" in p for p in server.paths if p.startswith("/v1/chat"))
    assert server.headers[-1]["Authorization"].startswith("Basic "), "an address with a password signs in with it"


def test_the_key_comes_from_the_variable_that_is_named(monkeypatch):
    monkeypatch.setenv("MY_KEY", "secret-number-two")
    with FaultServer() as server:
        run(connect(server.url, api_key_env="MY_KEY"), QUESTIONS[:1])
        assert server.headers[-1]["Authorization"] == "Bearer secret-number-two"


def test_reasoning_is_kept_apart_and_cut_replies_say_so():
    def steps():
        return (yield Request((Message("user", "please think now"),), Sampling(max_tokens=2)))

    with FaultServer() as server, Runner({"answerer": connect(server.url)}) as runner:
        reply = next(iter(runner.run([("a", steps())]))).result
    assert (reply.text, reply.reasoning, reply.finish_reason) == ("now think please", "hm", "length")


def test_sampling_and_stop_are_sent_and_greedy_sends_no_seed():
    def steps():
        yield Request((Message("user", "a"),), Sampling(max_tokens=5, temperature=0.7, top_p=0.9, stop=("\n",), seed=4))
        yield Request((Message("user", "b"),), Sampling(max_tokens=5, seed=4))

    with FaultServer() as server, Runner({"answerer": connect(server.url)}) as runner:
        list(runner.run([("a", steps())]))
    sampled, greedy = server.bodies[-2:]
    assert [sampled[k] for k in ("max_tokens", "temperature", "top_p", "stop", "seed")] == [5, 0.7, 0.9, ["\n"], 4]
    assert greedy["temperature"] == 0.0
    assert "seed" not in greedy


def test_a_chat_template_of_ones_own_goes_to_the_completions_page(tmp_path):
    template = tmp_path / "chat.jinja"
    template.write_text("{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}")
    with FaultServer() as server:
        section = ModelSection(path="tiny", chat_template=str(template))
        engine = open_engine(section, EngineSection(base_url=(server.url,)))
        done = run(engine, ["what {{ 7*7 }} is", "cut<|im_end|>short"])
    assert not any(f.error for f in done.values())
    assert {b["prompt"] for b in server.bodies[-2:]} == {"<user>what {{ 7*7 }} is", "<user>cut< |im_end|>short"}


@pytest.mark.parametrize(
    "url", ["localhost:8000", "ftp://host/v1", "", "http://user:pass/word@host/v1", "http://[::1/v1"]
)
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(UsageError, match="base URL"):
        connect(url)


def test_nothing_is_sent_to_a_hosted_service_without_a_key(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(UsageError, match="no key"):
        open_engine(ModelSection(path="m"), EngineSection(kind="openai"))


def test_a_system_prompt_stands_first(tmp_path):
    file = tmp_path / "system.txt"
    file.write_text("Be brief.\n")
    with FaultServer() as server:
        engine = open_engine(ModelSection(path="tiny", system_prompt=str(file)), EngineSection(base_url=(server.url,)))
        run(engine, ["hello"])
    assert server.bodies[-1]["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "hello"},
    ]


def test_a_storm_of_every_fault_loses_and_doubles_nothing(tmp_path):
    kinds = ["reset", "429", "500", "truncated", "empty", None, None]

    def storm(text, attempt):
        mine = text.startswith("storm") and attempt < 3
        return kinds[zlib.crc32(f"{text}/{attempt}".encode()) % len(kinds)] if mine else None

    texts = [f"storm {i}" for i in range(120)]
    cache = ResponseCache(tmp_path / "replies.sqlite")
    with FaultServer(storm) as server:
        done = run(connect(server.url, retries=4, max_num_seqs=16), texts, cache)
        assert Counter(f.result for f in done.values()) == Counter(" ".join(reversed(t.split())) for t in texts)
        assert all(server.answered[t] >= 1 for t in texts)
        asked = sum(server.tries.values())
        run(connect(server.url), texts, cache)
    assert sum(server.tries[t] for t in texts) <= asked, "a cached rerun asks only the canary"


def test_every_error_of_this_engine_is_one_a_user_can_read():
    with FaultServer(lambda text, attempt: "500") as server, pytest.raises(LlmkitError) as caught:
        run(connect(server.url, retries=0), QUESTIONS)
    assert "Traceback" not in str(caught.value)


def test_no_more_requests_a_second_than_were_asked_for():
    moments = []

    def note(text, attempt):
        moments.append(time.monotonic())
        return "500" if text == QUESTIONS[0] and attempt == 0 else None

    with FaultServer(note) as server:
        began = time.monotonic()
        run(connect(server.url, rps=50.0), QUESTIONS)
    assert len(moments) > len(QUESTIONS) + len(canary.PROMPTS)
    for number, moment in enumerate(sorted(moments)):
        assert moment - began >= number / 50
