"""labels.jsonl: what is read is what was added, the latest wins, and a killed writer leaves nothing broken."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmkit.errors import DataError
from llmkit.runs.labels import VERDICTS, Judgements, Label, append, judgements, now, pair_digest, read

ONE = Label("t", "a", "b", "first", "2026-11-30T12:00:00.000000+00:00", "page", "run")


def at(second, verdict="first", first="a", second_answer="b"):
    when = f"2026-11-30T12:00:{second:02}.000000+00:00"
    return replace(ONE, first=first, second=second_answer, verdict=verdict, when=when)


def test_what_was_added_is_read(tmp_path):
    file = tmp_path / "labels.jsonl"
    assert judgements(tmp_path) is None
    append(file, [])
    assert read(file) == []
    assert judgements(tmp_path) is not None
    append(file, [at(1), at(2, "skip")])
    append(file, [at(3, "both")])
    assert read(file) == [at(1), at(2, "skip"), at(3, "both")]
    assert now() < now()


def test_a_torn_line_never_happened_and_the_next_one_is_whole(tmp_path):
    file = tmp_path / "labels.jsonl"
    append(file, [at(1)])
    whole = file.read_bytes()
    file.write_bytes(whole + whole[:40])
    assert read(file) == [at(1)]
    append(file, [at(2, "both")])
    assert read(file) == [at(1), at(2, "both")]


@pytest.mark.parametrize(
    "line",
    ["{", "[]", "{}", '"x"', '{"text": 1}', "\udcff", None],
)
def test_a_damaged_line_is_named(tmp_path, line):
    file = tmp_path / "labels.jsonl"
    append(file, [at(1), at(2)])
    content = file.read_text(encoding="utf-8")
    broken = content.replace('"first"}', '"x"}') if line is None else content + f"{line}\n"
    if line is None:
        broken = content.replace('"verdict": "first"', '"verdict": "best"', 1)
    file.write_text(broken, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(DataError, match=rf"labels\.jsonl:{1 if line is None else 3}: ") as caught:
        read(file)
    assert "its pair is asked again" in caught.value.hint


def test_the_order_of_a_pair_does_not_matter():
    assert pair_digest("t", "a", "b") == pair_digest("t", "b", "a") != pair_digest("u", "a", "b")
    there, back = at(1, "first"), at(2, "second", "b", "a")
    known = Judgements([there, back])
    assert known.state("t", ["a"]) == "right"
    assert known.state("t", ["b"]) == "wrong"
    assert known.conflicts == 0


def test_the_latest_wins_and_is_counted():
    known = Judgements([at(2, "second"), at(1, "first")])
    assert (known.state("t", ["a"]), known.state("t", ["b"])) == ("wrong", "right")
    assert known.conflicts == 1
    assert Judgements([at(1), at(2)]).conflicts == 0
    # The same answer in another pair.
    other = Judgements([at(1, "first"), at(2, "neither", "a", "c")])
    assert other.state("t", ["a"]) == "wrong"
    assert other.state("t", ["b"]) == other.state("t", ["c"]) == "wrong"
    assert other.conflicts == 1


def test_undone_is_as_if_never_said():
    known = Judgements([at(1, "first"), at(2, "undone")])
    assert known.state("t", ["a"]) is None
    again = Judgements([at(1, "first"), at(2, "undone"), at(3, "second")])
    assert again.state("t", ["b"]) == "right"
    assert again.conflicts == 0


def test_who_cannot_tell_of_one_pair_may_have_told_in_another():
    for labels in ([at(1, "both"), at(2, "skip", "a", "c")], [at(1, "skip", "a", "c"), at(2, "both")]):
        known = Judgements(labels)
        assert known.state("t", ["a"]) == "right"
        assert known.state("t", ["c"]) == "skipped"
        assert known.conflicts == 0
    assert Judgements([at(1)]).state("u", ["a"]) is None
    assert Judgements([at(1)]).state("t", ["c", "b"]) == "wrong"


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc"), st.sampled_from(VERDICTS)), max_size=12))
def test_what_counts_does_not_depend_on_the_order_of_the_lines(said):
    labels = [at(i, verdict, a, b) for i, (a, b, verdict) in enumerate(said) if a != b]
    one, other = Judgements(labels), Judgements(labels[::-1])
    assert [one.state("t", [x]) for x in "abc"] == [other.state("t", [x]) for x in "abc"]
    assert one.conflicts == other.conflicts
    seen = {answer for label in labels for answer in (label.first, label.second)}
    assert {x for x in "abc" if one.state("t", [x])} == seen
