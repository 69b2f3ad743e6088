"""A full disk, wherever it strikes: exit code 4, what finished is kept, and the same command goes on."""

from __future__ import annotations

import builtins
import errno
import os
import sys
from pathlib import Path

import pytest
from helpers.fakes import FakeEngine
from helpers.processes import run

from llmkit import files

COMMAND = [
    *("eval", "--model", "scripted", "--engine", "fake", "--task", "arithmetic", "--limit", "2"),
    *("--conditions", "ec", "--json"),
    *("--set", "data.size=60", "--set", "eval.interval.draws=200"),
]


class Disk:
    """Fails with ENOSPC at the operation that `full_at` names, counted from 0 since it was set."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.full_at: int | None = None
        self.seen = 0

    def guard(self, operation, mine=lambda *args: True):
        def guarded(*args, **kwargs):
            if mine(*args):
                number, self.seen = self.seen, self.seen + 1
                if number == self.full_at:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return operation(*args, **kwargs)

        return guarded


@pytest.fixture
def disk(monkeypatch, tmp_path):
    """Counts what is made, opened, written and flushed below the test's folder."""
    made = Disk(tmp_path)
    here = str(tmp_path)
    monkeypatch.setattr(Path, "mkdir", made.guard(Path.mkdir, lambda path, *_: str(path.absolute()).startswith(here)))
    monkeypatch.setattr(files, "open", made.guard(builtins.open), raising=False)
    monkeypatch.setattr(os, "fsync", made.guard(os.fsync))
    journal = lambda number, *_: os.readlink(f"/proc/self/fd/{number}").endswith("samples.jsonl")  # noqa: E731
    monkeypatch.setattr(os, "write", made.guard(os.write, journal))
    return made


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_wherever_the_disk_is_full_a_run_ends_with_4_and_the_same_command_goes_on(llmkit, disk, opens):
    asked = []
    engine = FakeEngine(lambda request: asked.append(request.messages) or "The answer is 4.")
    opens(lambda model, section: engine)
    ends, answered = [], 0
    while not ends or ends[-1] == 4:
        disk.full_at, disk.seen = 3 * len(ends), 0  # every third place: of each file it is now the opening, now the end
        code, _, err = llmkit(*COMMAND)
        ends.append(code)
        if disk.seen > disk.full_at:
            assert code == 4, err
            assert "no space left" in err
            assert "hint: free some space" in err
        journal = next(Path("runs").glob("*/samples.jsonl"), None)
        lines = journal.read_bytes().count(b"\n") if journal else 0
        assert lines >= answered  # what finished is kept
        answered = lines
    assert ends[-1] == 0
    assert len(ends) > 7
    assert answered == 4
    assert len(asked) == len(set(asked)) == 4  # nothing was asked twice


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_behind_stdout_is_said():
    script = "from llmkit.cli.app import main; main(['recipe', 'schema'])"
    with open("/dev/full", "w") as full:
        done = run([sys.executable, "-c", script], stdout=full)
    assert done.returncode == 4
    assert done.stderr.startswith("error: no space left\nhint: free some space")


def test_what_a_library_says_of_a_full_disk_is_understood(llmkit, opens):
    def convert(model, engine):
        raise RuntimeError("I/O error: No space left on device (os error 28)")

    opens(convert)
    code, _, err = llmkit(*COMMAND)
    assert code == 4
    assert "error: no space left\nhint: free some space" in err
