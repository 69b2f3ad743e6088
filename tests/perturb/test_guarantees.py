"""What every operator promises, on any text: identity at rate 0, protection, records that undo, the number of edits."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from llmkit.perturb import OPERATORS, PROTECT, Perturber, undo
from llmkit.perturb.text import Protection, numbers
from tests.perturb.strategies import questions, rates, seeds, texts

SPECS = [name for name in OPERATORS if OPERATORS[name].argument is None]
CHAINS = ["ec+uic", "woo+sc", "uic+ec+woo", "mix(ec:0.7,hw+sc:0.3)"]
EACH = pytest.mark.parametrize("spec", [*SPECS, *CHAINS])
thorough = settings(max_examples=500, deadline=None, database=None)


@EACH
@thorough
@given(text=texts, seed=seeds)
def test_rate_zero_is_the_identity(spec, text, seed):
    made = Perturber(spec, rate=0, seed=seed).apply(text, "q")
    assert (made.text, made.edits, made.rejected) == (text, (), False)


@EACH
@thorough
@given(text=texts, rate=rates, seed=seeds)
def test_the_original_can_be_rebuilt_from_text_and_edits(spec, text, rate, seed):
    made = Perturber(spec, rate=rate, seed=seed, retries=1).apply(text, "q")
    assert undo(made.text, made.edits) == text
    assert all(made.text[e.start : e.end] == e.new != e.old for e in made.edits)
    assert all(a.end <= b.start for a, b in zip(made.edits, made.edits[1:], strict=False))
    assert bool(made.edits) == (made.text != text) == (not made.rejected)
    assert made.edits or made.reason


@EACH
@thorough
@given(text=questions, rate=rates, seed=seeds)
def test_protected_spans_survive(spec, text, rate, seed):
    made = Perturber(spec, rate=rate, seed=seed, protect=[*PROTECT, "eggs at"], retries=0).apply(text, "q")
    spans = Protection([*PROTECT, "eggs at"]).spans(text)
    at = 0
    for start, end in spans:
        at = made.text.find(text[start:end], at)
        assert at >= 0
        at += end - start
    assert not numbers(text) - numbers(made.text)
