"""A bound on requests a second, by a clock that the test turns."""

from __future__ import annotations

import asyncio
import itertools
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmkit.engines.pace import Pace


@given(rate=st.floats(0.1, 1000), arrivals=st.lists(st.floats(0, 3), max_size=50))
def test_no_two_requests_are_closer_than_the_rate_allows(rate, arrivals):
    now = 0.0
    pace = Pace(rate, lambda: now)
    sent = []
    for wait in arrivals:
        now += wait
        sent.append(now + pace.reserve())
        assert sent[-1] >= now
    gaps = [b - a for a, b in itertools.pairwise(sent)]
    assert all(gap >= 1 / rate - 1e-9 for gap in gaps)


def test_who_comes_late_enough_does_not_wait():
    now = 0.0
    pace = Pace(2, lambda: now)
    assert [pace.reserve() for _ in range(3)] == [0.0, 0.5, 1.0]
    now = 10.0
    assert [pace.reserve() for _ in range(3)] == [0.0, 0.5, 1.0], "and saves no turns up"


def test_threads_share_the_turns():
    pace = Pace(10, lambda: 0.0)
    barrier = threading.Barrier(8)

    def take(_):
        barrier.wait(timeout=30)
        return [pace.reserve() for _ in range(50)]

    with ThreadPoolExecutor(8) as threads:
        waits = sorted(wait for taken in threads.map(take, range(8)) for wait in taken)
    assert waits == pytest.approx([i / 10 for i in range(400)])


def test_without_a_rate_nobody_waits():
    pace = Pace(None)
    assert {pace.reserve() for _ in range(100)} == {0.0}
    asyncio.run(asyncio.wait_for(pace.turn(), 30))
