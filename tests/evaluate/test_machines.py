"""Eight machines, each with a part of the work, killed at random moments and started again by the same command: what
they come to together is what one machine comes to that nothing disturbs."""

from __future__ import annotations

import json
import random
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest
from helpers.killing import Forks, marks, result

from llmkit import evaluate
from llmkit.cli import app
from llmkit.runs import Run

MACHINES = 8
RECIPE = {
    "model.path": "scripted",
    "data.task": "arithmetic",
    "data.limit": 40,
    "data.size": 60,
    "perturb.conditions": ["ec", "woo"],
    "eval.interval.draws": 100,
}
SETS = [part for key, value in RECIPE.items() for part in ("--set", f"{key}={json.dumps(value)}")]


def outcomes(folder):
    """The outcomes by key, without times and without what tells who asked first."""
    rows = {row["key"]: row for row in Run(folder).outcomes()}
    for row in rows.values():
        row["calls"] = [{k: v for k, v in call.items() if k not in ("seconds", "cached")} for call in row["calls"]]
    return rows


def together(tmp_path, machine):
    """Runs machine(host, number, random) for each of the eight, two at a time, each pair of hosts with a seed of its
    own; returns how often each was killed."""

    def of_host(first):
        chance = random.Random(f"host {first}")
        with Forks(tmp_path) as host:
            return [machine(host, number, chance) for number in range(first, MACHINES + 1, 2)]

    with ThreadPoolExecutor(2) as pool:
        return [kills for killed in pool.map(of_host, (1, 2)) for kills in killed]


@pytest.mark.slow
def test_eight_machines_that_are_killed_come_to_the_undisturbed_run(tmp_path):
    def machine(host, number, chance):
        command = ["eval", "--quiet", *SETS, "--dir", str(tmp_path / "cut"), "--shard", f"{number}/{MACHINES}"]
        log = tmp_path / f"{number}.log"
        kills = 0
        for _ in range(chance.randint(1, 2)):
            # 15 answers in all: somewhere in the first part of what is left, at a moment of the next answers.
            kills += host.run(command, log, "answer", chance.randint(1, 4), chance.uniform(0, 0.01)) == -signal.SIGKILL
        assert host.run(command, log) == 0
        return kills

    kills = together(tmp_path, machine)
    with Forks(tmp_path) as host:
        whole = ["eval", "--quiet", "--no-cache", *SETS, "--dir", str(tmp_path / "whole")]
        assert host.run(whole, tmp_path / "whole.log") == 0

    assert sum(kills) >= MACHINES, "hardly any machine was killed"
    shards = sorted((tmp_path / "cut").iterdir())
    assert len(shards) == MACHINES
    merged = evaluate.merge_folders(shards).folder
    (undisturbed,) = (tmp_path / "whole").iterdir()
    assert outcomes(merged) == outcomes(undisturbed)
    assert result(tmp_path / "cut") == result(tmp_path / "whole")
    # A kill loses at most the one reply that neither cache nor journal had yet.
    asked = [name for log in tmp_path.glob("?.log") for name, _, _ in marks(log) if name == "answer"]
    assert len(asked) <= len(outcomes(merged)) + sum(kills)


@pytest.mark.slow
def test_eight_machines_that_are_killed_write_the_bytes_of_one(tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text(
        "".join(json.dumps({"id": f"r{n}", "question": f"Tom buys {n} red apples today."}) + "\n" for n in range(2000))
    )
    noise = ["perturb", str(rows), "--op", "ec,typing", "--quiet"]

    def machine(host, number, chance):
        command = [*noise, "-o", str(tmp_path / "noisy"), "--shard", f"{number}/{MACHINES}"]
        log = tmp_path / f"{number}.log"
        kills = 0
        for _ in range(3):
            kills += host.run(command, log, "start", 1, chance.uniform(0, 0.4)) == -signal.SIGKILL
        assert host.run(command, log) == 0
        return kills

    kills = together(tmp_path, machine)
    assert sum(kills) >= 2, "hardly any machine was killed"
    assert app.run([*noise, "-o", str(tmp_path / "whole.jsonl")]) == 0
    assert app.run([*noise, "-o", str(tmp_path / "noisy"), "--check"]) == 0
    parts = sorted((tmp_path / "noisy").glob("part-*"))
    assert len(parts) == MACHINES
    assert b"".join(part.read_bytes() for part in parts) == (tmp_path / "whole.jsonl").read_bytes()
