"""What every operator promises, on any text: identity at rate 0, protection, records that undo, the number of edits."""

from __future__ import annotations

import json
import os
import sys

import pytest
from helpers import guarantees
from helpers.processes import run
from helpers.strategies import questions, rates, seeds, texts
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.perturb import OPERATORS, PROTECT, Perturber, WordEdit, undo
from llmkit.perturb.base import letters_of
from llmkit.perturb.protection import Protection

SPECS = [name for name in OPERATORS if OPERATORS[name].argument is None]
SPECS += ["chars(4)", "ec+uic", "uic+ec+woo", "mix(ec:0.7,hw+sc:0.3)"]
KEEPING = [spec for spec in SPECS if spec != "hw_number"]
COUNTED = ["ec", "swap", "delete", "insert", "keyboard", "typing", "case", "spelling", "hw", "woo"]


def many(examples: int) -> settings:
    """At least 500 examples for each promise; operators are drawn, too."""
    return settings(max_examples=examples, deadline=None, database=None)


@many(1000)
@given(spec=st.sampled_from(SPECS), text=texts, seed=seeds)
def test_rate_zero_is_the_identity(spec, text, seed):
    made = Perturber(spec, rate=0, seed=seed).apply(text, "q")
    assert (made.text, made.edits, made.rejected) == (text, (), False)


@pytest.mark.slow
@many(4000)
@given(spec=st.sampled_from(SPECS), text=texts, rate=rates, seed=seeds)
def test_the_original_can_be_rebuilt_from_text_and_edits(spec, text, rate, seed):
    made = Perturber(spec, rate=rate, seed=seed, retries=1).apply(text, "q")
    assert undo(made.text, made.edits) == text
    assert all(made.text[e.start : e.end] == e.new != e.old for e in made.edits)
    assert all(a.end <= b.start for a, b in zip(made.edits, made.edits[1:], strict=False))
    assert bool(made.edits) == (made.text != text) == (not made.rejected)
    assert made.edits or made.reason


@pytest.mark.slow
@many(4000)
@given(spec=st.sampled_from(KEEPING), text=questions, rate=rates, seed=seeds)
def test_protected_spans_and_numbers_survive(spec, text, rate, seed):
    protect = [*PROTECT, "eggs at"]
    guarantees.keeps(Perturber(spec, rate=rate, seed=seed, protect=protect, retries=0).apply(text, "q"), text, protect)


@pytest.mark.slow
@many(2000)
@given(spec=st.sampled_from(COUNTED), text=questions, rate=rates, seed=seeds)
def test_the_number_of_edits_is_the_rate_of_words_or_all_that_are_eligible(spec, text, rate, seed):
    perturber = Perturber(spec, rate=rate, seed=seed, retries=0)
    made = perturber.apply(text, "q")
    source = perturber._source(text, Protection().spans(text), perturber.language_of(text))
    wanted = max(1, round(rate * source.words))
    everything = Perturber(spec, rate=1.0, seed=seed, retries=0).apply(text, "q")
    if spec == "spelling" and made.lang not in ("", "en"):
        # Misspellings are drawn there, and of a short word most are words, too: the draws may find none.
        assert len(made.edits) <= wanted
    else:
        assert len(made.edits) == min(wanted, len(everything.edits))
    if issubclass(OPERATORS[spec], WordEdit):
        assert len(everything.edits) <= len(letters_of(source))


@many(1000)
@given(spec=st.sampled_from(SPECS), text=texts, rate=rates, seed=seeds)
def test_the_same_seed_gives_the_same_copy_in_any_order(spec, text, rate, seed):
    first = Perturber(spec, rate=rate, seed=seed, retries=1)
    once = first.apply(text, "q")
    first.apply("Some other question in between, with 3 numbers?", "r")
    assert first.apply(text, "q") == once == Perturber(spec, rate=rate, seed=seed, retries=1).apply(text, "q")


_CHILD = """
import functools, json, sys
from llmkit.perturb import Perturber
noise = functools.cache(lambda spec: Perturber(spec, rate=0.4, seed=5))
print(json.dumps([noise(spec).apply(text, str(id)).text for spec, text, id in json.load(sys.stdin)]))
"""


@pytest.mark.slow
def test_processes_and_hash_seeds_do_not_matter():
    """The same examples in two processes with other hash seeds."""
    drawn: list[tuple[str, str, int]] = []

    @many(600)
    @given(spec=st.sampled_from([*SPECS, "nlpaug:spelling"]), text=questions, id=seeds)
    def draw(spec, text, id):
        drawn.append((spec, text, id))

    draw()
    children = [
        run([sys.executable, "-c", _CHILD], env={**os.environ, "PYTHONHASHSEED": seed}, input=json.dumps(drawn))
        for seed in ("1", "77")
    ]
    printed = {child.stdout for child in children}
    assert [child.returncode for child in children] == [0, 0]
    assert len(printed) == 1
    assert len(drawn) >= 500
    assert sum(new != text for new, (_, text, _) in zip(json.loads(printed.pop()), drawn, strict=True)) > 200


@pytest.mark.parametrize("spec", ["ec", "woo", "uic", "sc"])
def test_equal_texts_with_different_ids_differ(spec):
    text = "Janet sells 16 duck eggs at the farmers market every single day of the week. How much does she make?"
    made = {Perturber(spec, rate=0.3, seed=1).apply(text, f"q{i}").text for i in range(20)}
    assert len(made) >= 15
    copies = {Perturber(spec, rate=0.3, seed=1).apply(text, "q", copy=i).text for i in range(20)}
    assert len(copies) >= 15
