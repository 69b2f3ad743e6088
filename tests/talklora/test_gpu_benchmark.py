"""benchmarks/gpu.py on a CPU: its smallest parts run, and its plan fits into its minutes."""

from __future__ import annotations

import json

import pytest
from helpers import benchmarks


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.syspath_prepend(str(benchmarks.ROOT / "benchmarks"))
    return benchmarks.load("gpu")


def test_the_smallest_parts_run_anywhere(gpu, tmp_path, capsys):
    out = tmp_path / "gpu.json"
    gpu.main(["--smallest", "--out", str(out)])
    parts = json.loads(out.read_text())["parts"]
    assert [name.partition(",")[0] for name in parts] == ["exactness", "step", "decoding"]
    assert max(parts["exactness, r=16, n=4"]["torch.float32"].values()) < 1e-5
    assert {"LoRA (PEFT)", "TalkLoRA, kernel", "Lily (PEFT)", "DoRA (PEFT)"} < parts[
        "step, eager, narrow, r=16, 1 x 4"
    ].keys()
    assert "failed" not in capsys.readouterr().out


def test_the_plan_fits_into_eight_minutes(gpu, capsys):
    gpu.main(["--plan"])
    total = capsys.readouterr().out.splitlines()[-1]
    assert int(total.split()[0]) <= 8 * 60


def test_a_part_that_fails_does_not_stop_the_others(gpu, tmp_path, capsys, monkeypatch):
    def broken():
        raise RuntimeError("out of memory")

    monkeypatch.setattr(
        gpu, "smallest", lambda: [gpu.Part("a", 1, broken), gpu.Part("b", 1, lambda: {"row": {"x": 1.0}})]
    )
    gpu.main(["--smallest", "--out", str(tmp_path / "gpu.json")])
    printed = capsys.readouterr().out
    assert "failed: RuntimeError: out of memory" in printed
    assert json.loads((tmp_path / "gpu.json").read_text())["parts"]["b"] == {"row": {"x": 1.0}}
