"""The repair.json files that come with llmkit."""

from __future__ import annotations

import pytest

from llmkit.engines.model_paths import locate, locate_adapter
from llmkit.repair import Repair, describe, document
from llmkit.resources import shipped

NAMES = sorted(file.parent.name for file in shipped("adapters").glob("*/repair.json"))


@pytest.mark.parametrize("name", NAMES)
def test_it_was_calibrated_with_todays_code(name):
    """Any change of what corrects or protects may change its harm: adapters/NAME/README.md says how to calibrate it."""
    repair = document.read(name)
    assert repair.guarantee is not None
    assert [doubt for doubt in repair.doubts() if doubt.startswith("llmkit.")] == []


def test_a_shipped_repair_goes_by_the_name_of_its_adapter(tmp_path, monkeypatch):
    assert "demo-loop" in NAMES
    assert Repair.load("demo-loop")("How mnay apples does Tom have?").text == "How many apples does Tom have?"
    assert "at most 0.5 % of clean texts" in describe.guarantee(document.read("demo-loop"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo-loop").write_text('{"chain": "fold"}')
    assert document.read("demo-loop").chain == "fold"  # a file of the user's own comes first


def test_the_guarantee_of_the_demo_is_about_the_model_that_every_machine_unpacks(smollm2):
    asked = document.read("demo-loop").model
    assert asked is not None
    assert asked.revision == locate("smollm2-135m").revision
    assert asked.adapter == locate_adapter("demo-loop").digest
