"""The user's part of a turn is the one that `re` finds, in time that no pattern and no turn can blow up."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmkit.errors import UsageError
from llmkit.repair.where import MOST_STEPS, Where

_ATOMS = ["a", "b", ".", "[ab]", "[^a]", r"\w", r"\s", r"\.", " ", "(?:a|bc)", "(?:ab?|c)"]
_COUNTS = ["", "", "*", "+", "?", "*?", "+?", "??", "{2}", "{1,2}", "{,2}", "{1,}?"]
_pieces = st.tuples(st.sampled_from(_ATOMS), st.sampled_from(_COUNTS)).map("".join)
_places = st.sampled_from(["", "", "", "^", "$", r"\b", r"\A", r"\Z"])
_sequences = st.tuples(_places, st.lists(_pieces, max_size=4).map("".join), _places).map("".join)
_choices = st.lists(_sequences, min_size=1, max_size=2).map("|".join)
_patterns = st.tuples(
    st.sampled_from(["", "(?s)", "(?i)", "(?m)"]), _choices.map("(?:{})".format), _choices, _sequences
).map(lambda parts: f"{parts[0]}{parts[1]}(?P<text>{parts[2]}){parts[3]}")


@given(pattern=_patterns, turn=st.text("abcAB .\n", max_size=12))
def test_it_finds_what_re_finds(pattern, turn):
    match = re.search(pattern, turn)
    part = Where(pattern).find(turn)
    assert part == (match and match.span("text"))


@pytest.mark.parametrize(
    ("pattern", "turn", "own"),
    [
        (r"(?s)Question: (?P<text>.*?)\nAnswer:", "Be kind.\nQuestion: two\nlines\nAnswer:", "two\nlines"),
        (r"^<user>(?P<text>[^<]*)</user>$", "<user>my ordr</user>", "my ordr"),
        (r"(?i)\bcustomer:\s*(?P<text>.*)", "CUSTOMER:   hi", "hi"),
        (r"\{(?P<text>[^}]*)\}", "a {b} c", "b"),
        (r"(?P<text>\u00e9+|[\]x]+)", "abc ]x", "]x"),
        (r"a|(?P<text>b)", "a", None),
        (r"X(?P<text>.*)", "no such letter", None),
    ],
)
def test_templates_as_people_write_them(pattern, turn, own):
    part = Where(pattern).find(turn)
    assert (part and turn[part.start : part.end]) == own


@pytest.mark.parametrize(
    ("pattern", "turn"),
    [
        (r"(?P<text>(a+)+)$", "a" * 20_000 + "!"),
        (r"(?P<text>(?:a|a)+)$", "a" * 20_000 + "!"),
        (r"(?P<text>.*.*.*.*)x", "a" * 20_000),
    ],
)
def test_no_pair_of_pattern_and_turn_takes_exponential_time(pattern, turn):
    assert Where(pattern).find(turn) is None


def test_a_turn_that_is_too_long_has_no_part():
    where = Where("(?P<text>a*)")
    assert where.find("a" * 1000) == (0, 1000)
    assert where.find("a" * MOST_STEPS) is None


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("(?P<text>", "is no regular expression"),
        ("Question: (.*)", "has no group `text`"),
        ("(?P<txt>.*)", "has no group `text`"),
        (r"(?P<text>a)\1", "which is not for this"),
        ("(?P<text>a)(?P=text)", "which is not for this"),
        ("(?<=x)(?P<text>a)", "which is not for this"),
        ("(?P<text>a(?=b))", "which is not for this"),
        ("(?P<text>(?>a*))", "which is not for this"),
        ("(?P<text>a*+)", "possessive"),
        ("(?x)(?P<text>a )", "flag x"),
        ("(?P<text>(?:a*)*)", "can be empty"),
        ("(?P<text>a{9000})", "more than 2,000 parts"),
        ("(?P<text>(?:(?:a{999}){999}){999})", "more than 2,000 parts"),
        ("(?P<text>" + "a" * 1000 + ")", "more than 1,000 characters"),
    ],
)
def test_what_is_refused_says_why(pattern, reason):
    with pytest.raises(UsageError) as refused:
        Where(pattern)
    assert reason in refused.value.message
    assert len(refused.value.message) < 200


def test_brackets_in_brackets_are_matched_or_refused():
    for depth in (50, 490):
        try:
            part = Where("(" * depth + "(?P<text>a)" + ")" * depth).find("a")
        except UsageError as error:
            part = (0, 1) if "nested too deeply" in error.message else None
        assert part == (0, 1)
