"""`llmkit serve --replicas`: servers that are started again, and a file that lists only those that answer."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from helpers.processes import run, started

from llmkit.engines.server_list import ServerList
from llmkit.errors import EngineError, UsageError
from llmkit.serving import replicas as replicas_module
from llmkit.serving import server as server_module
from llmkit.serving.listed import HEADER, ServersFile
from llmkit.serving.replicas import Replicas, devices, replica_plans
from llmkit.serving.server import ServerPlan

pytestmark = pytest.mark.slow

TESTS = Path(__file__).parents[1]
PROGRAM = Path(__file__).with_name("replicas_run.py")


def plan(*options: str) -> ServerPlan:
    return ServerPlan("tiny", "tiny", [], "127.0.0.1", 0, 0, options=list(options))


def until(holds, seconds=120.0):
    """Waits until something holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def lives(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


class Serving:
    """A running `llmkit serve --replicas`, its file, and what is said of each server that answers."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self.process, self.file, self._pids = process, folder / "servers.txt", folder / "pids.txt"

    def ready(self) -> dict[str, object]:
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1]
        return json.loads(line)

    def listed(self) -> list[str]:
        return ServerList(self.file).read()

    def pids(self) -> list[int]:
        """All processes of all servers so far."""
        return [int(pid) for line in self._pids.read_text().splitlines() for pid in line.split()]


@contextmanager
def serving(model, folder, count=2, options=()):
    command = [sys.executable, PROGRAM, "serve", "--model", model, "--json"]
    command += ["--replicas", str(count), "--servers", folder / "servers.txt", "--", *options]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "REPLICA_PIDS": str(folder / "pids.txt")}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with started(command, 240, env=environment, **pipes) as process:
        yield Serving(process, folder)


def test_what_answers_is_listed_what_died_is_started_again_and_all_end_together(tiny_llama, tmp_path):
    with serving(tiny_llama, tmp_path) as it:
        first, second = it.ready(), it.ready()
        assert sorted(it.listed()) == sorted([first["url"], second["url"]])
        assert first["models"] == ["tiny-llama"]
        os.kill(first["pid"], signal.SIGKILL)
        until(lambda: it.listed() == [second["url"]])
        third = it.ready()
        assert it.listed() == [second["url"], third["url"]]
        it.process.send_signal(signal.SIGTERM)
        out, log = it.process.communicate()
        assert (it.process.returncode, out) == (0, ""), log
        assert "starting again in 0.1 s, because the server died while serving (exit code -9)" in log
        assert len(it.pids()) == 6
        assert not any(map(lives, it.pids()))  # the engine of the killed one, too
    assert not it.file.exists()


def test_a_killed_parent_leaves_neither_servers_nor_a_file(tiny_llama, tmp_path):
    with serving(tiny_llama, tmp_path) as it:
        it.ready(), it.ready()
        it.process.kill()
        it.process.wait(30)
        until(lambda: not it.file.exists())
        until(lambda: not any(map(lives, it.pids())))


def test_what_is_running_is_answered_before_the_end(tiny_llama, tmp_path):
    with serving(tiny_llama, tmp_path, count=1, options=["--slow"]) as it:
        url = it.ready()["url"]
        answers = []
        body = json.dumps({"model": "tiny-llama", "prompt": "one two"}).encode()

        def ask():
            request = urllib.request.Request(f"{url}/completions", body, {"Content-Type": "application/json"})
            answers.append(json.loads(urllib.request.urlopen(request, timeout=30).read())["choices"][0]["text"])

        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        time.sleep(0.2)
        it.process.send_signal(signal.SIGINT)
        asking.join(30)
        it.process.communicate()
    assert answers == ["two one"]
    assert it.process.returncode == 0


def test_a_fault_of_the_command_ends_all_at_once(tiny_llama, tmp_path):
    with serving(tiny_llama, tmp_path, options=["--dies"]) as it:
        out, log = it.process.communicate()
    assert (it.process.returncode, out) == (1, "")
    assert "error: the server died while starting (exit code 3)\n  | no such option: --dies" in log
    assert not it.file.exists()


@pytest.fixture
def scripted(monkeypatch):
    monkeypatch.setattr(server_module, "CHILD", (sys.executable, str(TESTS / "helpers" / "replica.py")))
    monkeypatch.setattr(replicas_module, "DELAYS", (0.05, 0.05))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))


def test_a_replica_that_cannot_start_is_given_up_and_the_others_go_on(scripted, tmp_path):
    works, dies = replica_plans(plan(), 2)
    notes, ready = [], []
    with ServersFile(tmp_path / "servers.txt", 5) as file:
        plans = [works, ServerPlan(**{**vars(dies), "options": ["--dies"]})]
        with Replicas(plans, [None, "3"], file, lambda *said: ready.append(said), notes.append):
            until(lambda: ready and any("given up after 3 deaths" in text for text in notes))
            assert ServerList(file.path).read() == [ready[0][0]] == [f"http://127.0.0.1:{works.port}/v1"]
            os.kill(ready[0][2], signal.SIGKILL)
            until(lambda: len(ready) == 2)


def test_all_given_up_is_an_error(scripted, tmp_path):
    file = ServersFile(tmp_path / "servers.txt", 5)
    with file, Replicas(replica_plans(plan(), 1), [None], file, kill, print) as replicas, pytest.raises(EngineError):
        replicas.wait()
    assert replicas.was_ready
    assert not file.path.exists()


def kill(url, models, pid):
    os.kill(pid, signal.SIGKILL)


def test_a_port_that_was_taken_meanwhile_is_left(scripted, tmp_path):
    (one,) = replica_plans(plan(), 1)
    ready = []
    file = ServersFile(tmp_path / "servers.txt", 5)
    servers = Replicas([one], [None], file, lambda *said: ready.append(said), print)
    with socket.create_server(("127.0.0.1", one.port)), file, servers:
        until(lambda: ready)
        assert ServerList(file.path).read() == [ready[0][0]] != [f"http://127.0.0.1:{one.port}/v1"]


def test_ports_are_all_different():
    assert len({made.port for made in replica_plans(plan(), 50)}) == 50


@pytest.mark.parametrize(
    ("gpus", "visible", "count", "expected"),
    [
        (0, None, 2, [None, None]),
        (8, None, 4, ["0,1", "2,3", "4,5", "6,7"]),
        (3, None, 2, ["0", "1"]),
        (2, "5,GPU-12ab", 2, ["5", "GPU-12ab"]),
        (1, "3", 1, ["3"]),
    ],
)
def test_each_replica_has_devices_of_its_own(gpus, visible, count, expected, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert devices(count) == expected


def test_more_replicas_than_gpus_are_refused(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    with pytest.raises(UsageError, match="4 replicas on 2 GPUs"):
        devices(4)


def test_servers_on_every_address_are_listed_by_the_name_of_the_machine(monkeypatch):
    everywhere = ServerPlan(**{**vars(plan()), "host": "0.0.0.0", "port": 4242})
    monkeypatch.setattr("socket.getfqdn", lambda: "localhost")
    assert replicas_module.address(everywhere) == "http://localhost:4242/v1"
    monkeypatch.setattr("socket.getfqdn", lambda: "no-such-machine.invalid")
    with pytest.raises(UsageError, match="leads to no address"):
        replica_plans(everywhere, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--replicas", "2"], "--replicas and --servers go together"),
        (["--servers", "servers.txt"], "--replicas and --servers go together"),
        (["--replicas", "2", "--servers", "f", "--port", "8000"], "2 servers cannot share port 8000"),
        (["--replicas", "2", "--servers", "f", "--repair", "r.json"], "a repair goes in front of one server"),
        (["--replicas", "0", "--servers", "f"], "Invalid value for '--replicas'"),
    ],
)
def test_flags_that_do_not_go_together(arguments, message, tmp_path):
    done = run([sys.executable, "-m", "llmkit", "serve", "--model", "smollm2-135m", *arguments], cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_somebody_else_is_not_overwritten(tmp_path):
    notes = tmp_path / "notes.txt"
    notes.write_text("http://a:1/v1\n")
    with pytest.raises(UsageError, match="was not written by llmkit serve"), ServersFile(notes, 1):
        pass
    assert notes.read_text() == "http://a:1/v1\n"
    with pytest.raises(UsageError, match="cannot write"), ServersFile(notes / "servers.txt", 1):
        pass


@pytest.mark.parametrize("name", ["", "/", "folder", "pipe"])
def test_what_is_no_file_is_not_replaced(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    os.mkfifo("pipe")
    with pytest.raises(UsageError, match="is not a file"), ServersFile(Path(name), 1):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "pipe"]


def test_a_file_that_was_left_behind_is_taken_over(tmp_path):
    """As by a machine that lost its power."""
    left = tmp_path / "servers.txt"
    left.write_text(f"{HEADER}\nhttp://127.0.0.1:1/v1\n")
    with ServersFile(left, 1) as file:
        assert ServerList(left).read() == []
        file.add(7, "http://127.0.0.1:2/v1")
        assert ServerList(left).read() == ["http://127.0.0.1:2/v1"]
    assert not left.exists()


def test_one_file_has_one_keeper(tiny_llama, tmp_path):
    with serving(tiny_llama, tmp_path, count=1) as it:
        it.ready()
        with pytest.raises(UsageError, match="another llmkit serve keeps"), ServersFile(it.file, 1):
            pass
        assert len(it.listed()) == 1
        it.process.terminate()
        it.process.communicate()
