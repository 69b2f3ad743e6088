"""docs/perturb.md shows what the operators really do."""

from __future__ import annotations

from helpers import benchmarks

from llmkit.perturb import OPERATORS


def test_every_operator_has_a_section_with_its_real_output():
    script = benchmarks.load("perturb_docs")
    text = script.PAGE.read_text(encoding="utf-8")
    assert script.page(text) == text, "run: python benchmarks/perturb_docs.py"
    assert all(f"#### `{name}" in text for name in OPERATORS)
