"""`--rate paper` against the RoP authors' own pairs, and what their file looks like through the gate."""

from __future__ import annotations

from collections import Counter

import pytest
from helpers import benchmarks

from llmkit.perturb import make_variants
from llmkit.recipe.schema import DataSection, PerturbSection
from llmkit.tasks import load


def test_paper_rates_reach_the_authors_strength(data_dir):
    rows = benchmarks.load("perturb_strength").compare(data_dir, ("EC", "SC", "WOO", "HW"), classify=False, most=250)
    assert {row["set"] for row in rows} >= {"CSQA", "MultiArith", "SVAMP"}
    for kind in ("EC", "SC", "WOO", "HW"):
        theirs, ours = ([row[who]["words"] for row in rows if row["kind"] == kind] for who in ("theirs", "ours"))
        assert sum(ours) == pytest.approx(sum(theirs), rel=0.08), kind
        assert ours == pytest.approx(theirs, rel=0.2), kind


def test_the_kinds_of_edit_are_the_authors(data_dir):
    rows = benchmarks.load("perturb_strength").compare(data_dir, ("EC", "SC", "HW", "UIC"), classify=False, most=250)
    for row in rows:
        names = set(row["theirs"]["edits"]) | set(row["ours"]["edits"])
        names -= {"final question kept", "nothing else rewritten"}  # theirs rewrite the rest of the question, too
        for name in names:
            shares = [row[who]["edits"].get(name, 0) for who in ("theirs", "ours")]
            assert abs(shares[0] - shares[1]) < 0.2 or "again" in name, (row["kind"], row["set"], name, shares)
        if row["kind"] == "EC":
            assert row["ours"]["edits"]["a word again, edited alike"] > 0.8


def test_the_page_shows_the_results_that_were_written():
    script = benchmarks.load("perturb_strength")
    text = script.PAGE.read_text(encoding="utf-8")
    assert script.page(text) == text


def test_published_pairs_are_noticed_where_they_lose_numbers(data_dir):
    questions = load(DataSection(task="svamp", data_dir=str(data_dir)))
    path = data_dir / "rop_perturbed" / "HW" / "rewritten_SVAMP_1.json"
    variants = make_variants(questions, PerturbSection(conditions=(f"file:{path}",)), seed=7)
    reasons = Counter(v.rejected for v in variants if v.condition != "clean")
    assert reasons["a number was lost"] > 0.1 * len(questions)
    assert reasons[None] > 0.5 * len(questions)
