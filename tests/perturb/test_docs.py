"""docs/perturb.md shows what the operators really do."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from llmkit.perturb import OPERATORS

ROOT = Path(__file__).resolve().parents[2]


def test_every_operator_has_a_section_with_its_real_output():
    spec = importlib.util.spec_from_file_location("perturb_docs", ROOT / "benchmarks" / "perturb_docs.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    text = (ROOT / "docs" / "perturb.md").read_text(encoding="utf-8")
    assert script.page(text) == text, "run: python benchmarks/perturb_docs.py"
    assert all(f"#### `{name}" in text for name in OPERATORS)
