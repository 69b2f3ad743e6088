"""A small part of `make attack`, and that its last result is of this code."""

from __future__ import annotations

import sys
from contextlib import closing

import pytest
from helpers.attack import copies, result
from helpers.attack.fuzz import Fuzzer
from helpers.attack.kills import KillAttack
from helpers.attack.known import sorted_out
from helpers.attack.sandbox import Case, Outcome, Sandbox, wrong
from helpers.attack.servers import ServerAttack

SEED = 1
pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the sandbox looks into /proc")


def test_300_commands_that_nobody_would_write():
    found: list[str] = []
    with closing(Fuzzer(SEED)) as fuzzer:
        assert str(fuzzer.case(3)) == str(fuzzer.case(3))
        for number in range(300):
            found += fuzzer.findings(number)
    assert sorted_out(found)[0] == []


def test_every_fault_of_a_server():
    """All in one run, then some that strike every call; `make attack` tries each alone, in every pattern."""
    with closing(ServerAttack()) as attack:
        found = attack.together()
        for fault in (
            "429 for a year",
            "429 and no number",
            "429 before now",
            "401",
            "a page",
            "content a number",
            "deep",
            "drip",
            "a redirect elsewhere",
            "top_logprobs null",
        ):
            found += attack.findings(fault, "every call", again=False)
    assert sorted_out(found)[0] == []


def test_runs_that_are_ended_at_any_moment_go_on():
    found: list[str] = []
    with closing(KillAttack()) as attack:
        for number in range(3):
            found += attack.findings(SEED, number, kills=2)
    assert sorted_out(found)[0] == []


def test_noisy_copies_of_real_questions():
    assert [what for number in range(500) for what in copies.findings(SEED, number)] == []


def test_the_result_is_of_this_code():
    last = result.read()
    assert last["digest"] == result.digest(), "what is attacked has changed since: make attack"
    assert last["findings"] == []
    assert result.table(last) in result.PAGE.read_text(encoding="utf-8"), "the page shows another result: make attack"


@pytest.mark.parametrize(
    ("outcome", "finding"),
    [
        (Outcome(0, "", ""), None),
        (Outcome(2, "", "error: no"), None),
        (Outcome(2, "", ""), "without a word"),
        (Outcome(7, "", "error"), "exit code 7"),
        (Outcome(1, "", "error: internal: ValueError: x"), "internal"),
        (Outcome(1, "", "Traceback (most recent call last)"), "traceback"),
        (Outcome(0, "\x1b[2J", ""), "control characters on stdout"),
        (Outcome(0, "a\rb", ""), "control characters on stdout"),
        (Outcome(0, "", "\x9b"), "control characters on stderr"),
        (Outcome(None, "", "", KeyError("x")), "escaped"),
    ],
)
def test_a_fault_is_found_where_there_is_one(outcome, finding):
    found = list(wrong(["runs", "ls"], outcome))
    assert (finding is None) == (not found)
    assert finding is None or finding in found[0]


def test_a_file_that_nobody_named_is_found(monkeypatch):
    def stray(args, stdin, seconds):
        from pathlib import Path

        Path("runs").mkdir()
        for name in ("runs/x", "named", "../../stray"):
            Path(name).write_text("")
        return Outcome(0, "", "")

    monkeypatch.setattr("helpers.attack.sandbox.invoke", stray)
    with closing(Sandbox()) as sandbox:
        assert sandbox.run(Case(["x"], writes=["named"])) == ["a file outside --out: home/stray"]
        assert not list(sandbox.work.iterdir())
