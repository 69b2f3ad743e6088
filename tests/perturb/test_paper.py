"""Noise at `--rate paper`: edits as in the RoP authors' data, and where an operator alone would differ."""

from __future__ import annotations

import json
import pickle
import re

import pytest

from llmkit.errors import DataError
from llmkit.perturb import OPERATORS, Perturber
from llmkit.perturb.sentences import asides, asks_for_a_number, distractors

STORY = (
    "There were some apples in the basket on the table. Maria would eat 3 apples each day, and her brother bought 12 "
    "more apples for the basket where the fruit is kept. How many apples are in the basket after 2 days?"
)
PLAIN = "What would someone wear in order to keep dry while walking through the rain?"
KINDS = ("ec", "sc", "woo", "hw", "uic")


def copies(spec: str, text: str, count: int = 60) -> list[str]:
    perturber = Perturber(spec, rate="paper", seed=3)
    return [perturber.apply(text, f"q{i}").text for i in range(count)]


@pytest.mark.parametrize("kind", KINDS)
def test_an_imitation_is_the_operator_by_name_and_keeps_its_guarantees(kind):
    assert OPERATORS[kind]().as_paper().name == kind
    for text in copies(kind, STORY):
        assert text != STORY
        kept = re.findall(r"\d+", text)
        assert all(number in kept for number in ("3", "12", "2"))
        assert kind == "uic" or len(kept) == 3


def test_ec_garbles_a_word_alike_wherever_it_stands_and_its_end_too():
    same = differ = ends = 0
    for text in copies("ec", STORY):
        words = [w.strip(".,?") for w, old in zip(text.split(), STORY.split(), strict=True) if old.startswith("apples")]
        if set(words) != {"apples"}:
            same, differ = same + (len(set(words)) == 1), differ + (len(set(words)) > 1)
            ends += words[0][-1] != "s"
    assert same > differ
    assert 0 < ends < same


def test_sc_gives_a_letter_one_other_form_in_a_text():
    from llmkit.repair.lookalikes import fold_lookalikes

    for text in copies("sc", STORY, 20):
        forms = {c for c in text if not c.isascii() and fold_lookalikes(f"th{c}n") == "then"}
        assert len(forms) <= 3


def test_hw_mixes_homophones_other_words_misspellings_and_parts():
    texts = copies("hw", STORY)
    words = {word.strip(".,?") for text in texts for word in text.split()} - set(STORY.replace(".", "").split())
    assert "wood" in words  # would
    assert any("-" in word for word in words)
    assert len(words) > 25
    assert not words & {"one", "two", "four", "eight", "ate"}


def test_uic_stands_inside_and_adds_a_number_only_where_numbers_are_asked_for():
    assert asks_for_a_number(STORY)
    texts = copies("uic", STORY)
    assert all(text.endswith("How many apples are in the basket after 2 days?") for text in texts)
    assert len({text.index("How many") for text in texts}) > 5
    assert any(not text.startswith("There were some apples in the basket on the table. Maria") for text in texts)
    assert all(len(re.findall(r"\d+", text)) > 3 for text in texts)
    for spec_texts in (copies("uic", PLAIN), [Perturber("uic", 0.1).apply(PLAIN, str(i)).text for i in range(30)]):
        assert all(not re.search(r"\d", text) for text in spec_texts)


@pytest.mark.parametrize(
    ("text", "arithmetic"),
    [
        ("Would a person with 2 cars pay more than one with 1 car?", False),
        ("Now it is 01/02/2021. Which day came ten days before, written MM/DD/YYYY?", False),
        ("What is the total cost of 3 pens at 4 dollars each?", True),
        ("How many legs does a spider have?", False),
        ("What could one find in a quiet area in the time of the second war?", False),
        ("Alice has the blue ball and Bob has the red ball. At the end, who has the blue ball?", False),
    ],
)
def test_arithmetic_is_told_from_other_questions(text, arithmetic):
    assert asks_for_a_number(text) is arithmetic


def test_the_bank_has_sentences_and_clauses_with_and_without_numbers():
    for bank in (distractors(), asides()):
        assert all(("{n}" in d.text) == (d.high > 0) for d in bank)
        assert sum(d.high > 0 for d in bank) >= 10
        assert sum(d.high == 0 for d in bank) >= 14


def test_the_authors_pairs_are_taken_where_they_are_at_hand_and_an_imitation_elsewhere(tmp_path):
    folder = tmp_path / "rop_perturbed" / "EC"
    folder.mkdir(parents=True)
    pair = {"original_question": PLAIN, "rewritten_question": PLAIN.replace("someone", "sonemoe")}
    (folder / "rewritten_X_1.json").write_text(json.dumps([pair]))
    perturber = Perturber("file:rop_perturbed/EC|ec", rate="paper", seed=3, data_dir=str(tmp_path))
    made = pickle.loads(pickle.dumps(perturber)).apply(PLAIN, "q")
    assert (made.text, made.reason) == (pair["rewritten_question"], None)
    assert perturber.apply(STORY, "q").text != STORY
    elsewhere = Perturber("file:rop_perturbed/EC|ec", rate="paper", seed=3, data_dir=str(tmp_path / "none"))
    assert elsewhere.apply(PLAIN, "q").text not in (PLAIN, pair["rewritten_question"])
    with pytest.raises(DataError, match="rop_perturbed"):
        Perturber("file:rop_perturbed/EC", rate="paper", data_dir=str(tmp_path / "none"))
