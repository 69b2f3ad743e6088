"""What no correction may change, whatever it proposes."""

from __future__ import annotations

import time
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llmkit.perturb.numerals import amounts, numbers
from llmkit.perturb.protection import PROTECT
from llmkit.perturb.text import apply, undo
from llmkit.repair.guard import changes_between, kept_changes, protected

SPANS = """https://x.io/a?b=1 | www.a-b.org | me@b.co | `x = 1` | ```\nf(x)\n``` | $x^2+y$ | \\frac{1}{2} | {{name}} | <b>
[NAME] | "in qotes" | \u201calso qoted\u201d | \u00abcit\u00e9\u00bb | $ 7.50 | -5 | 12% | 3/4 | 1,250 | three | Twenty-one
\u0663\u0664 | \u4e8c\u767e | two hundred and one | 10:30 | ./a/b.txt | a.py"""
WORDS = """teh boght appels How mnay of the \u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627 cafe\u0301 e\u0301le\u0300ve
\u0939\u093f\u0928\u094d\u0926\u0940 don't it\u2019s x y. (so) , ; : ! ? - + $ % / . " ' \u201d = # \u200f \U0001f600"""
_span = st.sampled_from([part.strip() for line in SPANS.split("\n") for part in line.split("|") if part.strip()])
_word = st.sampled_from(WORDS.split()) | st.text(max_size=6)
_gap = st.sampled_from([" ", " ", " ", "  ", "\r\n", "\n", "\t", "", "\u00a0"])
_piece = st.tuples(_word | _span, _gap).map("".join)
TEXTS = st.lists(_piece, max_size=25).map("".join)


@st.composite
def pairs(draw):
    """A text, and a proposal that shares some of it: pieces left out, doubled, exchanged, added."""
    pieces = draw(st.lists(_piece, max_size=25))
    other = []
    for piece in pieces:
        action = draw(st.sampled_from(["keep", "keep", "keep", "drop", "twice", "new", "before"]))
        new = draw(_piece) if action in ("new", "before") else ""
        other += {"keep": [piece], "drop": [], "twice": [piece, piece], "new": [new], "before": [new, piece]}[action]
    return "".join(pieces), "".join(other)


def _figures(text):
    return numbers(text), ["".join(text[a:b].split()) for a, b in amounts(text)]


def _occur_in_order(parts, text):
    offset = 0
    for part in parts:
        found = text.find(part, offset)
        if found < 0:
            return False
        offset = found + len(part)
    return True


@settings(max_examples=400, deadline=None)
@example(("5 pens", "-5 pens"))
@example(("so 5", "so 5%"))
@example(("1 2", "12"))
@example(("a http://x.io b", "a http://x.io/b b"))
@example(('say "hi" now', 'say"hi"now'))
@given(pairs() | st.tuples(TEXTS, TEXTS) | st.tuples(TEXTS, st.text(max_size=80)))
def test_protected_spans_and_numbers_survive_any_proposal(pair):
    text, proposed = pair
    changes = kept_changes(text, proposed)
    corrected, edits = apply(text, changes)
    assert undo(corrected, edits) == text
    assert _figures(corrected) == _figures(text)
    spans = protected(text)
    assert all(change.end < start or change.start > end for change in changes for start, end in spans)
    assert _occur_in_order([text[start:end] for start, end in spans], corrected)


@settings(deadline=None)
@given(TEXTS, st.text(max_size=80) | TEXTS)
def test_without_protection_the_changes_lead_to_the_proposal(text, proposed):
    """Of white space only its presence is corrected: line ends, tabs and double spaces stay."""
    made = apply(text, changes_between(text, proposed))[0]
    assert made.split() == proposed.split()


@given(TEXTS)
def test_a_proposal_that_only_changes_the_layout_changes_nothing(text):
    assert kept_changes(text, " ".join(text.split(" "))) == []
    assert kept_changes(text, text.replace("\r\n", "\n")) == [] or "\r\n" not in text


def corrected(text, proposed, **options):
    return apply(text, kept_changes(text, proposed, **options))[0]


def test_good_changes_are_kept_beside_refused_ones():
    text = 'Teh cat ate 3 fsih adn "smoe" mice at http://a.bc/teh\r\nthen slpet for two huors.'
    proposed = "The cat ate 4 fish and some mice at http://a.bc/the then slept for three hours."
    assert corrected(text, proposed) == (
        'The cat ate 3 fish and "smoe" mice at http://a.bc/teh\r\nthen slept for two hours.'
    )


def test_a_number_that_two_changes_would_make_together_is_not_made():
    assert corrected("twen ty pens adn ink", "twenty pens and ink") == "twen ty pens and ink"
    assert corrected("for our pens", "four pens") == "for our pens"


def test_options_stay_in_the_text_and_where_they_are_named():
    text = "Waht flies? Tell me: a brid or a stoen?\n(A) a brid\n(B) a stoen"
    proposed = "What flies? Tell me: a bird or a stone?\n(A) a bird\n(B) a stone"
    assert corrected(text, proposed) == "What flies? Tell me: a bird or a stone?\n(A) a brid\n(B) a stoen"
    assert corrected(text, proposed, options=["a brid", "a stoen"]) == (
        "What flies? Tell me: a brid or a stoen?\n(A) a brid\n(B) a stoen"
    )


@pytest.mark.parametrize("kind", [*PROTECT, "quotes"])
def test_a_released_kind_changes(kind):
    text, proposed = {
        "numbers": ("a 5 b", "a 6 b"),
        "options": ("Why?\n(A) oen\n(B) tow", "Why?\n(A) on\n(B) to"),
        "code": ("a `pritn` b", "a `print` b"),
        "latex": ("a $x^2$ b", "a $y^2$ b"),
        "urls": ("a http://x.y b", "a http://z.y b"),
        "placeholders": ("a {{nmae}} b", "a {{name}} b"),
        "quotes": ('a "nmae" b', 'a "name" b'),
    }[kind]
    assert corrected(text, proposed) == text
    assert corrected(text, proposed, released=[kind]) == proposed


def test_combining_marks_stay_with_their_letters():
    text = "le cafe\u0301 \u0939\u093f\u0928\u094d\u0926\u0940 bno"
    assert [text[c.start : c.end] for c in kept_changes(text, "le th\u00e9 \u0939\u093f bon")] == [
        "cafe\u0301",
        "\u0939\u093f\u0928\u094d\u0926\u0940",
        "bno",
    ]


def _long(seed, size=20_000):
    rng = Random(seed)
    words = ["".join(rng.choice("abcdefghijklmnop") for _ in range(rng.randint(2, 8))) for _ in range(3_000)]
    text = [rng.choice(words) for _ in range(size)]
    typed = [w[::-1] if rng.random() < 0.3 else str(rng.randint(2, 99)) if rng.random() < 0.05 else w for w in text]
    return " ".join(text), " ".join(typed)


def test_a_long_text_is_corrected_to_its_end():
    """Texts are aligned a window at a time: what the windows find together is the whole correction."""
    clean, typed = _long(3, 4_000)
    assert apply(typed, changes_between(typed, clean))[0] == clean
    assert apply(clean, changes_between(clean, clean[:5_000] + clean[5_600:]))[0] == clean[:5_000] + clean[5_600:]


@pytest.mark.parametrize(
    ("text", "proposed"),
    [
        _long(5),
        (_long(5)[0], _long(6)[1]),
        ("a" * 100_000, "b" * 100_000),
        ("a1" * 50_000, "a 1" * 50_000),
        ('"' * 100_000, "x"),
        ("one " * 25_000, "two " * 25_000),
        ("5 " * 50_000, "-5 " * 50_000),
        ("x, " * 33_000, "x,5 " * 33_000),
    ],
    ids=["noise", "another text", "one word", "figures", "quotes", "number words", "signs", "new numbers"],
)
def test_a_hundred_kilobytes_take_time_in_proportion(text, proposed):
    """Twice the text takes about twice the time, not four times; a ratio, so that the machine does not matter."""

    def seconds(share):
        started = time.process_time()
        kept_changes(text[: len(text) // share], proposed[: len(proposed) // share])
        return time.process_time() - started

    seconds(8)
    half, whole = min(seconds(4) for _ in range(2)), seconds(1)
    assert whole < 8 * half + 0.5
