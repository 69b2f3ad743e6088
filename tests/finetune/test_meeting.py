"""Machines that train together meet first: all are told to start, or all why not."""

from __future__ import annotations

import socket
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.network import free_port
from hypothesis import given
from hypothesis import strategies as st

from llmkit.cli.app import run
from llmkit.errors import EngineError, Incomplete, LlmkitError, UsageError
from llmkit.finetune import machines as meeting_room
from llmkit.finetune.machines import Machines, decline, host, join

SAME = {"llmkit": "1.0", "the name and recipe of the run": "lora-1", "the training data": "d1", "the base model": None}
START = {"finished": False, "checkpoint": "lora-1/checkpoints/checkpoint-2"}


@pytest.fixture
def first(monkeypatch):
    """Machine 0 of two, which waits a minute for the other, and two seconds for who comes late to a refusal."""
    monkeypatch.setattr(meeting_room, "_OTHERS", 2.0)
    return Machines(2, 0, "127.0.0.1", free_port(), patience=60.0, quiet=True)


@pytest.fixture
def others():
    with ThreadPoolExecutor(4) as pool:
        yield pool


def lead(machines: Machines, runs: Path, error: BaseException | None = None) -> None:
    """Machine 0 from its arrival to the start, or to an error before it."""
    with host(machines, runs) as meeting:
        meeting.gather(SAME)
        if error:
            raise error
        meeting.tell(START)


def refused(others: list[Future], kind: type[LlmkitError] = UsageError) -> list[str]:
    """Returns the messages of the machines that were refused."""
    errors = [future.exception(60) for future in others]
    assert [type(error) for error in errors] == [kind] * len(errors)
    assert all(error.hint for error in errors)
    return [error.message for error in errors]


def test_all_start_from_what_machine_0_says_and_the_port_is_free_then(first, others, tmp_path):
    first = replace(first, count=3)
    told = [others.submit(join, replace(first, rank=rank), tmp_path, SAME) for rank in (2, 1)]
    lead(first, tmp_path)
    socket.create_server(("", first.port)).close()
    assert [future.result(60) for future in told] == [START, START]
    assert list(tmp_path.iterdir()) == []


def test_machines_may_come_in_any_order(first, others, tmp_path):
    leader = others.submit(lead, first, tmp_path)
    time.sleep(1)
    assert join(replace(first, rank=1), tmp_path, SAME) == START
    assert leader.result(60) is None


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ({"the name and recipe of the run": "lora-2"}, "the name and recipe of the run (lora-2, not lora-1)"),
        ({"llmkit": "1.1"}, "llmkit (1.1, not 1.0)"),
        ({"the training data": "d2"}, "the training data (d2, not d1)"),
        ({"the base model": "m"}, "the base model (m, not None)"),
        ({"llmkit": "1.1", "the training data": "d2"}, "llmkit (1.1, not 1.0) and the training data (d2, not d1)"),
    ],
)
def test_another_training_is_refused_on_all_machines(first, others, tmp_path, statement, said):
    other = others.submit(join, replace(first, rank=1), tmp_path, SAME | statement)
    messages = refused([others.submit(lead, first, tmp_path), other])
    assert messages[0] == messages[1]
    assert "machine 1 (" in messages[0]
    assert f") in {said}" in messages[0]


def test_another_number_of_machines_is_refused_on_all(first, others, tmp_path):
    other = others.submit(join, replace(first, rank=2, count=3), tmp_path, SAME)
    messages = refused([others.submit(lead, first, tmp_path), other])
    assert messages[0] == messages[1]
    assert "--num-machines 3" in messages[0]


def test_two_machines_of_one_rank_are_refused_on_all(first, others, tmp_path):
    first = replace(first, count=3)
    twins = [others.submit(join, replace(first, rank=1), tmp_path, SAME) for _ in range(2)]
    messages = refused([others.submit(lead, first, tmp_path), *twins])
    assert len(set(messages)) == 1
    assert "two machines have --machine-rank 1" in messages[0]


def test_who_comes_after_a_refusal_hears_it_too(first, others, tmp_path):
    first = replace(first, count=3)
    leader = others.submit(lead, first, tmp_path)
    early = others.submit(join, replace(first, rank=1), tmp_path, SAME | {"llmkit": "1.1"})
    time.sleep(1)
    late = others.submit(join, replace(first, rank=2), tmp_path, SAME)
    assert len(set(refused([leader, early, late]))) == 1


def test_a_machine_with_another_disk_is_refused_on_all(first, others, tmp_path):
    (tmp_path / "own").mkdir()
    other = others.submit(join, replace(first, rank=1), tmp_path / "own", SAME)
    messages = refused([others.submit(lead, first, tmp_path / "runs"), other])
    assert messages[0] == messages[1]
    assert "does not see the run folders of machine 0" in messages[0]


def test_a_machine_that_cannot_train_says_so_and_nobody_waits(first, others, tmp_path):
    leader = others.submit(lead, first, tmp_path)
    decline(replace(first, rank=1), tmp_path, UsageError("2 processes on 1 GPUs"))
    (message,) = refused([leader])
    assert message.endswith("cannot train: 2 processes on 1 GPUs")


@pytest.mark.parametrize("error", [UsageError("another process works in runs", "wait"), EngineError("no", "do")])
def test_an_error_of_machine_0_is_told_to_the_others(first, others, tmp_path, error):
    other = others.submit(join, replace(first, rank=1), tmp_path, SAME)
    with pytest.raises(type(error)):
        lead(first, tmp_path, error)
    assert refused([other], type(error)) == [error.message]


def test_an_error_before_the_others_came_is_told_to_them(first, others, tmp_path):
    other = others.submit(join, replace(first, rank=1), tmp_path, SAME)
    with pytest.raises(UsageError), host(first, tmp_path):
        raise UsageError("no such model", "spell it")
    assert refused([other]) == ["no such model"]


def test_a_machine_that_never_comes_ends_the_wait_of_all(first, others, tmp_path):
    first = replace(first, count=4, patience=3.0)
    other = others.submit(join, replace(first, rank=2), tmp_path, SAME)
    messages = refused([others.submit(lead, first, tmp_path), other], Incomplete)
    assert messages[0] == messages[1]
    assert messages[0] == f"machine 1 and 3 of 4 did not come to {first.place} within 3 seconds"


def test_a_machine_0_that_never_comes_ends_the_wait(first, tmp_path):
    with pytest.raises(Incomplete, match="machine 0 did not come to 127"):
        join(replace(first, rank=1, patience=1.0), tmp_path, SAME)


def test_a_machine_that_left_and_comes_again_is_one(first, others, tmp_path):
    first = replace(first, count=3)
    leader = others.submit(lead, first, tmp_path)
    with meeting_room._connected(replace(first, rank=1), 60) as connection:
        meeting_room._greet(connection, replace(first, rank=1), tmp_path, SAME, None)
    time.sleep(1)
    told = [others.submit(join, replace(first, rank=rank), tmp_path, SAME) for rank in (1, 2)]
    assert [future.result(60) for future in told] == [START, START]
    assert leader.result(60) is None


@pytest.mark.parametrize("text", [b"", b"GET / HTTP/1.1\r\n\r\n", b"[1]\n", b'{"rank": 1}\n', b"\xff\n"])
def test_a_stranger_at_the_port_changes_nothing(first, others, tmp_path, text):
    leader = others.submit(lead, first, tmp_path)
    with meeting_room._connected(first, 60) as stranger:
        stranger.sendall(text)
        stranger.shutdown(socket.SHUT_WR)
        assert join(replace(first, rank=1), tmp_path, SAME) == START
    assert leader.result(60) is None


@pytest.mark.parametrize("line", [b"", b"HTTP/1.1 400\r\n", b"[]\n", b'{"file": 1}\n'])
def test_another_server_at_the_address_is_named(first, others, tmp_path, line):
    def answer(server):
        with server.accept()[0] as connection:
            connection.sendall(line)

    with socket.create_server(("", first.port)) as server:
        others.submit(answer, server)
        with pytest.raises(EngineError, match="is not machine 0 of this training"):
            join(replace(first, rank=1), tmp_path, SAME)


def test_machine_0_that_is_interrupted_leaves_nobody_waiting(first, others, tmp_path):
    other = others.submit(join, replace(first, rank=1), tmp_path, SAME)
    with pytest.raises(KeyboardInterrupt):
        lead(first, tmp_path, KeyboardInterrupt())
    assert "is not there any more" in refused([other], EngineError)[0]


def test_a_port_that_is_taken_is_refused(first, tmp_path):
    with (
        socket.create_server(("", first.port)),
        pytest.raises(UsageError, match=f"cannot listen on port {first.port}"),
        host(first, tmp_path),
    ):
        pass


def test_an_address_that_does_not_lead_to_machine_0_is_refused(first, tmp_path):
    elsewhere = replace(first, address="no-such-host.invalid")
    with pytest.raises(UsageError, match="does not reach itself at no-such-host"), host(elsewhere, tmp_path):
        pass


def test_a_folder_that_cannot_be_written_is_refused(first, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot write in"), host(first, tmp_path / "file"):
        pass


@given(
    count=st.integers(2, 1000),
    data=st.data(),
    address=st.text("abz09.-", min_size=1),
    port=st.none() | st.integers(1, 65_535),
)
def test_flags_are_read_as_they_are_written(count, data, address, port):
    rank = data.draw(st.integers(0, count - 1))
    found = Machines.of(count, rank, address if port is None else f"{address}:{port}", False)
    assert (found.count, found.rank, found.address, found.port) == (count, rank, address, port or 29_500)


def test_without_flags_there_is_one_machine():
    assert Machines.of(None, None, None, False) is None


DDP = ["--launch", "ddp", "--num-processes", "2"]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([*DDP, "--num-machines", "2"], "--machine-rank and --main-process are missing"),
        ([*DDP, "--machine-rank", "0", "--main-process", "a"], "--num-machines is missing"),
        ([*DDP, "--num-machines", "2", "--machine-rank", "0"], "--main-process is missing"),
        ([*DDP, "--num-machines", "1", "--machine-rank", "0", "--main-process", "a"], "1 is not several machines"),
        ([*DDP, "--num-machines", "2", "--machine-rank", "2", "--main-process", "a"], "not one of 2 machines"),
        ([*DDP, "--num-machines", "2", "--machine-rank", "-1", "--main-process", "a"], "not one of 2 machines"),
        ([*DDP, "--num-machines", "2", "--machine-rank", "0", "--main-process", ":1"], ":1 is not an address"),
        ([*DDP, "--num-machines", "2", "--machine-rank", "0", "--main-process", "a:b"], "a:b is not an address"),
        ([*DDP, "--num-machines", "2", "--machine-rank", "0", "--main-process", "a:99999"], "is not an address"),
        (["--num-machines", "2", "--machine-rank", "0", "--main-process", "a"], "--launch single is for one machine"),
        (
            ["--launch", "zero3", "--num-machines", "2", "--machine-rank", "0", "--main-process", "a"],
            "--launch zero3 is for one machine",
        ),
        (
            [*DDP, "--num-machines", "4", "--machine-rank", "0", "--main-process", "a"],
            "2 processes do not divide into 4 machines",
        ),
    ],
)
@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_flags_that_do_not_fit_together_are_refused_at_once(tmp_path, capsys, flags, said, dry):
    assert run(["finetune", "talklora-small", "--dir", str(tmp_path), *flags, *dry]) == 2
    written = capsys.readouterr().err
    assert said in written
    assert "hint:" in written
    assert list(tmp_path.iterdir()) == []
