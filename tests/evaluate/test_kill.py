"""A run that is killed at any moment loses at most what was in flight."""

from __future__ import annotations

import json
import multiprocessing
import random
import shutil
import signal
import time
from collections import Counter

import pytest
from helpers.killing import Forks, marks, result, rop
from helpers.processes import LIMIT

from llmkit import evaluate
from llmkit.recipe import load

RECIPE = {
    "model.path": "scripted",
    "data.task": "arithmetic",
    "data.limit": 8,
    "data.size": 60,
    "perturb.conditions": ["ec", "woo"],
    "rop.search.budget": 12,
    "rop.search.pool": 6,
    "eval.interval.draws": 100,
}


def test_killed_at_20_random_moments_a_run_ends_in_the_same_bytes(tmp_path):
    with Forks(tmp_path) as forks:

        def run(name, mark="", count=1, delay=0.0):
            return forks.run(rop(RECIPE, tmp_path / name), tmp_path / f"{name}.log", mark, count, delay)

        assert run("whole") == 0
        shutil.rmtree(tmp_path / "cache")  # or there would be nothing left to ask
        undisturbed = marks(tmp_path / "whole.log")
        at = {name: when for name, when, _ in reversed(undisturbed)}  # the first of each
        longest = {"start": at["answer"] - at["start"], "answer": 0.002, "measure": at["end"] - at["measure"]}
        total, random_ = len(undisturbed) - 3, random.Random(3)
        plan = ["start"] * 5 + ["answer"] * 10
        random_.shuffle(plan)
        plan += ["measure"] * 50  # in the end a report is written again and again, sometimes before the kill
        kills = Counter()
        while kills.total() < 20:
            mark = plan.pop(0)
            count = random_.randint(1, total // 15) if mark == "answer" else 1
            kills[mark] += run("killed", mark, count, random_.uniform(0, longest[mark])) == -signal.SIGKILL
        assert kills == {"start": 5, "answer": 10, "measure": 5}
        assert run("killed") == 0

    assert result(tmp_path / "killed") == result(tmp_path / "whole")
    asked = [what for name, _, what in marks(tmp_path / "killed.log") if name == "answer"]
    assert {str(what) for what in asked} == {str(what) for name, _, what in undisturbed if name == "answer"}
    # A kill loses at most the one reply that neither cache nor journal had yet.
    assert len(asked) <= total + kills.total()


VLLM = {
    "engine.kind": "vllm",
    "engine.dtype": "float32",
    "engine.kv_cache_gib": 0.1,
    "engine.max_model_len": 1024,
    "engine.max_num_seqs": 4,  # replies come a few at a time, so that there is a middle to be killed in
    "data.limit": 6,
    "rop.arms": ["stand", "rop"],
    "rop.max_tokens": 12,
    "rop.correction_max_tokens": 32,
    "rop.search.demos": 2,
    "rop.search.max_tokens": 12,
    "rop.search.queries": 1,
    "rop.search.completions": 2,
}


def journal(folder):
    """The finished lines of a run's journal, also while it is being written."""
    files = list(folder.glob("*/samples.jsonl"))
    text = files[0].read_text() if files else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


@pytest.mark.tiny
@pytest.mark.xdist_group("engine")
def test_vllm_killed_twice_ends_in_the_same_metrics_and_the_same_words(tmp_path, tiny_llama, monkeypatch):
    pytest.importorskip("vllm")
    monkeypatch.setenv("LLMKIT_CACHE", str(tmp_path / "cache"))
    server = multiprocessing.get_context("forkserver")  # imports vLLM once; each run is a fork of it
    server.set_forkserver_preload(["vllm.entrypoints.llm", "llmkit.evaluate.run"])

    def begin(name, use_cache):
        recipe = load(None, RECIPE | VLLM | {"model.path": tiny_llama, "output.dir": str(tmp_path / name)})
        process = server.Process(
            target=evaluate.run, args=(recipe, "rop"), kwargs={"quiet": True, "use_cache": use_cache}, daemon=True
        )
        process.start()
        return process

    def end(process):
        process.join(LIMIT)
        process.kill()  # one that is still running; then its exit code is not what the test wants
        process.join(60)
        return process.exitcode

    whole = begin("whole", use_cache=False)
    assert end(whole) == 0
    undisturbed = journal(tmp_path / "whole")
    for share in (0.3, 0.7):
        process = begin("killed", use_cache=True)
        deadline = time.monotonic() + LIMIT
        while process.is_alive() and len(journal(tmp_path / "killed")) < share * len(undisturbed):
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.kill()
        assert end(process) == -signal.SIGKILL
        assert len(journal(tmp_path / "killed")) < len(undisturbed)
    process = begin("killed", use_cache=True)
    assert end(process) == 0

    assert result(tmp_path / "killed") == result(tmp_path / "whole")
    rows = journal(tmp_path / "killed")
    outcomes = [row["key"] for row in rows if row["kind"] == "outcome"]
    assert len(outcomes) == len(set(outcomes))  # no finished question was asked again

    def words(rows):
        return {row["key"]: (row["said"], row["corrected_text"]) for row in rows if row["kind"] == "outcome"}

    assert words(rows) == words(undisturbed)
    assert len({said for said, _ in words(rows).values()}) > 20
