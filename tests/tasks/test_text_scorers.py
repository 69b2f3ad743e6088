"""Scorers of free text, beside the packages that count the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmkit.recipe import load
from llmkit.tasks import SCORERS, scorer_of
from llmkit.types import Question

VOCABULARY = ["the", "a", "cat", "sat", "on", "mat.", "Mat,", "12", "it's", "Größe", "3.5", "--"]
WORDS = st.lists(st.sampled_from(VOCABULARY), max_size=12).map(" ".join)


@pytest.fixture(scope="module")
def rouge():
    return pytest.importorskip("rouge_score.rouge_scorer").RougeScorer(["rougeL"], use_stemmer=False)


def judged(name, reply, gold, **settings):
    scorer = SCORERS[name].of(load(None, settings).recipe)
    return scorer.judge(reply, None, Question("q", "What?", gold, "text"))


@given(reply=WORDS, gold=WORDS)
def test_rouge_l_is_that_of_the_package(reply, gold, rouge):
    expected = rouge.score(gold, reply)["rougeL"].fmeasure
    assert judged("rouge_l", reply, gold).scores["rouge_l"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("reply", "gold", "f1"),
    [
        ("The answer is the Eiffel Tower.", "Eiffel tower", 1.0),
        ("in Paris, France", "Paris", 0.5),  # one of three words and the one: 2 * 1 / (3 + 1)
        ("Rome", "Paris", 0.0),
        ("the", "a", 1.0),  # nothing is left of either
        ("", "Paris", 0.0),
    ],
)
def test_f1_counts_shared_words(reply, gold, f1):
    scored = judged("f1", reply, gold)
    assert scored.scores == {"f1": f1}
    assert scored.correct == (f1 == 1)


@pytest.mark.parametrize(
    ("name", "reply", "gold", "correct"),
    [
        ("exact", " Paris\n", "Paris", True),
        ("exact", "paris", "Paris", False),
        ("exact", "I think so.\nThe answer is Paris.", "Paris", True),
        ("contains", "It is in Paris, France.", "paris france", True),
        ("contains", "It costs 150 euros.", "15", False),
        ("contains", "<think>Paris or Rome?</think>Rome.", "Paris", False),
        ("contains", "anything", "?!", False),
        ("regex", "Order AB-1234 is on its way.", r"\b[A-Z]{2}-\d{4}\b", True),
        ("regex", "Order 1234 is on its way.", r"\b[A-Z]{2}-\d{4}\b", False),
        ("regex", "", "a*", False),
    ],
)
def test_verdicts(name, reply, gold, correct):
    assert judged(name, reply, gold).correct is correct


def test_a_pattern_of_the_recipe_comes_before_the_gold_answer():
    assert judged("regex", "ticket 12", "(", **{"eval.pattern": r"\d+"}).correct is True


@pytest.mark.parametrize("name", ["exact", "contains", "regex", "f1", "rouge_l"])
@given(reply=st.text(max_size=60), gold=st.text("ab (", min_size=1, max_size=6))
def test_no_reply_is_too_strange(name, reply, gold):
    gold = gold.replace("(", "x")
    scored = judged(name, reply, gold)
    assert isinstance(scored.correct, bool)
    assert all(0 <= score <= 1 for score in scored.scores.values())


@pytest.mark.parametrize("name", ["exact", "contains", "regex", "f1", "rouge_l"])
def test_long_replies_take_no_time(name):
    reply = "aab " * 200_000
    assert judged(name, reply, "(a+)+$").correct is False


def test_what_is_not_there_is_not_scored():
    scorer = scorer_of(load(None, {"eval.scorer": "contains", "eval.scores": ["f1", "rouge_l"]}).recipe)
    without_gold = scorer.judge("Paris", None, Question("q", "Where?", None, "text"))
    assert (without_gold.correct, set(without_gold.scores.values())) == (None, {None})
    failed = scorer.judge(None, None, Question("q", "Where?", "Paris", "text"))
    assert (failed.parsed, failed.correct, failed.scores) == (None, False, {"f1": 0.0, "rouge_l": 0.0})
