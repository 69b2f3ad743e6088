"""The response cache: exact keys, several processes, and what is wrong with a file said clearly."""

from __future__ import annotations

import dataclasses
import json
import resource
import sqlite3
import sys
from collections import deque

import pytest
from helpers.processes import in_processes
from hypothesis import given
from hypothesis import strategies as st

from llmkit.engines import EngineIdentity, ResponseCache, cache_key, decode_reply, encode_reply
from llmkit.engines import cache as cache_module
from llmkit.errors import Incomplete, LlmkitError, UsageError
from llmkit.types import Message, Reply, Request, Sampling, ToolCall, Usage

IDENTITY = EngineIdentity(kind="vllm", version="1", model="m", revision="abc", settings=(("device", "cpu"),))
REQUEST = Request((Message("user", "hi"),), Sampling(max_tokens=5, temperature=0.5, seed=1))

KEYS = (
    "5fd56c69ded6ad9c5768bc09df8f2fca69a0c818b7a79852ea8d0d675b3475da",
    "00afef971a898977e50f072cd791f7542bfa9aae750e764f03e0dead28fea039",
    "2c33d255dfac337c6006fd0d6be0f9cdf330d9dda95eea4955a225dbef8c8987",
)
"""Of before requests had tools and fields, for three requests."""


def changed(value, **fields):
    return dataclasses.replace(value, **fields)


def test_everything_that_can_change_an_answer_changes_the_key():
    others = [changed(IDENTITY, **{f: "other"}) for f in ("kind", "version", "model", "revision", "adapter", "dtype")]
    others += [changed(IDENTITY, **{f: "other"}) for f in ("chat_template", "system_prompt")]
    others += [changed(IDENTITY, max_model_len=9), changed(IDENTITY, settings=(("device", "cuda"),))]
    requests = [
        changed(REQUEST, messages=(Message("user", "hi "),)),
        changed(REQUEST, messages=(Message("system", "hi"),)),
        changed(REQUEST, replicate=1),
        changed(REQUEST, continuation=" yes"),
        *(
            changed(REQUEST, sampling=changed(REQUEST.sampling, **{name: value}))
            for name, value in {"max_tokens": 6, "temperature": 0.6, "top_p": 0.9, "stop": ("x",), "seed": 2}.items()
        ),
    ]
    keys = [cache_key(i, REQUEST) for i in [IDENTITY, *others]] + [cache_key(IDENTITY, r) for r in requests]
    assert len(set(keys)) == len(keys)


def test_what_cannot_change_an_answer_does_not_change_the_key():
    greedy = changed(REQUEST, sampling=Sampling(max_tokens=5, seed=1))
    assert cache_key(IDENTITY, greedy) == cache_key(IDENTITY, changed(greedy, sampling=Sampling(max_tokens=5, seed=2)))
    assert cache_key(IDENTITY, REQUEST) == cache_key(IDENTITY, changed(REQUEST, purpose="correct", role="corrector"))
    scored = changed(REQUEST, continuation=" yes")
    assert cache_key(IDENTITY, scored) == cache_key(IDENTITY, changed(scored, sampling=Sampling()))


@given(
    text=st.text(st.characters(), max_size=40),
    reasoning=st.text(max_size=10),
    logprobs=st.none() | st.lists(st.floats(-50, 0), max_size=5).map(tuple),
    finish=st.sampled_from(["stop", "length"]),
)
def test_a_reply_comes_back_as_it_was(text, reasoning, logprobs, finish):
    reply = Reply(text, reasoning, Usage(3, 4, 1), finish, logprobs)
    assert decode_reply(encode_reply(reply)) == reply


def test_replies_are_kept_between_openings_and_the_first_one_stays(tmp_path):
    path = tmp_path / "deep" / "replies.sqlite"
    odd = Reply("\ud800 \x00 é", usage=Usage(1, 2))
    with ResponseCache(path) as cache:
        assert cache.get("a") is None
        cache.put("a", odd)
        cache.put("a", Reply("second"))
    with ResponseCache(path) as cache:
        assert cache.get("a") == odd
        assert cache.info().replies == 1
        assert cache.info().bytes > 0
        assert cache.clear() == 1
        assert cache.get("a") is None


def _write(path, worker):
    with ResponseCache(path) as cache:
        for i in range(300):
            cache.put(f"{worker % 2}-{i}", Reply(f"reply {i}"))
            assert cache.get(f"0-{i}") in (None, Reply(f"reply {i}"))


def test_several_processes_corrupt_nothing(tmp_path):
    path = tmp_path / "replies.sqlite"
    assert in_processes(_write, *((path, i) for i in range(4))) == [0] * 4
    with ResponseCache(path) as cache:
        assert cache.info().replies == 600
        assert cache.get("1-299") == Reply("reply 299")
    assert sqlite3.connect(path).execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_damaged_file_is_named_with_what_to_do(tmp_path):
    path = tmp_path / "replies.sqlite"
    path.write_bytes(b"this is no database" * 1000)
    with pytest.raises(LlmkitError, match="damaged") as caught:
        ResponseCache(path)
    assert str(path) in caught.value.message
    assert "--no-cache" in caught.value.hint


def test_a_file_of_a_later_version_is_refused(tmp_path):
    path = tmp_path / "replies.sqlite"
    ResponseCache(path).close()
    sqlite3.connect(path).execute("PRAGMA user_version=99")
    with pytest.raises(UsageError, match="another version"):
        ResponseCache(path)


def test_a_network_file_system_is_refused(tmp_path, monkeypatch):
    assert cache_module.network_file_system(tmp_path) is None
    monkeypatch.setattr(cache_module, "network_file_system", lambda folder: "NFS")
    with pytest.raises(UsageError, match="network file system") as caught:
        ResponseCache(tmp_path / "replies.sqlite")
    assert "LLMKIT_CACHE" in caught.value.hint


def test_a_full_disk_is_incomplete(tmp_path):
    with ResponseCache(tmp_path / "replies.sqlite") as cache:
        cache._db.execute("PRAGMA max_page_count=4")
        with pytest.raises(Incomplete, match="no space"):
            deque((cache.put(str(i), Reply("x" * 500)) for i in range(1000)), maxlen=0)


def _fill(path):
    with ResponseCache(path) as cache:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))  # as a spent quota: SQLite calls it an I/O error
        try:
            deque((cache.put(str(i), Reply("x" * 500)) for i in range(1000)), maxlen=0)
        except LlmkitError as error:
            sys.exit(error.exit_code)


def test_a_disk_that_takes_no_more_is_incomplete_and_keeps_what_it_took(tmp_path):
    path = tmp_path / "replies.sqlite"
    assert in_processes(_fill, (path,)) == [Incomplete.exit_code]
    with ResponseCache(path) as cache:
        assert cache.get("0") == Reply("x" * 500)


def test_keys_of_earlier_releases_are_still_the_keys():
    greedy = changed(REQUEST, sampling=Sampling(max_tokens=5, seed=1))
    assert cache_key(IDENTITY, REQUEST) == KEYS[0]
    assert cache_key(IDENTITY, greedy) == KEYS[1]
    assert cache_key(IDENTITY, changed(REQUEST, continuation=" yes")) == KEYS[2]
    assert cache_key(IDENTITY, changed(REQUEST, fields={"customer": "c9"})) == KEYS[0], "a model reads no fields"


def test_tools_and_the_fields_that_an_engine_reads_change_the_key():
    application = changed(IDENTITY, settings=(("fields", "customer tier"),))
    any_field = changed(IDENTITY, settings=(("fields", "*"),))
    rows = [{}, {"customer": "a"}, {"customer": "a", "other": "x"}, {"tier": "a"}]
    requests = [changed(REQUEST, fields=row) for row in rows]
    assert len({cache_key(application, request) for request in requests}) == 3
    assert len({cache_key(any_field, request) for request in requests}) == 4
    tools = [changed(REQUEST, tools=({"name": name},)) for name in "ab"]
    assert len({cache_key(IDENTITY, request) for request in [REQUEST, *tools]}) == 3


def test_a_reply_of_an_earlier_release_can_be_read():
    stored = {"text": "4", "usage": [1, 2, 0], "finish_reason": "stop"}
    assert decode_reply(stored) == Reply("4", usage=Usage(1, 2))
    assert encode_reply(decode_reply(stored)) == stored
    reply = Reply("4", documents=("a", "b"), tool_calls=(ToolCall("f", {"n": [1]}), ToolCall("g", "no JSON")))
    assert decode_reply(json.loads(json.dumps(encode_reply(reply)))) == reply
