"""Processes that tests start end in time, with all that they started."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest
from helpers.processes import TookTooLong, in_processes, run, started

SLEEPS = "import time; print('asleep', flush=True); time.sleep(600)"


def test_what_does_not_end_is_killed_and_shows_what_it_wrote():
    with pytest.raises(TookTooLong, match="asleep"), started([sys.executable, "-c", SLEEPS], 3, stdout=subprocess.PIPE):
        time.sleep(3.5)
    with pytest.raises(TookTooLong):
        run([sys.executable, "-c", SLEEPS], limit=1)


def test_who_reads_from_what_does_not_end_goes_on():
    pipes = {"stdout": subprocess.PIPE, "text": True}
    with pytest.raises(TookTooLong), started([sys.executable, "-c", SLEEPS], 5, **pipes) as process:
        said = process.stdout.read()
    assert (said, process.returncode) == ("asleep\n", -9)


@pytest.mark.parametrize("away", ["", "process_group=0", "start_new_session=True"])
def test_what_a_process_started_ends_with_it(away):
    parent = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEPS!r}], {away}).wait()"
    with started([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "asleep\n"
    assert process.stdout.closed  # that is, read to its end: nobody holds the other one


def test_a_function_that_does_not_end_is_killed():
    assert in_processes(time.sleep, (0,), (0,)) == [0, 0]
    with pytest.raises(TookTooLong, match=r"sleep is still running after 2 seconds in processes \[1\]"):
        in_processes(time.sleep, (0,), (600,), limit=2)


@pytest.mark.xdist_group("groups")
def test_under_xdist_the_group_of_a_test_ends_its_id(request):
    """By which xdist distributes it; where it is missing, each worker starts the servers and trainings of all."""
    assert request.node.nodeid.endswith("@groups") == ("PYTEST_XDIST_WORKER" in os.environ)
