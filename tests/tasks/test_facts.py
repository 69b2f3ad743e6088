"""The facts signature: facts in every way of writing them, linear time, no exceptions."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.tasks.facts import Facts, facts
from llmkit.tasks.reply_form import label_of, language_of, refuses


def said(text: str) -> dict[str, list[str]]:
    """Returns the facts of a text by kind."""
    found: dict[str, list[str]] = {}
    for fact in facts(text).said:
        found.setdefault(fact.kind, []).append(str(fact))
    return {kind: sorted(values) for kind, values in found.items()}


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["3 March 2026", "2026-03-03", "March 3rd, 2026", "the 3rd of March 2026", "3/3/2026", "3. März 2026"],
         {"date": ["03 3 2026"]}),
        (["3 mars 2026", "3 de marzo de 2026", "3 Mar 2026", "Mar. 3, 2026", "03.03.2026"], {"date": ["03 3 2026"]}),
        (["12 August", "August 12th", "on the 12th of August"], {"date": ["08 12"]}),
        (["March 2026", "in March 2026"], {"date": ["03 2026"]}),
        (["on Friday", "by friday"], {"date": ["friday"]}),
        (["Tomorrow", "It comes tomorrow."], {"date": ["tomorrow"]}),
        (["at 9:30 am", "9.30 a.m."], {"time": ["9:30 am"]}),
        (["at 21:30", "9:30 pm", "9:30 PM"], {"time": ["9:30 pm"]}),
        (["noon", "12 pm"], {"time": ["0:00 pm"]}),
        (["$1,200.50", "1200.50 dollars", "USD 1,200.50", "US$1200.50"], {"amount": ["1200.5 USD"]}),
        (["20 euros", "€20", "20 €", "EUR 20", "twenty euros", "20.00 euros"], {"amount": ["20 EUR"]}),
        (["27 seats", "twenty-seven seats", "**27** seats"], {"number": ["27"]}),
        (["5 days", "five days", "5-day"], {"number": ["5 day"]}),
        (["one hour", "1 hour", "1 h"], {"number": ["1 h"]}),
        (["20%", "20 percent", "20 per cent", "twenty percent"], {"number": ["20 %"]}),
        (["AB-1234", "ab-1234", "#AB1234", "(AB-1234)"], {"id": ["ab1234"]}),
        (["order 48213", "#48213", "Order number: 48213", "order no. 48213"], {"id": ["48213"]}),
        (["+44 20 7946 0123", "+44-20-7946-0123"], {"id": ["442079460123"]}),
        (["commit 9f3ac21b", "9F3AC21B"], {"id": ["9f3ac21b"]}),
        (["https://www.club.example/join/3.", "see www.club.example/join/3", "http://club.example/join/3/"],
         {"url": ["club.example/join/3"]}),
        (["write to Anna.B@mail.example.", "<anna.b@mail.example>"], {"email": ["anna.b@mail.example"]}),
        (["1. Open it.\n2. Close it.", "- Open it.\n- Close it."], {}),
        (["I may go.", "They march on."], {}),
    ],
)  # fmt: skip
def test_a_fact_is_the_same_however_it_is_written(texts, expected):
    assert {text: said(text) for text in texts} == dict.fromkeys(texts, expected)


@pytest.mark.parametrize(
    ("text", "denied"),
    [
        ("Sale items cannot be returned.", {"return"}),
        ("No refunds are given.", {"refund"}),
        ("You won't get a refund", {"get"}),
        ("Es wird nicht erstattet.", {"erstattet"}),
        ("If it is not used, you can return it.", set()),
        ("Please do not hesitate to write.", set()),
        ("No, you can return it.", set()),
        ("You cannot return these. Others you can return.", set()),
        ("I want a payment plan.", set()),
    ],
)
def test_a_negation_falls_on_the_word_that_it_denies(text, denied):
    assert facts(text).denied == denied


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("I'm sorry, but I can't help with that.", True),
        ("I am unable to share this information.", True),
        ("As an AI, I have no opinion.", True),
        ("Es tut mir leid, ich kann Ihnen dabei nicht helfen.", True),
        ("No puedo ayudar con eso.", True),
        ("I'm sorry to hear that. Your refund is on its way.", False),
        ("Sorry for the delay! It comes on Friday.", False),
        ("Sale items cannot be returned.", False),
    ],
)
def test_a_refusal_is_more_than_an_apology(text, refused):
    assert refuses(text) is refused


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("Billing", "billing"),
        ("**Billing**", "billing"),
        ("Billing: the card was charged twice.", "billing"),
        ("Category: Billing", "billing"),
        ("**Category:** refund\n\nBecause ...", "refund"),
        ("Answer: B", "b"),
        ("Yes, you can.", "yes"),
        ("No.", "no"),
        ("YES", "yes"),
        ("Shipping\n\nThe order is late.", "shipping"),
        ("Dear Anna,\nwe are sorry.", None),
        ("Sure! Here it is.", None),
        ("Subject: your order", None),
        ("The museum opens at nine.", None),
        ("", None),
    ],
)
def test_the_label_that_a_reply_starts_with(text, label):
    assert label_of(text) == label


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The order has not been sent yet.", "en"),
        ("La capital de Francia es París y está en el norte.", "es"),
        ("Die Bestellung ist noch nicht bei uns angekommen.", "de"),
        ("La commande n'est pas encore dans notre magasin, je suis désolé.", "fr"),
        ("Заказ ещё не отправлен.", "ru"),
        ("訂單尚未寄出", "zh"),
        ("注文はまだ発送されていません", "ja"),
        ("42", None),
        ("", None),
    ],
)
def test_the_language_of_a_reply(text, language):
    assert language_of(text) == language


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from("abcMay019 .,:;-/#@$€%*_`'\"()[]{}\n\u00bd\u2013\u0661\u4e00\u0300no't"), max_size=80))
def test_no_text_raises(text):
    assert isinstance(facts(text), Facts)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60))
def test_no_unicode_raises(text):
    assert isinstance(facts(text), Facts)
