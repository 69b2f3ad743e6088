"""benchmarks/proxy.py: its two sides understand each other, and its table says what was measured."""

from __future__ import annotations

import sys
from dataclasses import replace

from helpers import benchmarks

bench = benchmarks.load("proxy")


def test_client_and_scripted_server_stream_and_answer_as_http_does():
    with bench.started(sys.executable, bench.__file__, "--serve") as (_, line):
        load = bench.Load(int(line), streams=2, each=1, first=0, streaming=True)
        streamed = bench.asked(load)
        short = bench.asked(replace(load, streams=3, each=2, streaming=False))
    assert (len(streamed["first"]), len(streamed["whole"]), streamed["failures"]) == (2, 2, 0)
    assert all(first < whole for first, whole in zip(streamed["first"], streamed["whole"], strict=True))
    assert (len(short["whole"]), short["failures"]) == (6, 0)


def test_every_request_has_a_text_of_its_own():
    assert len({bench.text(number) for number in range(1000)}) == 1000


def measured(first: float, rate: float) -> dict:
    times = {50: first, 95: first + 1}
    return {"requests_per_second": rate, "first_ms": times, "whole_ms": times, "cpu_ms_per_request": 5.0}


def test_the_table_compares_within_a_round_and_takes_the_median_one():
    """A round on a busy machine is slow for all, and says nothing about the proxy."""
    rounds = [
        {"direct": measured(200 + busy, 64), "pass": measured(201 + busy, 63), "repair": measured(203 + busy, 48)}
        for busy in (0, 500, 3)
    ]
    compared = bench.compared(rounds)
    assert compared["pass"]["added_first_p95_ms"] == {"median": 1, "least": 1, "most": 1}
    assert compared["repair"]["rate"]["median"] == 0.75
    half = {"compared": compared, "date": "1 May 2026", "rounds": 3, "streams": 64, "requests_of_a_stream": 8}
    curve = [{"requests": 0, "proxy": 60.0, "workers": 210.0}, {"requests": 20000, "proxy": 61.5, "workers": 210.0}]
    record = {
        "streaming": {**half, "cores": 2, "load": "1 to 2", "real_time": False},
        "memory": {"date": "1 May 2026", "curve": curve},
    }
    table = bench.table(record)
    assert "| `repair`, unfired | +3.0 ms (+3.0 to +3.0) |" in table
    assert "| 20,000 | 61.5 | 210.0 |" in table
    assert bench.table({}) == ""
