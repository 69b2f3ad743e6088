"""Correctors and chains: what they ask, what they keep of the replies, what they say where they keep nothing."""

from __future__ import annotations

import sys

import pytest
from helpers import processes
from helpers.protected import TEXTS
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.errors import UsageError
from llmkit.perturb import Perturber
from llmkit.perturb.numerals import numbers
from llmkit.perturb.text import undo
from llmkit.repair import CORRECTORS, CorrectorContext, chain_of
from llmkit.repair.replies import no_correction
from llmkit.steps import drive
from llmkit.types import Reply

INSTRUCTION = "Correct the spelling."
CONTEXT = CorrectorContext(INSTRUCTION, max_tokens=64)
TEXT = "Teh cat ate 3 fihs adn left.\r\nHow mnay are there?"
RIGHT = "The cat ate 3 fish and left. How many are there?"


def correct(name, text, *said, context=CONTEXT, options=()):
    """Corrects with replies in the order given, the last one again and again; returns the result and the requests."""
    requests, replies = [], [Reply(r) if isinstance(r, str) else r for r in said]

    def answer(request):
        requests.append(request)
        return replies[min(len(requests), len(replies)) - 1]

    return drive(chain_of(name, context).correct(text, options), answer), requests


def test_a_model_is_asked_once_and_line_ends_stay():
    corrected, requests = correct("model", TEXT, RIGHT)
    assert corrected.text == "The cat ate 3 fish and left.\r\nHow many are there?"
    assert undo(corrected.text, corrected.edits) == TEXT
    assert corrected.fallback is None
    assert [(r.role, r.purpose, r.sampling.max_tokens, r.sampling.temperature) for r in requests] == [
        ("corrector", "correct", 64, 0.0)
    ]
    assert INSTRUCTION in requests[0].messages[0].content


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("", "empty"),
        (Reply("The cat", finish_reason="length"), "cut"),
        ("I'm sorry, I cannot do that.", "refused"),
        ("7", "answered"),
        ("There are three of them, because the first one was eaten.", "answered"),
        (f"{RIGHT} I fixed four words that were spelt wrong in this text.", "explained"),
        (f"{RIGHT}\n\nThe answer is that three fish were eaten and none is left over.", "explained"),
    ],
)
def test_a_reply_that_is_no_correction_changes_nothing_and_says_why(said, reason):
    corrected, _ = correct("model", TEXT, said)
    assert (corrected.text, corrected.edits, corrected.fallback) == (TEXT, (), reason)


QUESTION = "A train carriage has 71 seats, and 25 of them are taken. How many seats are free, and how many are not?"


@pytest.mark.parametrize("kind", ["ec", "sc", "woo", "hw", "uic", "typing", "whitespace", "leet"])
def test_a_right_correction_of_heavy_noise_is_no_answer(kind):
    perturber = Perturber(kind, 0.5, 3)
    assert {no_correction(perturber.apply(QUESTION, str(i)).text, QUESTION) for i in range(20)} == {None}


def test_a_short_text_may_change_in_most_of_its_letters():
    assert no_correction("teh", "the") is None
    assert no_correction("adn teh", "and the") is None


def test_nothing_is_asked_without_an_instruction_or_a_text():
    for name in ("model", "vote"):
        assert correct(name, TEXT, RIGHT, context=CorrectorContext())[1] == []
        assert correct(name, " \n ", RIGHT)[1] == []


def test_votes_keep_what_more_than_half_of_them_change():
    said = ["The cat ate 3 fish and left. How many are there?"] * 2
    said += ["The cat ate 3 fihs and left. How mnay are there?", "The dog ate 3 fihs adn left. How mnay are there?", ""]
    corrected, requests = correct("vote", TEXT, *said)
    assert corrected.text == "The cat ate 3 fihs and left.\r\nHow mnay are there?"
    assert corrected.fallback is None
    assert [r.replicate for r in requests] == [0, 1, 2, 3, 4]
    assert len({r.sampling.seed for r in requests}) == 5
    assert {r.sampling.temperature for r in requests} == {0.7}
    assert requests == correct("vote", TEXT, *said)[1]


def test_the_order_of_votes_does_not_matter_and_the_first_has_no_say_of_its_own():
    said = ["The cat ate 3 fish and left. How many are there?"] * 3 + ["A cat ate 3 fihs adn left. How mnay are there?"]
    results = {correct("vote", TEXT, *said[i:], *said[:i], "")[0].text for i in range(4)}
    assert results == {"The cat ate 3 fish and left.\r\nHow many are there?"}


def test_a_vote_whose_replies_are_mostly_no_correction_says_so():
    corrected, _ = correct("vote", TEXT, RIGHT, "", "7", "7", "7")
    assert (corrected.text, corrected.fallback) == (TEXT, "empty")


def test_votes_are_one_list_of_requests():
    asked = next(chain_of("vote", CONTEXT).correct(TEXT))
    assert isinstance(asked, list)
    assert len(asked) == 5


NOISY = "Teh w\u043erds of mnay peolpe, thier \u0430nd more"


def test_a_chain_composes_its_edits_and_undoes_them():
    corrected, requests = correct("fold+spell+model", NOISY, "The words of many people, their and more!")
    assert corrected.text == "The words of many people, their and more!"
    assert undo(corrected.text, corrected.edits) == NOISY
    assert "words" in requests[0].messages[0].content, "the model is asked what the links before it left"


@settings(deadline=None)
@given(TEXTS, TEXTS, st.sampled_from(["model", "fold+model", "vote", "fold+vote+model"]))
def test_any_chain_and_any_reply_can_be_undone_and_keeps_the_numbers(text, said, name):
    corrected, _ = correct(name, text, said)
    assert undo(corrected.text, corrected.edits) == text
    assert numbers(corrected.text) == numbers(text)


def test_options_are_kept_from_the_question_as_asked():
    text = "Waht flies?\nAnswer Choices: (A) a brid (B) a stone"
    said = "What flies?\nAnswer Choices: (A) a bird (B) a stone"
    assert correct("model", text, said, options=("a brid", "a stone"))[0].text == text.replace("Waht", "What")


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("fold+spel", "unknown corrector `spel`", "spell"),
        ("fold+", "unknown corrector ``", "known"),
        ("fold+fold", "names a corrector twice", "once"),
    ],
)
def test_a_wrong_chain_is_named(name, message, hint):
    with pytest.raises(UsageError) as error:
        chain_of(name)
    assert message in error.value.message
    assert hint in str(error.value.hint)


@pytest.mark.parametrize("name", sorted(CORRECTORS))
def test_every_corrector_states_its_cost_and_whether_it_asks(name):
    link = CORRECTORS[name]
    assert link.asks == ("call" in link.cost and link.cost != "no call")
    assert link.__doc__


def test_the_room_imports_no_engine():
    code = (
        "import sys, llmkit.repair; print([m for m in sys.modules if m in {'torch','vllm','transformers','datasets'}])"
    )
    done = processes.run([sys.executable, "-c", code])
    assert done.stdout.strip() == "[]"
