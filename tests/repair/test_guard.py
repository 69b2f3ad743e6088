"""What no correction may change, whatever it proposes."""

from __future__ import annotations

from random import Random

import pytest
from helpers.protected import PIECES, TEXTS
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llmkit.perturb.numerals import amounts, numbers
from llmkit.perturb.protection import PROTECT
from llmkit.perturb.text import apply, undo
from llmkit.repair import guard
from llmkit.repair.guard import changes_between, kept_changes, protected


@st.composite
def pairs(draw):
    """A text, and a proposal that shares some of it: pieces left out, doubled, exchanged, added."""
    pieces = draw(st.lists(PIECES, max_size=25))
    other = []
    for piece in pieces:
        action = draw(st.sampled_from(["keep", "keep", "keep", "drop", "twice", "new", "before"]))
        new = draw(PIECES) if action in ("new", "before") else ""
        other += {"keep": [piece], "drop": [], "twice": [piece, piece], "new": [new], "before": [new, piece]}[action]
    return "".join(pieces), "".join(other)


def _figures(text):
    return numbers(text), ["".join(text[a:b].split()) for a, b in amounts(text)]


def _occur_in_order(parts, text):
    offset = 0
    for part in parts:
        place = text.find(part, offset)
        if place < 0:
            return False
        offset = place + len(part)
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
    changed = apply(text, changes_between(text, proposed))[0]
    assert changed.split() == proposed.split()


@settings(deadline=None)
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
def test_the_work_on_a_long_text_is_in_proportion_to_it(text, proposed, monkeypatch):
    """What is counted is the work that could be quadratic: cells of alignments, and characters searched for numbers."""
    cells, characters = [], []
    opcodes, number_search = guard.Levenshtein.opcodes, guard.numbers

    class Counted:
        @staticmethod
        def opcodes(old, new):
            cells.append(len(old) * len(new))
            return opcodes(old, new)

    def counted(part, words):
        characters.append(len(part))
        return number_search(part, words)

    monkeypatch.setattr(guard, "Levenshtein", Counted)
    monkeypatch.setattr(guard, "numbers", counted)
    kept_changes(text, proposed)
    size = len(text) + len(proposed)
    assert sum(cells) < 4_000 * size
    assert sum(characters) < 1_000 * size
