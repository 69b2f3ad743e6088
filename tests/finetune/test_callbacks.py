"""What a training says about itself while it runs."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from llmkit.finetune import callbacks
from llmkit.finetune.callbacks import Reporter


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test sets: `clock.now`, in seconds."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(callbacks, "time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(callbacks, "peak_memory_gib", lambda: 3.14)
    return clock


def begin(reporter, step=0, **kept):
    state = SimpleNamespace(global_step=step, is_world_process_zero=True, stateful_callbacks=kept)
    reporter.on_train_begin(None, state, None)
    return state


def test_a_line_has_loss_speed_time_left_and_memory(clock, tmp_path):
    reporter = Reporter(tmp_path, 90, quiet=True)
    state = begin(reporter)
    assert reporter.line(0) == "step 0/90, 3.1 GiB"
    clock.now += 104
    state.global_step = 40
    reporter.on_log(None, state, None, {"loss": 0.4123, "num_tokens": 44_824.0})
    reporter.on_log(None, state, None, {"eval_loss": 0.5067})
    assert reporter.line(40) == "step 40/90, loss 0.412, dev 0.507, 431 tokens/s, 2:10 left, 3.1 GiB"
    assert reporter.line(90) == "step 90/90, loss 0.412, dev 0.507, 431 tokens/s, 3.1 GiB"
    logged = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert logged == [{"step": 40, "loss": 0.4123, "num_tokens": 44_824.0}, {"step": 40, "eval_loss": 0.5067}]


def test_a_resumed_training_counts_its_own_tokens_and_time(clock, tmp_path):
    reporter = Reporter(tmp_path, 90, quiet=True)
    state = begin(reporter, 40, Reporter={"args": {}, "attributes": {"seconds": 500.0}})
    clock.now += 10
    reporter.on_log(None, state, None, {"num_tokens": 1000})
    assert reporter.line(50) == "step 50/90, 100 tokens/s, 0:40 left, 3.1 GiB"
    clock.now += 10
    reporter.on_log(None, state, None, {"num_tokens": 3000})
    assert reporter.line(60) == "step 60/90, 150 tokens/s, 0:30 left, 3.1 GiB"
    assert reporter.state() == {"args": {}, "attributes": {"seconds": 520.0}}


def test_lines_come_at_most_every_ten_seconds_and_at_the_end(clock, tmp_path, capsys):
    reporter = Reporter(tmp_path, 5, quiet=False)
    state = begin(reporter)
    for step in range(1, 6):
        clock.now += 4
        state.global_step = step
        reporter.on_step_end(None, state, None)
    reporter.on_train_end(None, state, None)
    shown = [line.split(",")[0] for line in capsys.readouterr().err.splitlines()]
    assert shown == ["train: step 1/5", "train: step 4/5", "train: step 5/5"]
