"""Machines that are to train together meet, compare what they are to do, and notice when one is lost."""

from __future__ import annotations

import queue
import socket
import threading
import time

import pytest

from llmkit.errors import EngineError, LlmkitError, UsageError
from llmkit.finetune import machines
from llmkit.finetune.machines import meeting, parse_address

FACTS = {"the recipe": "0123456789ab", "torch": "2.11.0"}
PLAN = {"port": "4242", "checkpoint": None}


@pytest.fixture
def address():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return f"127.0.0.1:{probe.getsockname()[1]}"


class Machine(threading.Thread):
    """Machine `number` in a thread: meets the others, does its work, and keeps what came of it."""

    def __init__(self, number, count, address, facts=FACTS, work=lambda together: None):
        super().__init__(daemon=True)
        self.given = (number, count, address, facts, PLAN if number == 0 else {})
        self.work, self.error, self.plan, self.results = work, None, None, None
        self.start()

    def run(self):
        try:
            with meeting(*self.given) as together:
                self.plan = together.plan
                self.work(together)
                self.results = together.finished({"loss": 1.5} if together.number == 0 else {})
        except LlmkitError as error:
            self.error = error


def ended(*threads):
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    return [thread.error for thread in threads]


def lose(together):
    """Ends as a killed process does: without a word."""
    for line in together.lines.values():
        line._connection.shutdown(socket.SHUT_RDWR)
    raise EngineError("killed")


def wait_for_news(together):
    raise together.news.get(timeout=10)


@pytest.mark.parametrize(
    "text", ["", ":29500", "node:port", "node:0", "node:70000", "http://node:1", "a@node", "no/de", "[::1"]
)
def test_what_is_no_address_is_refused(text):
    with pytest.raises(UsageError, match="is not the address of the main process"):
        parse_address(text)


def test_all_get_the_plan_and_the_results_of_machine_0(address):
    threads = [Machine(number, 3, address) for number in (2, 0, 1)]
    assert ended(*threads) == [None, None, None]
    assert [thread.plan for thread in threads] == [PLAN] * 3
    assert [thread.results for thread in threads] == [{"loss": 1.5}] * 3


def test_machines_that_differ_are_refused_by_name_on_all_of_them(address):
    other = {"the recipe": "f" * 24, "torch": "2.10.0", "the system prompt": "None"}
    both = ended(Machine(0, 2, address), Machine(1, 2, address, other))
    differs = "machine 1 differs from machine 0: the recipe (ffffffffffffffffffffffff there, 0123456789ab here), "
    for error in both:
        assert type(error) is UsageError
        assert error.message == differs + "the system prompt (None there, None here), torch (2.10.0 there, 2.11.0 here)"
        assert error.hint == "all machines need the same recipe, data and packages"


def test_a_machine_that_never_comes_ends_the_others_in_time(address, monkeypatch):
    monkeypatch.setattr(machines, "COME", 0.5)
    both = ended(Machine(0, 4, address), Machine(2, 4, address))
    assert [error.message for error in both] == ["of 4 machines, 1, 3 did not come within 0 seconds"] * 2
    assert all(type(error) is EngineError for error in both)


def test_without_machine_0_the_others_end_in_time(address, monkeypatch):
    monkeypatch.setattr(machines, "COME", 0.3)
    (error,) = ended(Machine(1, 2, address))
    assert error.message.startswith("machine 0 did not answer at 127.0.0.1 port ")


@pytest.mark.parametrize("host", ["127.0.0.1", "192.0.2.7", "no-such-host.invalid"])
def test_machine_0_listens_at_an_address_of_its_own_that_is_free(host):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        (error,) = ended(Machine(0, 2, f"{host}:{taken.getsockname()[1]}"))
    assert error.message.startswith(f"machine 0 cannot listen on {host} port ")


def test_strangers_are_let_go(address, monkeypatch):
    monkeypatch.setattr(machines, "_GREETING", 0.5)
    host = Machine(0, 2, address)
    name, port = parse_address(address)
    said = [
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        b"[1]\n",
        b'{"machine": "1"}\n',
        b'{"machine": 1, "facts": 7}\n',
        b"\xff" * 99,
    ]
    strangers = []
    for line in said:
        while True:
            try:
                strangers.append(socket.create_connection((name, port), timeout=5))
                break
            except ConnectionRefusedError:
                time.sleep(0.02)
        strangers[-1].sendall(line)
    assert ended(host, Machine(1, 2, address)) == [None, None]
    for stranger in strangers:
        stranger.close()


def test_a_second_machine_of_one_number_is_refused_and_the_first_stays(address):
    host, first = Machine(0, 3, address), Machine(1, 3, address)
    time.sleep(0.3)
    second = Machine(1, 3, address)
    (error,) = ended(second)
    assert error.message == "machine 1 is already there"
    assert ended(host, first, Machine(2, 3, address)) == [None, None, None]


def test_a_machine_that_was_started_again_takes_its_place(address):
    host = Machine(0, 3, address)
    name, port = parse_address(address)
    time.sleep(0.2)
    with socket.create_connection((name, port), timeout=5) as killed:
        killed.sendall(b'{"machine": 1, "facts": {"the recipe": "0123456789ab", "torch": "2.11.0"}}\n')
        time.sleep(0.2)
    assert ended(host, Machine(1, 3, address), Machine(2, 3, address)) == [None, None, None]


def test_the_loss_of_a_machine_ends_all_others(address):
    lost = Machine(1, 3, address, work=lose)
    host, other = (Machine(number, 3, address, work=wait_for_news) for number in (0, 2))
    ended(lost, host, other)
    assert host.error.message == other.error.message == "machine 1 is lost"
    assert "goes on from the last checkpoint" in host.error.hint


def test_a_machine_without_a_sign_of_life_is_lost(address, monkeypatch):
    monkeypatch.setattr(machines, "SILENCE", 0.5)
    monkeypatch.setattr(machines, "BEAT", 60.0)
    host = Machine(0, 2, address, work=wait_for_news)
    silent = Machine(1, 2, address, work=lambda together: time.sleep(2))
    ended(host, silent)
    assert host.error.message == "machine 1 is lost"


def test_signs_of_life_keep_a_machine_that_has_nothing_to_say(address, monkeypatch):
    monkeypatch.setattr(machines, "SILENCE", 0.5)
    monkeypatch.setattr(machines, "BEAT", 0.05)
    busy = lambda together: time.sleep(1.2)  # noqa: E731
    assert ended(Machine(0, 2, address, work=busy), Machine(1, 2, address, work=busy)) == [None, None]


def test_the_reason_of_a_failure_reaches_all_others(address):
    def fail(together):
        raise EngineError("a training process ended with code 1")

    host, failing, other = (
        Machine(number, 3, address, work=fail if number == 1 else wait_for_news) for number in range(3)
    )
    ended(host, failing, other)
    assert host.error.message == other.error.message == "machine 1: a training process ended with code 1"


def test_results_that_never_come_are_an_error(address):
    def lose_after_the_work(together):
        with pytest.raises(queue.Empty):
            together.news.get(timeout=0.2)
        lose(together)

    member = Machine(1, 2, address)
    ended(Machine(0, 2, address, work=lose_after_the_work), member)
    assert member.error.message == "machine 0 is lost"
