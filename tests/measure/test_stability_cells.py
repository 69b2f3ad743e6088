"""benchmarks/stability.py: how share changed goes with the true loss, over cells of noise and rate."""

from __future__ import annotations

import json

import numpy as np
import pytest
from helpers import benchmarks
from hypothesis import given
from hypothesis import strategies as st

from llmkit.runs.samples import Sample
from llmkit.types import CLEAN, Outcome

stability = benchmarks.load("stability")


def answers(changed: np.ndarray, right: np.ndarray) -> object:
    rows = changed.shape[1]
    return stability.Answers(
        [f"typing@{k}" for k in range(len(changed))], np.ones(rows), right, changed, np.arange(rows) // 2
    )


def test_a_loss_on_every_changed_row_goes_with_the_share_changed_exactly():
    changed = np.array([[row < 10 * cell for row in range(60)] for cell in range(1, 6)], float)
    found = stability.correlations(answers(changed, 1 - changed), seed=7, draws=200)
    assert found["pearson"] == [1, 1, 1]
    assert found["spearman"] == [1, 1, 1]


def test_a_loss_that_has_nothing_to_do_with_the_share_has_an_interval_around_nought():
    rng = np.random.default_rng(3)
    changed = rng.random((12, 200)) < rng.random((12, 1))
    right = rng.random((12, 200)) < rng.random((12, 1))
    value, low, high = stability.correlations(answers(changed.astype(float), right.astype(float)), 7, 400)["pearson"]
    assert low < value < high
    assert low < 0 < high


@given(given=st.lists(st.tuples(*[st.sampled_from(("billing", "returns", "defect"))] * 3), min_size=1, max_size=30))
def test_no_more_accuracy_is_lost_than_answers_change(given):
    """`given`: for each row the gold answer, the one to the row as sent, and the one to it under noise."""
    samples = [
        Sample(Outcome(f"q{row}", f"q{row}", condition, "stand", 0, answer, answer == gold, gold), reply=answer)
        for row, (gold, sent, noisy) in enumerate(given)
        for condition, answer in ((CLEAN, sent), ("typing@0.1", noisy))
    ]
    found = stability.answers_of(samples)
    (changed,), (lost,) = found.shares(np.ones(len(given)))
    assert abs(lost) <= changed + 1e-12
    assert changed == pytest.approx(np.mean([sent != noisy for _, sent, noisy in given]))
    hidden = stability.without_labels(samples)
    assert {(s.outcome.gold, s.outcome.correct) for s in hidden} == {(None, None)}
    assert [s.outcome.parsed for s in hidden] == [s.outcome.parsed for s in samples]


def test_the_docs_show_the_results_that_are_kept():
    results = json.loads(stability.RESULTS.read_text(encoding="utf-8"))
    assert results["models"].keys() == stability.MODELS.keys()
    assert stability.tables(results) in stability.DOCS.read_text(encoding="utf-8")
    for model in results["models"].values():
        assert model["accuracy"][1] > model["chance"]
        assert len(model["cells"]) >= 10
