"""docs/languages.md shows what the operators really do."""

from __future__ import annotations

from helpers import benchmarks


def test_the_generated_parts_are_what_the_operators_do():
    script = benchmarks.load("languages_docs")
    text = script.PAGE.read_text(encoding="utf-8")
    assert script.page(text) == text, "run: python benchmarks/languages_docs.py"
    assert all(f"**{script.language_named(code).name}**" in text for code in script.SHOWN)
