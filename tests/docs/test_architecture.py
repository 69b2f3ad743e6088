"""docs/architecture.md names functions that exist, and walks in at most fifteen steps."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "architecture.md").read_text(encoding="utf-8")
WALKS = {part.partition("\n")[0]: part for part in re.split(r"^### ", PAGE, flags=re.MULTILINE)[1:]}
STEPS = [step for walk in WALKS.values() for step in re.findall(r"^\d+\. .*", walk, flags=re.MULTILINE)]
NAMES = sorted(
    {name for step in STEPS for name in re.findall(r"`([a-z]\w*(?:\.\w+)+)`", step)} - {"samples.jsonl", "data.tasks"}
)


def found(name: str) -> bool:
    """Returns whether `llmkit.<name>` is a module, or something in one."""
    parts = ["llmkit", *name.split(".")]
    for split in range(len(parts), 0, -1):
        try:
            value = importlib.import_module(".".join(parts[:split]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[split:]:
            value = getattr(value, attribute, None)
        return value is not None
    return False


def test_there_are_two_walks_of_at_most_fifteen_steps():
    assert len(WALKS) == 2
    assert all(len(re.findall(r"^\d+\. ", walk, flags=re.MULTILINE)) <= 15 for walk in WALKS.values())


@pytest.mark.parametrize("name", NAMES)
def test_what_a_step_names_exists(name):
    assert found(name)
