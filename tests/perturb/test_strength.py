"""`--rate paper` against the RoP authors' own pairs, and what their file looks like through the gate."""

from __future__ import annotations

import importlib.util
from collections import Counter
from pathlib import Path

import pytest

from llmkit.perturb import make_variants
from llmkit.recipe.schema import DataSection, PerturbSection
from llmkit.tasks import load


def _script():
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "perturb_strength.py"
    spec = importlib.util.spec_from_file_location("perturb_strength", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_paper_rates_reach_the_papers_strength(data_dir):
    found = _script().compare(data_dir)
    assert {(name, title) for name, title, _, _ in found} == {
        (name, title) for name in ("ec", "sc", "woo", "hw_spell") for title in ("SVAMP", "MultiArith", "both", "GSM8K")
    }
    for name, title, theirs, ours in found:
        assert ours == pytest.approx(theirs, rel=0.10), (name, title)


def test_published_pairs_are_noticed_where_they_lose_numbers(data_dir):
    questions = load(DataSection(task="svamp", data_dir=str(data_dir)))
    path = data_dir / "rop_perturbed" / "HW" / "rewritten_SVAMP_1.json"
    variants = make_variants(questions, PerturbSection(conditions=(f"file:{path}",)), seed=7)
    reasons = Counter(v.rejected for v in variants if v.condition != "clean")
    assert reasons["a number was lost"] > 0.1 * len(questions)
    assert reasons[None] > 0.5 * len(questions)
