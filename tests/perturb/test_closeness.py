"""The measures of `llmkit noise compare`: against scikit-learn, and where the answer is known."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from helpers import people
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.perturb import closeness
from llmkit.perturb.closeness import auc, compare, distance, matched, shares_of, told_apart


def test_the_classifier_scores_as_scikit_learn_does():
    feature_extraction = pytest.importorskip("sklearn.feature_extraction.text")
    linear_model = pytest.importorskip("sklearn.linear_model")
    pairs = people.misspellings(300)
    labels = np.array([float("e" in typed) for _, typed in pairs])
    grams = [closeness._grams(typed) for _, typed in pairs]
    ours = closeness._scores(grams[:200], labels[:200], grams[200:])
    counts = feature_extraction.CountVectorizer(analyzer="char", ngram_range=(1, 4), binary=True, lowercase=False)
    framed = [f"<{typed}>" for _, typed in pairs]
    training, held_out = counts.fit_transform(framed[:200]), counts.transform(framed[200:])
    model = linear_model.LogisticRegression(C=1, max_iter=1000, tol=1e-8).fit(training, labels[:200])
    assert np.allclose(ours, model.decision_function(held_out), atol=5e-3)


@settings(max_examples=200, deadline=None, database=None)
@given(scores=st.lists(st.integers(0, 5), min_size=4, max_size=30), seed=st.integers(0, 99))
def test_the_auc_is_the_share_of_pairs_in_the_right_order(scores, seed):
    labels = np.array([0.0, 1.0, *(float(Random(seed + n).random() < 0.5) for n in range(len(scores) - 2))])
    by_label = list(zip(labels, scores, strict=True))
    ones, zeros = [score for label, score in by_label if label], [score for label, score in by_label if not label]
    by_hand = sum((one > zero) + 0.5 * (one == zero) for one in ones for zero in zeros) / (len(ones) * len(zeros))
    assert auc(labels, np.array(scores, dtype=float)) == pytest.approx(by_hand)


def test_two_samples_of_the_same_people_cannot_be_told_apart_and_others_can():
    first = people.misspellings(800, seed=1)
    rng = Random(4)
    second = [(word, people.TRUTH.sample(word, rng) or word) for word, _ in first]
    marked = [(word, f"{word}q") for word, _ in first]
    assert told_apart(first, second) < 0.57
    assert told_apart(first, marked) > 0.97


@settings(max_examples=100, deadline=None, database=None)
@given(
    first=st.lists(st.tuples(st.sampled_from("abc"), st.text("xy", max_size=2)), max_size=20),
    second=st.lists(st.tuples(st.sampled_from("abcd"), st.text("xy", max_size=2)), max_size=20),
)
def test_matched_sides_have_the_same_intended_words(first, second):
    left, right = matched(first, second, 10, Random(0))
    assert [word for word, _ in left] == [word for word, _ in right]
    assert len(left) <= 10
    assert all(pair in first for pair in left)
    assert all(pair in second for pair in right)


@given(counts=st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 9), min_size=1))
def test_total_variation_is_a_distance(counts):
    shares = shares_of(thing for thing, count in counts.items() for _ in range(count))
    other = {"a": 0.5, "z": 0.5}
    assert distance(shares, shares) == 0
    assert distance(shares, other) == distance(other, shares)
    assert 0 <= distance(shares, other) <= 1


def test_few_pairs_give_no_auc():
    pairs = [("because", "becuase"), ("until", "untill")]
    assert compare(pairs, pairs).auc is None
    assert compare(pairs, []).pairs == 0
