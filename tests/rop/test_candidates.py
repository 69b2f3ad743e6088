"""Texts that a model writes: those that can be instructions, and those that are refused."""

from __future__ import annotations

import pytest
from helpers.drive import drive

from llmkit.recipe.schema import SearchSection
from llmkit.rop.candidates import Example, propose, refusal
from llmkit.types import Reply, Usage

SHOWN = [
    Example("Tom hsa 12 pens adn buys 1,250 more.", "Tom has 12 pens and buys 1,250 more.", "1262"),
    Example("Is teh sky blue?", "Is the sky blue?", "yes"),
    Example("Whcih bird cannot fly?", "Which bird cannot fly?", "penguin"),
]


def why(text, reply=None):
    return refusal(text, reply or Reply(text), 50, SHOWN)


@pytest.mark.parametrize(
    "text",
    [
        "Correct the spelling of every word.",
        "Fix typos, keep the 3 steps and do not answer.",
        "End with a line that says 'The answer is' and the number.",
        "You are an editor: restore the text as it was meant to be.",
        "Can you rewrite this sentence without errors?",
        "The text has 12% errors less once you fix it; a bird helps.".replace("12%", "some"),
        "First",
    ],
)
def test_an_instruction_is_accepted(text):
    assert why(text) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("The plant was 12 centimeters tall.", "copies an example: the number 12"),
        ("Write 1250 as a word.", "copies an example: the number 1250"),
        ("Say that tom has twelve pens: buys one. IS THE SKY BLUE, has 7.", None),
        ("Write: Tom has, and buys more? Which bird cannot fly today", None),
        ("Explain why the sky is blue: is the sky, blue which", None),
        ("Rewrite: which bird cannot fly over Tom", None),
        ("He has 1262 pens now.", "answers instead of instructing: 1262 is the answer to an example"),
        ("The answer is 7.", "answers instead of instructing"),
        ("So the final answer is: yes", "answers instead of instructing"),
        ("The answer is (B)", "answers instead of instructing"),
        ("5 + 3 = 8", "answers instead of instructing"),
        ("42", "answers instead of instructing"),
        ("Yes.", "answers instead of instructing"),
        ("Penguin.", "answers instead of instructing"),
        ("#### 9", "answers instead of instructing"),
        ("How many pens are left in the box?", "answers instead of instructing"),
        ("I'm sorry, but I can't help with that.", "answers instead of instructing"),
    ],
)
def test_what_copies_or_answers_is_refused_and_what_shares_words_only_is_not(text, said):
    assert why(text) == said


def test_five_words_in_a_row_are_a_copy_and_four_are_not():
    shown = [Example("the cat sat on a mat", "the cat sat on the mat")]
    assert refusal("Say: the cat SAT, on. The rest.", Reply(""), 50, shown) == (
        "copies an example: 'the cat sat on the'"
    )
    assert refusal("Say that the cat sat on something.", Reply(""), 50, shown) is None


def test_a_text_longer_than_the_limit_is_refused():
    longer = "longer than rop.search.max_tokens (50)"
    assert why("Correct the", Reply("Correct the", finish_reason="length")) == longer
    assert why("Correct it.", Reply("Correct it.", usage=Usage(10, 51))) == longer
    assert why("Correct it.", Reply("Correct it.", usage=Usage(10, 50))) is None


def test_each_text_is_kept_once_with_the_reason_for_its_refusal():
    said = ["Fix it.", '"Fix it."', "Instruction: Tom has 12 pens.", "Known.", ""]

    def ask(jobs):
        for name, steps in reversed(list(jobs)):
            yield name, drive(steps, lambda request: said[request.replicate])[0]

    options = SearchSection(queries=1, completions=5)
    got = propose("correction", options, SHOWN, ask, 1, known=["Known."])
    assert [(c.text, c.refused) for c in got] == [
        ("Fix it.", None),
        ("Tom has 12 pens.", "copies an example: the number 12"),
    ]
