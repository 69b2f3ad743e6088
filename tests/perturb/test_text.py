"""Taking texts apart: protected spans, words, edits over edits, strength."""

from __future__ import annotations

from itertools import pairwise

import pytest
from helpers.strategies import texts
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.errors import UsageError
from llmkit.perturb import Perturber
from llmkit.perturb.numerals import keeps_numbers, numbers
from llmkit.perturb.protection import Protection
from llmkit.perturb.text import Change, Source, apply, compose, strength, undo
from llmkit.types import Edit, Strength


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Run `x = f(y)` twice.", ["`x = f(y)`"]),
        ("```py\nx = 1\n``` and more", ["```py\nx = 1\n```"]),
        ("Solve $x^2 + 1$ or \\(y\\) or \\frac{1}{2}.", ["$x^2 + 1$", "\\(y\\)", "\\frac{1}{2}"]),
        ("It costs $5 and then $10 more.", []),
        ("It costs $5+$10.", []),
        ("See https://a.example/b?c=1 or me@home.example now", ["https://a.example/b?c=1", "me@home.example"]),
        (
            "Fill {name} and {{ user }} in <extra_id_0> [MASK] %s",
            ["{name}", "{{ user }}", "<extra_id_0>", "[MASK]", "%s"],
        ),
        ("Which?\nAnswer Choices: (A) a dark room (B) light", ["Answer Choices: (A) a dark room (B) light"]),
        ("Which one? (A) red wine (B) milk", ["(A) red wine (B) milk"]),
        ("Which one?\nA) red wine\nB) milk\nthanks", ["A) red wine\nB) milk"]),
        ("A plain question about $ and 50% of it.", []),
    ],
)
def test_what_is_protected(text, kept):
    assert [text[a:b] for a, b in Protection().spans(text)] == kept


def test_given_options_are_protected_wherever_they_stand():
    text = "Is it a dark room or a bright one?"
    assert [text[a:b] for a, b in Protection().spans(text, options=["dark room", "bright"])] == ["dark room", "bright"]


def test_a_bad_regular_expression_is_a_usage_error():
    with pytest.raises(UsageError, match="not a regular expression"):
        Protection(["numbers", "(unclosed"])


@given(texts)
def test_words_are_those_of_split(text):
    source = Source(text)
    assert source.words == len(text.split())
    assert [t for t in source.tokens if t] == text.split()
    assert all(text[source.start(i) : source.end(i)] == token for i, token in enumerate(source.tokens))


def _changes(text: str, cuts: list[tuple[int, int, str]]) -> list[Change]:
    """Sorted, non-overlapping changes from arbitrary numbers."""
    changes, at = [], 0
    for skip, length, new in cuts:
        start = min(len(text), at + skip)
        end = min(len(text), start + length)
        if text[start:end] != new and (not changes or start > changes[-1].end):
            changes.append(Change(start, end, new))
        at = end + 1
    return changes


cuts = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 4), st.text("xyz ", max_size=4)), max_size=6)


@settings(max_examples=500, deadline=None)
@given(text=st.text("abc ", max_size=40), first=cuts, second=cuts)
def test_edits_over_edits_are_one_set_of_edits(text, first, second):
    middle, done = apply(text, _changes(text, first))
    final, again = apply(middle, _changes(middle, second))
    together = compose(text, done, middle, again)
    made, edits = apply(text, together)
    assert made == final
    assert undo(final, edits) == text
    assert all(a.end < b.start for a, b in pairwise(together))


@settings(max_examples=500, deadline=None)
@given(text=st.text("aé1 ,", max_size=20), changed=cuts, fill=st.sampled_from(["", "b", " ", ".", "2", "é"]))
def test_numbers_stay_where_letters_take_the_place_of_letters(text, changed, fill):
    new, edits = apply(text, [change._replace(new=fill) for change in _changes(text, changed)])
    if edits and keeps_numbers(edits, new):
        assert numbers(new) == numbers(text)


def test_strength_is_lost_words_and_changed_characters():
    assert strength("a b c d", "a b c d") == Strength()
    assert strength("one two three four", "two one three fuor") == Strength(words=0.5, chars=0.4444)
    assert strength("", "new text") == Strength(words=0.0, chars=8.0)


@settings(max_examples=500, deadline=None)
@given(text=st.text("ab ", min_size=1, max_size=40), changed=cuts)
def test_long_texts_are_measured_edit_by_edit(text, changed):
    """The stretches between equal ends add up to what the whole text shows; never to less."""
    long = text + " far" * 5_000
    new, edits = apply(long, _changes(text, changed))
    whole, local = strength(long, new), strength(long, new, edits)
    assert local.words >= whole.words
    assert local.chars >= whole.chars
    assert local.words <= (len(text.split()) + 1) / len(long.split()) + 1e-4


def test_undo_puts_insertions_and_deletions_back():
    assert undo("ac", [Edit(1, 1, "b", "")]) == "abc"
    assert undo("abxc", [Edit(2, 3, "", "x")]) == "abc"


@pytest.mark.parametrize("piece", ["9", "find ", "x", "a@", "{{", "$ a = b ", "\\left("])
def test_a_text_of_one_piece_over_and_over_is_done_in_moments(piece):
    """A hundred kilobytes take most of a minute where the work grows with the square of the length."""
    text = piece * (100_000 // len(piece))
    for spec in ("ec", "sc", "uic"):
        made = Perturber(spec, rate=0.1, seed=7).apply(text, "q")
        assert undo(made.text, made.edits) == text
