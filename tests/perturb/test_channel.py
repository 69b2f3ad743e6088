"""The noisy channel: alignments, draws, probabilities, and that fitting finds what people do."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise
from random import Random

import pytest
from helpers import people
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.perturb.alignment import align, kind, kind_of_pair, rewritten
from llmkit.perturb.channel import Channel
from llmkit.perturb.channel_fit import LEAST, Misspelling, fit_channel
from llmkit.perturb.closeness import distance, shares_of

words = st.text("abcé", min_size=1, max_size=9)


@pytest.fixture(scope="module")
def fitted() -> Channel:
    pairs = people.misspellings(1500)
    return fit_channel([Misspelling(typed, word, str(n // 3)) for n, (word, typed) in enumerate(pairs)])


@settings(max_examples=2000, deadline=None, database=None)
@given(intended=words, typed=st.text("abcé", max_size=9))
def test_an_alignment_makes_the_typed_word_in_the_fewest_edits(intended, typed):
    edits = align(intended, typed)
    assert rewritten(intended, edits) == typed
    assert all(first.end <= second.start for first, second in pairwise(edits))
    assert len(edits) <= max(len(intended), len(typed))
    assert (len(edits) == 0) == (intended == typed)


@pytest.mark.parametrize(
    ("intended", "typed", "expected"),
    [
        ("accommodate", "accomodate", "del"),
        ("until", "untill", "dup"),
        ("their", "thier", "swap"),
        ("separate", "seperate", "sub"),
        ("truly", "truely", "ins"),
        ("phone", "fone", "more"),
    ],
)
def test_kinds_are_what_a_person_calls_them(intended, typed, expected):
    assert kind_of_pair(intended, typed) == expected


@settings(max_examples=500, deadline=None, database=None)
@given(word=st.text("aelmnpt", min_size=1, max_size=12), seed=st.integers(0, 2**32))
def test_a_draw_is_another_word_and_the_same_for_the_same_seed(word, seed):
    typed = people.TRUTH.sample(word, Random(seed))
    assert typed != word
    assert typed == people.TRUTH.sample(word, Random(seed))
    if typed is not None:
        assert people.TRUTH.log_probability(typed, word) > -math.inf


@pytest.mark.parametrize("word", ["commission", "until", "receive", "phase", "eel"])
def test_probabilities_are_those_of_the_draws_and_sum_to_at_most_one(fitted, word):
    rng, count = Random(1), 20_000
    drawn = Counter(fitted.sample(word, rng) for _ in range(count))
    typed_forms = {rewritten(word, [edit]) for edit, _, _ in fitted.edits(word) if edit.new != "\0"} - {word}
    total = sum(math.exp(fitted.log_probability(typed, word)) for typed in typed_forms)
    assert 0.5 < total <= 1.001
    for typed, times in drawn.most_common(5):
        if len(align(word, typed)) == 1:
            expected = math.exp(fitted.log_probability(typed, word))
            assert times / count == pytest.approx(expected, abs=0.04)  # two edits of three letters collide


def test_a_fitted_channel_draws_the_kinds_that_people_make_on_words_left_out(fitted):
    rng = Random(2)
    held_out = people.misspellings(1500, seed=9)
    drawn = [(word, typed) for word, _ in held_out if (typed := fitted.sample(word, rng))]
    real_kinds = shares_of(kind_of_pair(*pair) for pair in held_out)
    assert distance(real_kinds, shares_of(kind_of_pair(*pair) for pair in drawn)) < 0.08


def test_a_fitted_channel_knows_neighbours(fitted):
    final = fitted.weight("little", align("little", "littl")[0]) / fitted.options("little").total
    inner = fitted.weight("center", align("center", "cnter")[0]) / fitted.options("center").total
    assert final > 1.5 * inner  # four times in truth; the words have other edits, too


def test_what_fewer_people_did_leaves_no_rule():
    pairs = [Misspelling("becuase", "because", str(n)) for n in range(60)]
    few = [Misspelling("zebbra", "zebra", str(n)) for n in range(LEAST - 1)]
    many_by_one = [Misspelling("qwick", "quick", "one") for _ in range(30)]
    rules = fit_channel([*pairs, *few, *many_by_one]).rates
    assert "(au>ua)" in rules
    assert "(b>bb)" not in rules
    assert "(u>w)" not in rules


def test_kinds_of_single_edits_cover_all_edits_of_a_word(fitted):
    kinds = {kind("commission", edit) for edit, _, _ in fitted.edits("commission")}
    assert {"del", "ins", "sub", "swap", "dup"} <= kinds
