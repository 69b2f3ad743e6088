"""What was retrieved under noise beside what was retrieved for the row as sent."""

from __future__ import annotations

from dataclasses import replace

import pytest
from helpers import synthetic
from helpers.unlabelled import FAST, answer, measured
from hypothesis import given
from hypothesis import strategies as st

from llmkit.measure import metrics
from llmkit.measure.retrieval import DEPTHS, overlap
from llmkit.runs.samples import Sample

LISTS = st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=8).map(tuple)


def retrieving(sample: Sample, documents) -> Sample:
    call = {"purpose": "answer", "reply": {"text": sample.reply, "usage": [0, 0, 0], "documents": documents}}
    return replace(sample, calls=(call,))


def rows(*given, failed=()):
    """Returns samples of rows, given as the replies and the documents as sent, again, and under noise."""
    return [
        retrieving(answer(i, condition, said, kind="text", failed=(i, condition) in failed), list(documents))
        for i, row in enumerate(given)
        for condition, (said, documents) in zip(("clean", "clean#2", "typing"), row, strict=False)
    ]


def retrieval(samples, condition="typing"):
    return measured(samples).arms["stand"].retrieval[condition]


@given(LISTS, LISTS, st.sampled_from(list(DEPTHS.values())))
def test_an_overlap_is_a_share_and_the_same_both_ways(one, other, depth):
    share = overlap(one, other, depth)
    assert 0 <= share <= 1
    assert share == overlap(other, one, depth)
    assert (share == 1) == (set(one[:depth]) == set(other[:depth]))
    assert overlap(one, one, depth) == 1
    assert overlap(one, other[:0], depth) == (not one)


@given(LISTS, LISTS)
def test_of_two_full_lists_it_is_what_both_have_over_k(one, other):
    k = min(len(one), len(other))
    if k:
        assert overlap(one, other, k) == pytest.approx(len(set(one[:k]) & set(other[:k])) / k)


def test_fewer_documents_on_one_side_lower_it_and_few_on_both_do_not():
    assert overlap("abc", "ab", 10) == pytest.approx(2 / 3)
    assert overlap("ab", "ba", 10) == 1
    assert overlap("ab", "ba", 1) == 0


def test_overlap_changed_answers_and_what_changes_by_itself():
    same, other = ("Yes, at 9.", "abcd"), ("Yes, at 9.", "axcd")
    result = retrieval(rows(*[(same, same, same)] * 6, *[(same, other, ("No, at 7.", "bacd"))] * 4))
    assert result.n == 10
    at_one, all_of_them = result.overlap["1"], result.overlap["all"]
    assert (at_one.noise.value, at_one.itself.value, at_one.lost.value) == (0.6, 1.0, 0.4)
    assert (all_of_them.noise.value, all_of_them.itself.value) == (1.0, 0.9), "the order does not count in it"
    assert all_of_them.lost.value == pytest.approx(-0.1)
    assert result.same.value == 0.6, "here it does"
    assert (result.changed_same.pairs, result.changed_same.changed.value) == (6, 0.0)
    assert (result.changed_other.pairs, result.changed_other.changed.value) == (4, 1.0)
    assert result.none.value == 0


def test_documents_without_an_id_and_repeated_ones_do_not_count():
    result = retrieval(rows((("a", ["x", "", "x", "y"]), ("a", []), ("a", ["x", "y", "y"]))))
    assert result.same.value == 1
    assert result.overlap["all"].noise.value == 1
    assert result.overlap["all"].itself.value == 0


def test_nothing_found_under_noise_is_an_overlap_of_nought_and_nothing_at_all_is_none():
    result = retrieval(rows((("a", "xy"), ("a", "xy"), ("a", "")), (("a", ""), ("a", ""), ("a", ""))))
    assert result.none.value == 1
    assert result.overlap["3"].noise.value == 0.5, "nothing both times is the same"
    assert measured(rows((("a", ""), ("a", ""), ("b", "")))).arms["stand"].retrieval == {}


def test_failed_calls_are_left_out():
    one = (("a", "x"), ("a", "x"), ("a", "y"))
    result = retrieval(rows(one, one, one, failed={(0, "typing"), (1, "clean#2")}))
    assert result.n == 2
    assert result.overlap["1"].lost.n == 1


def test_without_a_second_asking_there_is_nothing_beside_it():
    result = retrieval([s for s in rows((("a", "x"),) * 3) if s.outcome.condition != "clean#2"])
    assert result.overlap["1"].itself is None
    assert result.overlap["1"].lost is None


def test_lean_samples_hold_one_copy_of_a_document():
    documents = ["a long text of a help article " * 3 for _ in range(2)]
    one, other = (retrieving(answer(i, "clean", "x"), [documents[i]]).lean() for i in range(2))
    assert one.documents == tuple(documents[:1])
    assert one.documents[0] is other.documents[0]


def test_rows_with_answers_have_it_too():
    samples = [
        retrieving(sample, ["d1", "d2"] if sample.outcome.condition == "clean" else ["d2"])
        for sample in synthetic.samples(questions=20)
    ]
    by_condition = metrics(samples, FAST, 7).arms["stand"].retrieval
    assert {"noisy", "ec"} <= by_condition.keys()
    assert by_condition["ec"].overlap["all"].noise.value == 0.5
    assert by_condition["ec"].changed_same.changed is None
    assert by_condition["ec"].changed_other.pairs == 20
