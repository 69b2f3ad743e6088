"""The runner: everything in flight at once, nothing asked twice, nothing lost."""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.fakes import FakeEngine, fake_reply
from helpers.processes import started
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.engines import ResponseCache
from llmkit.errors import EngineError, Incomplete, UsageError
from llmkit.runs import Progress, Runner, terminable
from llmkit.types import Message, Reply, Request


@pytest.fixture
def cache(tmp_path):
    with ResponseCache(tmp_path / "replies.sqlite") as opened:
        yield opened


def request(text, **kwargs):
    return Request((Message("user", text),), **kwargs)


def two_stage(i):
    first = yield request(f"correct {i}")
    second = yield [request(f"answer {first.text} {vote}") for vote in range(2)]
    return [r.text for r in second]


def shout(asked):
    return asked.messages[-1].content.upper()


def jobs(n):
    return ((i, two_stage(i)) for i in range(n))


def test_two_stage_jobs_share_one_flight():
    engine = FakeEngine(shout)
    done = {f.key: f for f in Runner({"answerer": engine}).run(jobs(50))}
    assert done[7].result == ["ANSWER CORRECT 7 0", "ANSWER CORRECT 7 1"]
    assert [c.request.messages[0].content for c in done[7].calls] == [
        "correct 7",
        "answer CORRECT 7 0",
        "answer CORRECT 7 1",
    ]
    assert len(done) == 50
    assert len(engine.asked) == 150
    assert engine.most_pending >= 50, "all first stages were with the engine at once"


def test_the_calls_of_a_run_add_up_to_the_time_it_took(monkeypatch):
    """However many wait at once. The clock moves one second each time anybody looks."""
    ticks = itertools.count()
    monkeypatch.setattr(time, "monotonic", lambda: float(next(ticks)))
    found = [call.seconds for done in Runner({"answerer": FakeEngine(shout)}).run(jobs(5)) for call in done.calls]
    passed = next(ticks)
    assert len(found) == 15
    assert min(found) > 0
    assert passed - 3 <= sum(found) <= passed


def test_jobs_are_taken_lazily_and_at_most_so_many_are_open():
    taken = []

    def lazily():
        for i in range(30):
            taken.append(i)
            yield i, two_stage(i)

    engine = FakeEngine(shout)
    run = Runner({"answerer": engine}, open_jobs=5).run(lazily())
    next(run)
    assert len(taken) <= 6
    assert len(list(run)) == 29
    assert engine.most_pending <= 10


def test_identical_requests_in_flight_are_asked_once():
    def same(i):
        return (yield request("same", purpose=f"purpose {i}"))

    engine = FakeEngine(shout)
    done = list(Runner({"answerer": engine}).run((i, same(i)) for i in range(9)))
    assert len(engine.asked) == 1
    assert [f.result.text for f in done] == ["SAME"] * 9
    assert sorted(f.calls[0].cached for f in done) == [False] + [True] * 8
    assert {f.calls[0].request.purpose for f in done} == {f"purpose {i}" for i in range(9)}


def test_a_rerun_asks_nothing_and_replicates_are_asked(cache):
    def twice(i):
        yield request(f"q{i}")
        yield request(f"q{i}", replicate=1)

    engine = FakeEngine(shout)
    for _ in range(2):
        done = list(Runner({"answerer": engine}, cache).run((i, twice(i)) for i in range(10)))
    assert len(engine.asked) == 20
    assert all(c.cached for f in done for c in f.calls)


def test_a_failed_request_ends_its_job_alone_and_is_not_cached(cache):
    def flaky(asked):
        return EngineError("too long") if "correct 3" in asked.messages[0].content else shout(asked)

    done = {f.key: f for f in Runner({"answerer": FakeEngine(flaky)}, cache).run(jobs(6))}
    assert {k for k, f in done.items() if f.error} == {3}
    assert done[3].result is None
    assert cache.info().replies == 15


def test_a_job_may_catch_the_failure_of_its_request():
    def careful():
        try:
            yield request("bad")
        except EngineError as error:
            reply = yield request("good")
            return f"{error.message}, then {reply.text}"

    engine = FakeEngine(lambda asked: EngineError("no") if asked.messages[0].content == "bad" else "yes")
    (finished,) = Runner({"answerer": engine}).run([("a", careful())])
    assert (finished.result, finished.error, len(finished.calls)) == ("no, then yes", None, 1)


def test_one_failure_in_a_list_keeps_the_other_calls():
    def votes():
        yield [request("a"), request("bad"), request("c")]

    engine = FakeEngine(lambda asked: EngineError("no") if asked.messages[0].content == "bad" else "yes")
    (finished,) = Runner({"answerer": engine}).run([("a", votes())])
    assert finished.error.message == "no"
    assert [c.request.messages[0].content for c in finished.calls] == ["a", "c"]


def test_a_dead_engine_keeps_what_finished(cache):
    engine = FakeEngine(shuffle=None)
    seen = []

    def dies(asked):
        seen.append(asked)
        if len(seen) == 20:
            raise EngineError("the server died", "start it")
        return shout(asked)

    engine.answer = dies
    done = []
    run = Runner({"answerer": engine}, cache).run(jobs(10))
    with pytest.raises(Incomplete, match="the server died"):
        done.extend(f.key for f in run)
    assert cache.info().replies == 19
    engine.answer = shout
    rest = list(Runner({"answerer": engine}, cache).run((i, two_stage(i)) for i in range(10) if i not in done))
    assert sorted(done + [f.key for f in rest]) == list(range(10))


def test_an_engine_that_never_answered_fails_as_itself():
    def dead(asked):
        raise EngineError("no server answers", "start it")

    with pytest.raises(EngineError, match="no server answers"):
        list(Runner({"answerer": FakeEngine(dead)}).run(jobs(3)))


def test_the_budget_stops_cleanly_and_a_second_run_goes_on(cache):
    engine, stops = FakeEngine(shout), []
    while True:
        runner = Runner({"answerer": engine}, cache, budget=60)
        try:
            done = [f.key for f in runner.run(jobs(20))]
            break
        except Incomplete as stop:
            stops.append((stop.message, runner.tokens))
    assert sorted(done) == list(range(20))
    assert len(engine.asked) >= len(set(engine.asked)) == cache.info().replies == 60
    assert len(stops) > 3
    assert all("budget of 60 tokens" in message and 60 <= used < 70 for message, used in stops)


def test_a_spent_budget_does_not_stop_what_the_cache_answers(cache):
    list(Runner({"answerer": FakeEngine(shout)}, cache).run(jobs(5)))
    assert len(list(Runner({"answerer": FakeEngine(shout)}, cache, budget=1).run(jobs(5)))) == 5


def test_roles_have_engines_of_their_own():
    def by_role():
        a = yield request("x")
        b = yield request("x", role="corrector")
        c = yield request("x", role="optimizer")
        return a.text, b.text, c.text

    engines = {"answerer": FakeEngine(lambda r: "one", name="a"), "corrector": FakeEngine(lambda r: "two", name="b")}
    (finished,) = Runner(engines).run([("k", by_role())])
    assert finished.result == ("one", "two", "one")


def test_likelihood_is_refused_where_the_engine_has_none():
    def score():
        yield request("x", continuation=" y")

    engine = FakeEngine(capabilities=frozenset())
    with pytest.raises(UsageError, match="log-probabilities"):
        list(Runner({"answerer": engine}).run([("k", score())]))


def test_a_fault_in_an_arm_is_not_swallowed():
    def broken():
        yield request("x")
        raise KeyError("mine")

    with pytest.raises(KeyError):
        list(Runner({"answerer": FakeEngine()}).run([("k", broken())]))


def test_a_run_left_early_does_not_disturb_the_next():
    engine = FakeEngine(shout)
    with Runner({"answerer": engine}) as runner:
        first = runner.run(jobs(10))
        next(first)
        first.close()
        assert sorted(f.key for f in runner.run(jobs(10))) == list(range(10))
    assert engine.closed


def test_empty_lists_and_jobs_that_ask_nothing():
    def nothing():
        got = yield []
        return got

    (finished,) = Runner({"answerer": FakeEngine()}).run([("k", nothing())])
    assert finished.result == []
    assert list(Runner({"answerer": FakeEngine()}).run([])) == []


@settings(max_examples=40, deadline=None)
@given(
    shape=st.lists(st.lists(st.integers(0, 3), max_size=4), max_size=12),
    seed=st.integers(0, 99),
    open_jobs=st.integers(1, 6),
    bad=st.integers(0, 60),
)
def test_whatever_jobs_ask_each_gets_its_own_replies_once(shape, seed, open_jobs, bad):
    """Jobs of any shape (how many requests in each stage), in any order of replies, with or without a failure."""

    def job(i, stages):
        got = []
        for stage, many in enumerate(stages):
            got += yield [request(f"{i}.{stage}.{n}") for n in range(many)]
        return [r.text for r in got]

    names = [f"{i}.{s}.{n}" for i, stages in enumerate(shape) for s, many in enumerate(stages) for n in range(many)]
    fails = names[bad] if bad < len(names) else None
    engine = FakeEngine(lambda r: EngineError("no") if r.messages[0].content == fails else shout(r), shuffle=seed)
    done = {
        f.key: f
        for f in Runner({"answerer": engine}, open_jobs=open_jobs).run((i, job(i, s)) for i, s in enumerate(shape))
    }
    assert set(done) == set(range(len(shape)))
    for i, stages in enumerate(shape):
        if fails and fails.startswith(f"{i}."):
            assert done[i].error
        else:
            assert done[i].result == [f"{i}.{s}.{n}" for s, many in enumerate(stages) for n in range(many)]
    assert len(engine.asked) == len({r.messages[0].content for r in engine.asked})


def test_progress_counts_and_tells_on_a_plain_stream(capsys):
    with Progress("eval", total=10) as progress:
        list(Runner({"answerer": FakeEngine(shout)}, progress=progress).run(jobs(10)))
    assert (progress.done, progress.asked) == (10, 30)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("eval: 10/10 (100%), ")


def test_quiet_progress_says_nothing(capsys):
    with Progress("eval", total=10, quiet=True) as progress:
        list(Runner({"answerer": FakeEngine(shout)}, progress=progress).run(jobs(10)))
    assert capsys.readouterr().err == ""


def test_sigterm_interrupts_like_ctrl_c():
    def ended():
        with terminable():
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        ended()
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_reply_is_journalled_as_the_engine_gave_it(cache):
    reply = Reply("a", reasoning="b", finish_reason="length", usage=fake_reply(request("x"), "a b").usage)

    def one():
        return (yield request("x"))

    for _ in range(2):
        (finished,) = Runner({"answerer": FakeEngine(lambda r: reply)}, cache).run([("k", one())])
        assert finished.result == reply


SCRIPT = Path(__file__).parent / "killed_run.py"


def test_a_run_killed_at_any_moment_goes_on_and_ends_the_same(tmp_path):
    """Twenty SIGKILLs; what was journalled is never asked again, and the journal ends as an undisturbed run's does."""
    rng = random.Random(5)

    def start(name):
        env = {**os.environ, "LLMKIT_CACHE": str(tmp_path / f"{name}-cache"), "PYTHONPATH": str(SCRIPT.parent.parent)}
        command = [sys.executable, str(SCRIPT), str(tmp_path / name)]
        return started(command, env=env, stdout=subprocess.PIPE, text=True)

    with start("undisturbed") as quiet:
        expected, _ = quiet.communicate()
    assert quiet.returncode == 0
    kills = 0
    while kills < 20:
        with start("killed") as process:
            if process.stdout.readline() == "started\n":
                time.sleep(rng.uniform(0, 0.05))
            process.kill()
            process.communicate()
        kills += 1
    with start("killed") as process:
        got, _ = process.communicate()
    assert process.returncode == 0
    assert got == expected
    asked = (tmp_path / "killed" / "asked.txt").read_text().splitlines()
    extra = len(asked) - len(set(asked))
    assert extra <= kills, "a kill can cost the one reply that was on its way from the engine to the cache"
