"""The scripts in benchmarks/channels: how texts are aligned, counted and compared, and what docs/noise.md shows."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from helpers import benchmarks
from hypothesis import given, settings
from hypothesis import strategies as st

compare = benchmarks.load("channels/compare")
alignment = __import__("channels.alignment", fromlist=["steps"])
collect = __import__("channels.collect", fromlist=["collect"])
distil = __import__("channels.distil", fromlist=["Tally"])
texts = __import__("channels.texts", fromlist=["texts"])

WORDS = st.lists(st.text("abc.,", min_size=1, max_size=5), max_size=12)


def found(old, new):
    return [(" ".join(s.old), " ".join(s.new)) for s in alignment.steps(old.split(), new.split()) if s.old != s.new]


@settings(max_examples=200, deadline=None, database=None)
@given(WORDS, WORDS)
def test_steps_hold_every_word_of_both_sides_once_and_in_order(old, new):
    steps = list(alignment.steps(old, new))
    assert [word for step in steps for word in step.old] == old
    assert [word for step in steps for word in step.new] == new
    assert all(old[step.start : step.start + len(step.old)] == list(step.old) for step in steps)


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        ("two of the eggs", "two ofthe eggs", [("of the", "ofthe")]),
        ("he wrote a perfunctory note", "he wrote a fun, dirty note", [("perfunctory", "fun, dirty")]),
        ("Which are left?", "which are left.", [("Which", "which"), ("left?", "left.")]),
        ("she has a dog", "she has dog", [("a", "")]),
        ("in the pond", "in the old pond", [("", "old")]),
    ],
)
def test_words_are_aligned_by_their_letters(old, new, changes):
    assert found(old, new) == changes


def test_errors_are_counted_by_kind():
    pairs = [("a big dog sat", "a pig sat down")]
    assert compare.errors(pairs, with_marks=False) == {"sub": 0.25, "del": 0.25, "ins": 0.25, "wer": 0.75}
    assert compare.errors([("Sit.", "sit")], with_marks=False)["wer"] == 0.0
    assert compare.errors([("Sit.", "sit")], with_marks=True)["wer"] == 1.0


def test_a_number_in_figures_is_written_otherwise_but_has_its_value():
    pairs = [("12 kids", "twelve kids"), ("12 kids", "well kids"), ("12 kids", "12 kits"), ("kids", "12")]
    assert compare.numbers_changed(pairs) == {"texts": 3, "rejected": 2, "other_value": 1}


def test_a_text_that_was_lost_teaches_nothing(tmp_path):
    rows = [
        {"source": "svamp", "row": 1, "text": "two red eggs", "held_out": False, "read": read}
        for read in ("two red egg", "", "zzz yyy xxx www")
    ]
    path = tmp_path / "asr.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    kept, lost = distil.rows(path, held_out=False)
    assert ([row["read"] for row in kept], lost) == (["two red egg"], 2)


def test_texts_of_a_row_are_on_one_side_and_short(tmp_path):
    (tmp_path / "gsm8k").mkdir()
    (tmp_path / "svamp").mkdir()
    (tmp_path / "csqa").mkdir()
    long = "Ann has two red eggs and a big dog. " * 20
    rows = [{"question": f"{long}How many has she, {number}?"} for number in range(40)]
    (tmp_path / "gsm8k" / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (tmp_path / "svamp" / "SVAMP.json").write_text("[]", encoding="utf-8")
    (tmp_path / "csqa" / "train_rand_split.jsonl").write_text("", encoding="utf-8")
    for name in ("ARC-Easy", "ARC-Challenge", "openbookqa"):
        (tmp_path / "commonsense" / name).mkdir(parents=True)
        (tmp_path / "commonsense" / name / "train.json").write_text("[]", encoding="utf-8")
    made = texts.texts(tmp_path)
    sides = {text.row: {other.held_out for other in made if other.row == text.row} for text in made}
    assert len(made) > 40
    assert made == texts.texts(tmp_path)
    assert all(len(side) == 1 for side in sides.values())
    assert {True} in sides.values()
    assert max(len(text.text.split()) for text in made) <= 32


def test_the_page_shows_what_was_measured():
    results = json.loads(compare.RESULTS.read_text(encoding="utf-8"))
    page = compare.PAGE.read_text(encoding="utf-8")
    assert compare.page(page, results) == page, "run: python -m channels.compare"


class Shouts:
    """Reads a text in capitals, and remembers what it was asked."""

    def __init__(self):
        self.asked = []

    def __call__(self, text):
        self.asked.append(text)
        return {"read": text.upper(), "speed": len(text)}


WANTED = [texts.Text("svamp", number, f"Ann has {number} eggs.", number % 2 == 0) for number in range(5)]


@settings(max_examples=60, deadline=None, database=None)
@given(st.data())
def test_what_was_killed_at_any_byte_goes_on_to_the_same_file(data):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "asr.jsonl")
        collect.collect(path, WANTED, Shouts())
        whole = path.read_bytes()
        cut = data.draw(st.integers(0, len(whole)))
        path.write_bytes(whole[:cut])
        again = Shouts()
        collect.collect(path, WANTED, again)
        assert path.read_bytes() == whole
        assert len(again.asked) == len(WANTED) - whole[:cut].count(b"\n")


def test_a_line_is_in_the_file_as_soon_as_it_is_finished(tmp_path):
    path, counts = tmp_path / "asr.jsonl", []

    def recognise(text):
        counts.append(len(path.read_text(encoding="utf-8").splitlines()))
        return {"read": text}

    collect.collect(path, [*WANTED, WANTED[0]], recognise)
    assert counts == [0, 1, 2, 3, 4]
