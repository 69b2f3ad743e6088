"""The result of `make kernels` is of this code; and without Triton torch's operations do everything."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from llmkit.talklora import TalkLoraConfig
from llmkit.talklora.fused import kernel_for

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def result(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    from kernel_checks import result

    yield result
    for name in [name for name in sys.modules if name.partition(".")[0] in ("kernel_checks", "digests")]:
        del sys.modules[name]


def test_the_result_is_of_this_code(result):
    last = result.read()
    assert last["digest"] == result.digest(), "the kernels, what uses them or their tests changed: make kernels"
    assert last["tests"]["failures"] == []
    assert last["tests"]["passed"] > 100


def test_no_kernel_spills_on_two_generations_of_gpus(result):
    last = result.read()
    assert {row["gpu"] for row in last["registers"]} == {"sm_80", "sm_90"}
    assert result.spilled(last) == []


def test_a_layer_launches_at_most_one_more_than_lora_forward_and_two_backward(result):
    over = result.over(result.read())
    assert over["forward"] <= 1
    assert over["backward"] <= 2
    assert over["decoding"] <= 0


def test_a_branch_without_gradients_is_one_launch(result):
    for row in result.read()["launches"].values():
        assert row["TalkLoRA, kernel"]["decoding"] == 1


def test_every_kernel_fits_into_the_shared_memory_of_small_gpus(result):
    assert result.most_shared(result.read()) <= 99 * 1024


def test_the_docs_show_the_result(result):
    assert result.tables(result.read()) in result.PAGE.read_text(encoding="utf-8")


@pytest.mark.skipif(find_spec("triton") is not None, reason="this environment has Triton")
def test_without_triton_nothing_asks_for_it():
    assert kernel_for(TalkLoraConfig(r=16, num_experts=4), torch.ones(1, 16)) is None
