"""Processes that share a cache ask a question once between them, and nothing is lost where one of them dies."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest
from helpers.fakes import FakeEngine
from helpers.fault_server import FaultServer
from helpers.processes import LIMIT, run, started

from llmkit.engines import ResponseCache
from llmkit.engines.claims import Claims
from llmkit.runs import Runner, runner
from llmkit.types import Message, Reply, Request

QUESTIONS = 80
AT_ONCE = 4

ASKS = f"""
import sys
from contextlib import closing
from llmkit.engines import ResponseCache, open_engine
from llmkit.recipe.schema import EngineSection, ModelSection
from llmkit.runs import Runner
from llmkit.types import Message, Request, Sampling

def steps(text):
    reply = yield Request((Message("user", text),), Sampling(max_tokens=50))
    return reply.text

section = EngineSection(base_url=(sys.argv[1],), max_num_seqs={AT_ONCE})
with closing(open_engine(ModelSection(path="tiny"), section)) as engine, ResponseCache() as cache:
    print("ready", engine.identity.model, flush=True)
    sys.stdin.readline()
    runner = Runner({{"answerer": engine}}, cache)
    names = [f"question number {{n}}" for n in range({QUESTIONS})]
    done = {{finished.key: finished.result for finished in runner.run((name, steps(name)) for name in names)}}
    assert all(done.values()), done
    print(len(done), runner.asked, flush=True)
"""

HOLDS = """
import sys
from pathlib import Path
from llmkit.engines.claims import Claims
claims = Claims(Path(sys.argv[1]))
print(claims.take(sys.argv[2]), flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def asking(tmp_path):
    """A server, and asking(): a process that waits for a line and then asks all questions."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    env = os.environ | {"LLMKIT_CACHE": str(tmp_path / "cache")}
    with FaultServer(delay=0.05) as server:
        yield server, lambda: started([sys.executable, "-c", ASKS, server.url], env=env, **pipes)


def begin(*processes):
    for process in processes:
        assert process.stdout.readline() == "ready tiny\n"
    for process in processes:
        print(file=process.stdin, flush=True)


def asked(server):
    return [text for text in server.answered.elements() if "question number" in text]


@pytest.mark.e2e
def test_two_processes_ask_each_question_once(asking):
    server, start = asking
    with start() as one, start() as other:
        begin(one, other)
        counts = [list(map(int, process.stdout.readline().split())) for process in (one, other)]
    assert [done for done, _ in counts] == [QUESTIONS, QUESTIONS]
    assert sum(asks for _, asks in counts) == QUESTIONS
    assert len(asked(server)) == len(set(asked(server))) == QUESTIONS


@pytest.mark.e2e
def test_only_what_a_killed_process_had_in_flight_is_asked_again(asking):
    server, start = asking
    with start() as one, start() as other:
        begin(one, other)
        deadline = time.monotonic() + LIMIT
        while len(asked(server)) < QUESTIONS // 4:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        one.kill()
        one.wait(60)
        done, _ = map(int, other.stdout.readline().split())
    assert done == QUESTIONS
    assert set(asked(server)) == {f"question number {n}" for n in range(QUESTIONS)}
    assert len(asked(server)) <= QUESTIONS + AT_ONCE + 1


def test_a_claim_is_anothers_until_it_is_released_or_its_process_dies(tmp_path):
    file, key, free = tmp_path / "some.claims", "a" * 64, "b" * 64
    claims = Claims(file)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with started([sys.executable, "-c", HOLDS, file, key], **pipes) as other:
        assert other.stdout.readline() == "True\n"
        assert not claims.take(key)
        assert claims.take(free)
        other.kill()
        other.wait(60)
    assert claims.take(key)
    held = run([sys.executable, "-c", HOLDS, file, key], input="\n")
    assert held.stdout == "False\n"
    claims.release(key)
    assert run([sys.executable, "-c", HOLDS, file, key], input="\n").stdout == "True\n"
    claims.close()


def test_without_locks_every_claim_is_granted(tmp_path, monkeypatch):
    import fcntl

    def lockf(*given):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "lockf", lockf)
    assert Claims(tmp_path / "some.claims").take("a" * 64)
    assert Claims(tmp_path / "no folder" / "some.claims").take("a" * 64)


class Hanging:
    """The claims of a process beside another that claims everything and never answers."""

    def take(self, key):
        return False

    def release(self, key):
        pass


def _steps(text):
    return (yield Request((Message("user", text),))).text


def test_who_claims_and_never_answers_is_not_waited_for_forever(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "_MOST_WAIT", 0.3)
    engine = FakeEngine()
    with ResponseCache(tmp_path / "cache.sqlite") as cache:
        work = Runner({"answerer": engine}, cache)
        work.claims = Hanging()
        done = list(work.run((n, _steps(f"question {n}")) for n in range(5)))
    assert sorted(finished.key for finished in done) == [0, 1, 2, 3, 4]
    assert len(engine.asked) == 5


def test_an_answer_of_another_process_is_taken_from_the_cache(tmp_path):
    engine = FakeEngine()
    with ResponseCache(tmp_path / "cache.sqlite") as cache:
        work = Runner({"answerer": engine}, cache)
        work.claims = Hanging()
        first = work.run([(0, _steps("question"))])
        keys = []
        work.claims.take = lambda key: keys.append(key) or False

        def answered():
            with ResponseCache(cache.path) as theirs:
                theirs.put(keys[0], Reply("theirs"))

        put = threading.Timer(0.5, answered)
        put.start()
        assert next(first).result == "theirs"
        put.join(60)
    assert engine.asked == []
