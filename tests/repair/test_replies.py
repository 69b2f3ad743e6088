"""What a corrector's reply becomes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmkit.repair.replies import read_correction
from llmkit.repair.spelling import spell
from llmkit.types import Reply

ASKED = "How mnay appels?"


@pytest.mark.parametrize(
    "said",
    [
        "How many apples?",
        "  How many\n apples?  ",
        '"How many apples?"',
        "Corrected text: How many apples?",
        "Here is the corrected question:\n\nHow many apples?",
        "Sure! Here is the text you asked for: How many apples?",
        "```\nHow many apples?\n```",
        "---\nHow many apples?\n---",
    ],
)
def test_a_wrapped_correction_is_unwrapped(said):
    assert read_correction(Reply(said), ASKED) == ("How many apples?", None)


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (Reply(""), "empty"),
        (Reply("```\n```"), "empty"),
        (Reply("How many", finish_reason="length"), "cut"),
        (Reply("I'm sorry, but I can't help with that."), "refused"),
        (Reply("I cannot correct this."), "refused"),
    ],
)
def test_an_unusable_correction_falls_back_to_what_was_asked(reply, why):
    assert read_correction(reply, ASKED) == (ASKED, why)


CHOICE = "Waht flies?\nAnswer Choices: (A) a brid (B) a stone"


def test_dropped_options_come_back_as_they_were_asked():
    assert read_correction(Reply("What flies?"), CHOICE)[0] == "What flies?\nAnswer Choices: (A) a brid (B) a stone"


def test_corrected_options_are_kept_while_all_labels_are_there():
    said = Reply("What flies? Answer Choices: (A) a bird (B) a stone")
    assert read_correction(said, CHOICE)[0] == "What flies?\nAnswer Choices: (A) a bird (B) a stone"
    said = Reply("What flies? Answer Choices: (A) a bird")
    assert read_correction(said, CHOICE)[0].endswith("(A) a brid (B) a stone")


@given(st.text(max_size=300), st.text(min_size=1, max_size=100))
def test_repair_takes_any_text(said, asked):
    text, why = read_correction(Reply(said), asked)
    assert (text == asked) or why is None


def test_a_colon_inside_a_question_is_not_a_preamble():
    question = "Tom has two boxes: one holds 3 pens, the other 4. How many pens?"
    assert read_correction(Reply(question), ASKED) == (question, None)


def test_spell_keeps_numbers_names_and_known_words():
    text = "Xiomara bought 12.50 kg of apples for Zbigniew."
    assert spell(text) == text
