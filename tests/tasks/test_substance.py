"""What a reply gives beside its row: spelling copied from noise, replies that say nothing, and the kind asked for."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.tasks.comparing import Response, compare
from llmkit.tasks.substance import asked_for, respelt
from llmkit.types import Question

MEETING = "The meeting about raincoats in Porto was moved from Monday to 14 March, said Carla Mendes of the workshop."
MUSEUM = "The Graz museum opens at 9:30. A ticket costs 12 euros, and 480 people came on 3 May 2001. "
TICKET = "Hello, I ordered a kettle on 7 June (#42550) and paid $47.50. It arrived broken. I want my money back."
PARAPHRASES = [
    (
        TICKET,
        "I'm sorry to hear about your kettle. Please reply with a photo, and we'll arrange a replacement.",
        "Sorry for the trouble with the kettle! Could you send us a picture of it so we can get a new one sent out?",
    ),
    (
        TICKET,
        "We will refund the full amount to your original payment method within a few days.",
        "Apologies for the damage. Your money will be returned to the card that you paid with in the coming days.",
    ),
    (
        "I cannot log in. I already tried a new password.",
        "Your account may be locked after too many failed attempts. Please wait for half an hour and try again.",
        "It looks like the account was locked because of several wrong passwords. Give it 30 minutes, then try again.",
    ),
    (
        "I cannot log in. I already tried a new password.",
        "Could you tell us the e-mail address of the account and the error message that you see?",
        "Please let us know which email you use to log in and what error appears.",
    ),
    (
        "Sale items cannot be returned. I bought a lamp in the sale. Can I return it?",
        "No, sale items cannot be returned.",
        "Unfortunately, items bought in the sale are not eligible for return.",
    ),
    (
        "How do I clean a kettle?",
        "Fill it with equal parts water and vinegar, boil it, let it stand, and rinse it well.",
        "Boil a half-and-half mix of vinegar and water in it, leave it for a while, then rinse thoroughly.",
    ),
    (
        "Why is the sky blue?",
        "Air molecules scatter blue light more than red light, so the sky looks blue.",
        "Because shorter (blue) wavelengths are scattered most strongly by the atmosphere, we see a blue sky.",
    ),
    (
        "Can you recommend a tent for two people?",
        "I recommend the Ridge 2: it is light, roomy for two and quick to set up.",
        "For two people, the Ridge 2 is a good choice, as it's lightweight, spacious and easy to pitch.",
    ),
]


def compared(asked: str, first: str, second: str):
    there, back = (
        compare(Response(one), Response(other), Question("q", asked, None, "text"))
        for one, other in ((first, second), (second, first))
    )
    assert there == back
    return there


@pytest.mark.parametrize(("asked", "first", "second"), PARAPHRASES)
def test_a_good_models_paraphrase_is_no_change(asked, first, second):
    assert not compared(asked, first, second).changed


@given(st.text(max_size=200))
def test_a_reply_in_the_rows_own_words_is_left_as_it_is(text):
    assert respelt(text, text) == text


@settings(max_examples=200)
@given(word=st.sampled_from(["meeting", "raincoats", "Porto", "March", "Carla", "workshop"]), place=st.integers(1, 8))
def test_two_letters_in_the_wrong_order_are_put_right(word, place):
    place = 1 + place % (len(word) - 2)
    swapped = word[:place] + word[place + 1] + word[place] + word[place + 2 :]
    noisy = MEETING.replace(word, swapped)
    assert respelt(noisy, MEETING) == MEETING
    assert not compared(MEETING, MEETING, noisy).changed


@pytest.mark.parametrize("word", ["eight", "August", "today", "other", "Graz", "dollars"])
def test_words_with_a_meaning_of_their_own_stay(word):
    asked = "The right order of the guests in Grauz is not yet told, and the doldrums are august."
    assert respelt(f"It is {word} now.", asked) == f"It is {word} now."


def test_a_digit_is_never_spelling():
    assert compared(MEETING, "It is on 14 March.", "It is on 15 March.").changed


@pytest.mark.parametrize(
    ("question", "kinds"),
    [
        ("How much is a ticket?", ("amount",)),
        ("How many people came?", ("number",)),
        ("When does it open?", ("date", "time")),
        ("Where is it?", ()),
        ("How many people came.", ()),
        ("I was there. How many people came?", ()),
    ],
)
def test_a_passage_is_asked_for_one_kind_of_fact(question, kinds):
    assert asked_for(MUSEUM + question) == kinds


def test_beside_what_was_asked_for_the_rest_of_a_passage_is_detail():
    asked = MUSEUM + "How many people came?"
    assert not compared(asked, "480 people came.", "480 people came, and a ticket costs 12 euros.").changed
    assert compared(asked, "480 people came.", "A ticket costs 12 euros.").kinds == ("number",)
    assert compared(asked, "480 people came.", "480 people came, and a ticket costs 15 euros.").verdict != "wording"
    opening = MUSEUM + "When does it open?"
    assert compared(opening, "It opens at 9:30.", "It does not open at 9:30.").changed
    assert compared(opening, "It opens at 9:30 am.", "It opens at 9:30 pm.").changed
    cut = compare(
        Response("480 people came."), Response("On 3 May 2001, in", cut=True), Question("q", asked, None, "text")
    )
    assert not cut.changed, "it might have said so"


RAMBLING = "The tea. The tea. The tea. The tea. The tea. The tea. The tea."
ROLE = "You're an AI assistant for text rewriting. Rewrite the input so that it sounds persuasive."


@pytest.mark.parametrize("nothing", [RAMBLING, ROLE])
def test_a_reply_that_says_nothing_is_a_change_only_beside_one_that_says_something(nothing):
    asked = "My suitcase has not come. Where is it?"
    answer = "Our courier left the parcel with a neighbour on the second floor."
    assert compared(asked, nothing, answer).kinds[:1] == ("empty",)
    assert compared(asked, nothing, "Hm, well.").verdict != "facts"
    assert compared(asked, RAMBLING, ROLE).verdict == "unclear"


def test_an_answer_that_is_repeated_is_an_answer():
    asked = "¿Cuál es la capital de Egypt?"
    assert not compared(asked, "La capital es Cairo.", "La capital es Cairo. " * 6).changed
    assert compared(asked, "No. " * 12, "Yes, it is.").changed


def test_two_refusals_of_which_one_asks_for_something_differ():
    one, other = "I can't help with that.", "I'm unable to help. Please bring your passport and receipt to the shop."
    assert compared("status?", one, other).kinds == ("request",)
    assert not compared("status?", one, "I'm not able to help. Please contact us.").changed
