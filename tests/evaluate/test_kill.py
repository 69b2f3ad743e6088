"""A run that is killed at any moment loses at most what was in flight."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

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
