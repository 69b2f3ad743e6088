"""Servers from a file that changes while a run goes on: they join, leave, die and come back, and nothing is lost."""

from __future__ import annotations

import threading
import time
from contextlib import closing

import pytest
from helpers.fault_server import FaultServer

from llmkit.engines import open_engine, server_watch
from llmkit.errors import DataError, Incomplete, UsageError
from llmkit.recipe.schema import EngineSection, ModelSection
from llmkit.runs import Runner
from llmkit.runs.progress import Progress
from llmkit.types import Message, Request, Sampling

QUESTIONS = [f"question number {i}" for i in range(60)]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LLMKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(server_watch, "EVERY", 0.05)


@pytest.fixture
def addresses(tmp_path):
    """Writes the file of servers, and returns what names it in the place of an address."""

    def write(*servers: FaultServer | str) -> str:
        lines = [server if isinstance(server, str) else server.url for server in servers]
        (tmp_path / "new.txt").write_text("\n".join(["# all replicas", "", *lines]) + "\n", encoding="utf-8")
        (tmp_path / "new.txt").replace(tmp_path / "servers.txt")
        return f"@{tmp_path / 'servers.txt'}"

    return write


def connect(file: str, **settings):
    given = {"timeout_s": 30.0, "retries": 1, "max_num_seqs": 2, **settings}
    return open_engine(ModelSection(path="tiny"), EngineSection(base_url=(file,), **given))


def _steps(text):
    reply = yield Request((Message("user", text),), Sampling(max_tokens=50))
    return reply.text


def ask(engine, texts=QUESTIONS, at=None):
    """Asks all questions; `at` maps a number of finished ones to what happens then."""
    events = dict(at or {})
    results = {}
    with Runner({"answerer": engine}) as runner:
        for finished in runner.run((text, _steps(text)) for text in texts):
            results[finished.key] = finished.result
            if event := events.pop(len(results), None):
                event()
        return results, engine.served


def is_answered(results) -> bool:
    return results == {text: " ".join(reversed(text.split())) for text in QUESTIONS}


def test_a_server_that_is_added_joins(addresses):
    with FaultServer(delay=0.05) as first, FaultServer(delay=0.05) as second:
        file = addresses(first)
        results, served = ask(connect(file), at={5: lambda: addresses(first, second)})

    assert is_answered(results)
    assert served[second.url].requests > 0
    assert sum(work.requests for work in served.values()) == len(QUESTIONS)


def test_a_server_that_is_taken_out_ends_what_it_has_and_gets_nothing_more(addresses):
    with FaultServer(delay=0.02) as first, FaultServer(delay=0.02) as second:
        file = addresses(first, second)
        asked_by_then = []

        def leave():
            addresses(second)
            time.sleep(0.5)  # the file is looked at, and what the server has comes to its end
            asked_by_then.append(sum(first.tries.values()))

        results, _ = ask(connect(file), at={10: leave})

    assert is_answered(results)
    assert sum(first.tries.values()) == asked_by_then[0]
    assert all((first.tries + second.tries)[text] == 1 for text in QUESTIONS)


def test_a_server_that_dies_costs_only_what_it_had_in_flight_and_comes_back(addresses):
    with FaultServer(delay=0.02) as stays:
        dies = FaultServer(delay=0.02)
        dies.__enter__()
        port = int(dies.url.rpartition(":")[2].partition("/")[0])
        back = []

        def restart():
            dies.die()
            server = FaultServer(delay=0.02, port=port)
            back.append(server.__enter__())

        results, served = ask(connect(addresses(stays, dies)), at={10: restart})
        back[0].die()

    assert is_answered(results)
    again = [text for text in QUESTIONS if (stays.tries + dies.tries + back[0].tries)[text] > 1]
    assert len(again) <= 2  # max_num_seqs
    assert back[0].answered.total() > 0
    assert served[dies.url].requests + served[stays.url].requests == len(QUESTIONS)


def test_a_server_of_another_model_is_refused(addresses, caplog):
    with FaultServer(delay=0.02) as first, FaultServer(delay=0.02, bias=3.0) as other:
        results, served = ask(connect(addresses(first)), at={5: lambda: addresses(first, other)})

    assert is_answered(results)
    assert other.url not in served
    assert not set(other.tries) & set(QUESTIONS)
    assert "not the same model" in caplog.text


def tokenizer(handler, body):
    handler._send(200, {"tokens": [1] * len((body.get("prompt") or "abc").split())})


def echo(handler, body):
    """Scores the ids that it is sent, as vLLM does with `echo`."""
    handler._send(
        200, {"model": body["model"], "choices": [{"logprobs": {"token_logprobs": [-1.0] * len(body["prompt"])}}]}
    )


SCORING = {"/tokenize": tokenizer, "/v1/completions": echo}


def _score(text):
    reply = yield Request((Message("user", text),), continuation="yes")
    return reply.logprobs


def test_a_server_that_cannot_score_does_not_join_those_that_can(addresses, caplog):
    with FaultServer(delay=0.02, routes=SCORING) as first, FaultServer(delay=0.02) as other:
        engine = connect(addresses(first))
        results = {}
        with Runner({"answerer": engine}, open_jobs=4) as runner:
            for finished in runner.run((text, _score(text)) for text in QUESTIONS):
                results[finished.key] = finished.result
                if len(results) == 5:
                    addresses(first, other)
                    time.sleep(0.5)  # the file is looked at several times
            served = engine.served

    assert results == dict.fromkeys(QUESTIONS, (-1.0,))
    assert other.url not in served
    assert caplog.text.count("has no /tokenize") == 1


def test_a_server_that_can_score_a_little_later_joins(addresses):
    with FaultServer(delay=0.05, routes=SCORING) as first, FaultServer(delay=0.05) as later:
        file = addresses(first)

        def both():
            addresses(first, later)
            threading.Timer(0.3, lambda: setattr(later, "routes", SCORING)).start()

        results, served = ask(connect(file), at={5: both})

    assert is_answered(results)
    assert served[later.url].requests > 0


def test_a_run_waits_for_the_next_server_when_all_are_gone(addresses):
    first = FaultServer()
    first.__enter__()
    with FaultServer() as second:

        def replace():
            first.die()
            threading.Timer(0.5, addresses, [second]).start()

        results, served = ask(connect(addresses(first)), at={20: replace})

    assert is_answered(results)
    assert served[second.url].requests > 0


def test_a_run_gives_up_when_nobody_comes_and_keeps_what_finished(addresses, monkeypatch):
    monkeypatch.setattr(server_watch, "PATIENCE", 0.3)
    server = FaultServer()
    server.__enter__()

    with pytest.raises(Incomplete, match=r"no server of .*servers.txt answered"):
        ask(connect(addresses(server)), at={20: server.die})


def test_the_addresses_change_no_identity(addresses):
    with FaultServer() as first, FaultServer() as second:
        with closing(connect(addresses(first))) as engine:
            alone = engine.identity
        with closing(connect(addresses(second, first))) as engine:
            assert engine.identity == alone


def test_the_progress_line_names_the_speed_of_the_servers(addresses):
    with FaultServer() as first, FaultServer() as second:
        engine = connect(addresses(first, second))
        progress = Progress("answering", 60, quiet=True, served=lambda: engine.served)
        ask(engine)

    assert "2 servers at " in progress.line()


def test_a_half_written_file_changes_nothing(addresses, caplog):
    with FaultServer(delay=0.02) as server:
        file = addresses(server)
        results, _ = ask(connect(file), at={5: lambda: addresses(server, "http//half")})

    assert is_answered(results)
    assert "not the address of a server" in caplog.text


@pytest.mark.parametrize(
    ("lines", "error", "says"),
    [
        (["http://127.0.0.1:1/v1", "ftp://x"], DataError, r"servers.txt:4: not the address"),
        ([], UsageError, "lists no server"),
    ],
)
def test_a_file_that_lists_no_servers_is_refused(addresses, lines, error, says):
    with pytest.raises(error, match=says):
        connect(addresses(*lines))


def test_a_file_that_is_not_there_and_one_beside_addresses_are_refused(tmp_path):
    with pytest.raises(DataError, match="No such file"):
        connect(f"@{tmp_path / 'none.txt'}")
    with pytest.raises(UsageError, match="lists all servers"):
        open_engine(ModelSection(path="tiny"), EngineSection(base_url=("@a.txt", "http://127.0.0.1:1/v1")))


def test_a_key_in_an_address_is_never_shown(addresses, capsys):
    with pytest.raises(DataError) as raised:
        connect(addresses("htp://me:sesame-8841@host/v1"))
    assert "sesame-8841" not in raised.value.message
