"""A run that is killed at any moment loses at most what was in flight."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from llmkit.evaluate import pipeline
from llmkit.recipe import load

SCRIPT = Path(__file__).with_name("killed_run.py")
RECIPE = {
    "model.path": "scripted",
    "data.task": "arithmetic",
    "data.limit": 8,
    "data.size": 60,
    "perturb.conditions": ["ec", "woo"],
    "rop.search.budget": 12,
    "rop.search.pool": 6,
    "eval.interval.draws": 200,
}


def start(tmp_path, name):
    log = tmp_path / f"{name}.log"
    command = [sys.executable, str(SCRIPT), str(tmp_path / name), str(log), json.dumps(RECIPE)]
    env = os.environ | {"LLMKIT_CACHE": str(tmp_path / f"{name}-cache")}
    return subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE), log


def asked(log):
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def result(tmp_path, name):
    metrics = json.loads(next((tmp_path / name).glob("*/metrics.json")).read_text())
    return {k: v for k, v in metrics.items() if k != "timing"}


def test_killed_at_20_random_moments_a_run_ends_in_the_same_metrics(tmp_path):
    whole, log = start(tmp_path, "whole")
    assert whole.wait(120) == 0, whole.stderr.read().decode()
    total = len(asked(log))
    random_ = random.Random(3)
    kills = 0
    while True:
        process, log = start(tmp_path, "killed")
        goal = len(asked(log)) + random_.randint(1, max(1, total // 12))
        while kills < 20 and process.poll() is None and len(asked(log)) < goal:
            time.sleep(0.002)
        if kills < 20 and process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
            continue
        assert process.wait(120) == 0, process.stderr.read().decode()
        break
    assert kills >= 8
    assert result(tmp_path, "killed") == result(tmp_path, "whole")
    # Each kill loses at most the replies that no cache or journal had yet: the one in flight.
    assert len(asked(log)) <= total + kills


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
    server.set_forkserver_preload(["vllm.entrypoints.llm", "llmkit.evaluate.pipeline"])

    def begin(name, use_cache):
        recipe = load(None, RECIPE | VLLM | {"model.path": tiny_llama, "output.dir": str(tmp_path / name)})
        process = server.Process(
            target=pipeline.run, args=(recipe, "rop"), kwargs={"quiet": True, "use_cache": use_cache}
        )
        process.start()
        return process

    whole = begin("whole", use_cache=False)
    whole.join(300)
    assert whole.exitcode == 0
    undisturbed = journal(tmp_path / "whole")
    for share in (0.3, 0.7):
        process = begin("killed", use_cache=True)
        while process.is_alive() and len(journal(tmp_path / "killed")) < share * len(undisturbed):
            time.sleep(0.005)
        process.kill()
        process.join(60)
        assert process.exitcode == -signal.SIGKILL
        assert len(journal(tmp_path / "killed")) < len(undisturbed)
    process = begin("killed", use_cache=True)
    process.join(300)
    assert process.exitcode == 0

    assert json.dumps(result(tmp_path, "killed")) == json.dumps(result(tmp_path, "whole"))
    rows = journal(tmp_path / "killed")
    outcomes = [row["key"] for row in rows if row["kind"] == "outcome"]
    assert len(outcomes) == len(set(outcomes))  # no finished question was asked again

    def words(rows):
        return {row["key"]: (row["said"], row["corrected_text"]) for row in rows if row["kind"] == "outcome"}

    assert words(rows) == words(undisturbed)
    assert len({said for said, _ in words(rows).values()}) > 20
