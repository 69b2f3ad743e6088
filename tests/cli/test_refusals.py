"""Mistakes of a user: each ends with exit code 2 and a message, never with `internal:`."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import pytest
from helpers import synthetic
from helpers.processes import started

DEEP = "[" * 50_000 + "]" * 50_000
EVAL = ("eval", "--dry-run", "--model", "m")


@pytest.fixture
def files(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"question": "How many apples are left?", "answer": 3}\n')
    (tmp_path / "deep.json").write_text(DEEP)
    (tmp_path / "deep.jsonl").write_text(f'{{"question": {DEEP}, "answer": 1}}\n')
    (tmp_path / "list.jsonl").write_text('{"question": "How many apples are left?", "answer": [1]}\n')
    row = {"question": "Which of these is left?", "answer": "A", "options": ["one", "one", "two"]}
    (tmp_path / "twice.jsonl").write_text(json.dumps(row) + "\n")


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("perturb hub:", "names no set"),
        ("perturb task:", "names no set"),
        ("perturb a.jsonl --op ec --retries -1", "--retries"),
        ("perturb a.jsonl --op ec --copies 99999999999999999999", "--copies"),
        ("perturb a.jsonl --op ec --workers 99999999", "--workers"),
        (f"perturb a.jsonl --op chars:{'9' * 5000}", "how many letters"),
        ("perturb a.jsonl --op file:deep.json", "nested too deeply"),
        ("perturb a.jsonl --op ec --engine opnai", "--engine opnai: engine.kind: unknown engine `opnai` (did you mean"),
        (
            "perturb a.jsonl --op ec --set data.kind=numerik",
            "--set data.kind=numerik: data.kind: unknown kind of answer",
        ),
        ("perturb a.jsonl --op ec --set data.kind=auto", "data.kind=auto: data.kind: unknown kind of answer"),
        ("eval --model m --path a.jsonl --dir x --out y", "--out and --dir are the same flag"),
        ("eval --model m --path a.jsonl --model-id x --revision y", "--model-id and --revision are the same flag"),
        ("serve --model smollm2-135m --port 99999", "--port"),
        ("serve --model smollm2-135m --port -5", "--port"),
    ],
)
def test_refused_by_their_own_commands(llmkit, files, command, says):
    refused(llmkit, command.split(), says)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ("--path deep.json", "nested too deeply"),
        ("--path deep.jsonl", "nested too deeply"),
        ("--path list.jsonl", "is no answer but [1]"),
        ("--path twice.jsonl --set data.kind=choice --set data.options=options", "stands twice"),
        ("--task arithmetic --draws 99999999999999", "eval.draws"),
        ("--task arithmetic --set perturb.retries=-1", "perturb.retries"),
        ("--task arithmetic --set engine.retries=1000000", "engine.retries"),
    ],
)
def test_refused_before_a_run(llmkit, files, flags, says):
    refused(llmkit, [*EVAL, "--set", "data.split=all", *flags.split()], says)


@pytest.mark.parametrize(
    "gate", ["stand.drop <= 5", "stand.drop <= 1", "stand.accuracy >= 0", "stand.drop_change >= -2"]
)
def test_a_gate_that_cannot_fail_is_refused(llmkit, tmp_path, gate):
    extra = ["--baseline", str(synthetic.write_run(tmp_path / "old", []))] if "change" in gate else []
    refused(llmkit, [*EVAL, "--task", "arithmetic", "--limit", "5", "--gate", gate, *extra], "cannot fail")
    metric, sign, limit = gate.split()
    bound = {"<=": "max", ">=": "min"}[sign]
    (tmp_path / "r.yaml").write_text(f"eval: {{gates: [{{metric: {metric}, {bound}: {limit}}}]}}\n")
    refused(llmkit, ["recipe", "check", "r.yaml"], "cannot fail")


def refused(llmkit, command, says):
    code, out, err = llmkit(*command)
    assert (code, out) == (2, "")
    assert "internal" not in err
    assert says in err


@pytest.fixture
def runs(tmp_path):
    """A folder of runs: a whole one, and one for each way in which a run can be damaged."""
    lines = synthetic.rows(questions=4, arms=["stand"], conditions=["ec"])
    recipe = "model: {path: m}\ndata: {task: arithmetic}\n"
    damage = {
        "whole": (),
        "latin1-recipe": ("recipe.resolved.yaml", b"model: {path: caf\xe9}\n"),
        "no-mapping": ("recipe.resolved.yaml", b"- 1\n"),
        "odd-model": ("recipe.resolved.yaml", b"model: m\ndata: [1]\n"),
        "latin1-journal": ("samples.jsonl", b'{"kind": "outcome", "key": "caf\xe9"}\n'),
        "no-key": ("samples.jsonl", b'{"kind": "outcome"}\n'),
        "odd-line": ("samples.jsonl", b"[1]\n"),
        "latin1-metrics": ("metrics.json", b'{"a": "\xe9"}'),
        "odd-metrics": ("metrics.json", b'{"arms": [1]}'),
        "odd-facts": ("run.json", b"[1]"),
    }
    for name, harm in damage.items():
        folder = synthetic.write_run(tmp_path / "runs" / name, lines)
        (folder / "recipe.resolved.yaml").write_text(recipe)
        if harm:
            (folder / harm[0]).write_bytes(harm[1])
    return list(damage)


def test_a_damaged_run_hides_no_other(llmkit, runs):
    code, out, _ = llmkit("runs", "ls", "--json")
    listed = {run["run"]: run["state"] for run in json.loads(out)}
    assert code == 0
    assert set(listed) == set(runs)
    assert listed["latin1-recipe"] == "damaged"
    assert listed["whole"] == "unfinished"


@pytest.mark.parametrize(
    "command", ["runs show {}", "runs compare whole {}", "eval score runs/{}", "runs merge runs/{}"]
)
def test_a_damaged_run_is_named_and_never_internal(llmkit, runs, command):
    for name in runs[1:]:
        code, _, err = llmkit(*command.format(name).split())
        assert "internal" not in err, (name, err)
        assert code in (0, 2, 4), (name, err)  # 4: a shard that lacks answers


WAITING = """
import signal, sys, time
from llmkit.cli import app
# A shell that started the tests in the background has them ignore SIGINT, and children inherit that.
signal.signal(signal.SIGINT, signal.SIG_DFL)
module = type(sys)("a_command")
def call():
    try:
        print("ready", flush=True)
        time.sleep(60)
    finally:
        time.sleep(0.1)  # what finished is saved
module.finetune = call
sys.modules["llmkit.cli.finetune"] = module
app.main(["finetune"])
"""


@pytest.mark.parametrize("wish", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("pause", [0.0, 0.02, 0.05, 0.2])
def test_a_second_interruption_keeps_the_exit_code(wish, pause):
    command = [sys.executable, "-c", WAITING]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with started(command, **pipes) as child:
        assert child.stdout.readline() == "ready\n"
        child.send_signal(wish)
        time.sleep(pause)
        child.send_signal(wish)
        _, err = child.communicate()
    assert child.returncode == 130
    assert err.startswith("error: interrupted")
    assert "Traceback" not in err
