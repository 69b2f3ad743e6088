"""The result of `make peft-matrix` is of this code, and no test failed in it that was not expected to."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def result(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    from peft_matrix import result

    yield result
    for name in [name for name in sys.modules if name.startswith("peft_matrix")]:
        del sys.modules[name]


def test_the_result_is_of_this_code(result):
    last = result.read()
    assert last["digest"] == result.digest(), "the tuner or the matrix has changed since: make peft-matrix"
    assert last["failures"] == []
    assert len(last["expected failures"]) <= 14


def test_the_docs_show_the_result(result):
    assert result.table(result.read()) in result.PAGE.read_text(encoding="utf-8")
