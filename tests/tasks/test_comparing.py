"""Two replies to one row: what counts as changed, and what never does."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from llmkit.tasks.comparing import CHANGES, Comparison, Response, compare
from llmkit.types import Question

ROW = Question("q", "Hello, I paid $27.50 for order #4411 on 3 March. Where is my kettle?", "", "text")


def verdict(first: str, second: str, question: Question = ROW) -> tuple[str, tuple[str, ...]]:
    result = compare(Response(first), Response(second), question)
    return result.verdict, result.kinds


@pytest.mark.parametrize(
    ("first", "second", "kind"),
    [
        ("27 seats are free", "28 seats are free", "number"),
        ("Twenty-seven seats are free", "28 seats are free", "number"),
        ("It takes 5 days.", "It takes 5 weeks.", "number"),
        ("You get $20 back.", "You get $25 back.", "amount"),
        ("You get $20 back.", "You get €20 back.", "amount"),
        ("It comes on 4 March.", "It comes on March 5th.", "date"),
        ("It comes on 2026-03-04.", "It comes on March 5th, 2026.", "date"),
        ("It comes on Friday.", "It comes on Monday.", "date"),
        ("We open at 9:30.", "We open at 10:30.", "time"),
        ("We open at 9 am.", "We open at 9 pm.", "time"),
        ("Your code is AB-1234.", "Your code is AB-1243.", "id"),
        ("Call +44 20 7946 0123.", "Call +44 20 7946 0124.", "id"),
        ("See https://shop.example/returns.", "See https://shop.example/refunds.", "url"),
        ("Write to help@shop.example.", "Write to sales@shop.example.", "email"),
        ("The capital is Paris.", "The capital is Lyon.", "name"),
        ("The item can be returned.", "The item cannot be returned.", "negation"),
        ("Your claim was approved.", "Your claim was denied.", "negation"),
        ("Yes, you can.", "No, that is final.", "label"),
        ("Billing", "Shipping", "label"),
        ("**Category:** refund", "Category: delivery", "label"),
        ("3 + 4 = 7. The answer is 7.", "3 + 4 = 8. The answer is 8.", "number"),
        ("Yes.", "It cannot be returned.", "negation"),
        ("27 and 28 are free", "28 and 28 are free", "number"),
        ("It is on its way.", "I'm sorry, but I can't help with that.", "refusal"),
        ("It is on its way.", "As a chatbot, I'm not equipped to help with parcels.", "refusal"),
        ("I'm sorry, such items can be returned.", "I'm sorry, such items cannot be returned.", "negation"),
        ("Please send us a photo of the damage.", "Please return the parcel in its own box.", "request"),
        ("Billing", "The customer is quite upset about this.", "label"),
        ("The correct answer is:\n\n\"Account\"", "I will look for a more accurate one.", "label"),
        ("I paid for an order. Where is my kettle?", "Our courier left the parcel with a neighbour nearby.", "empty"),
        ("It has been sent.", "", "empty"),
        ("It has been sent to your address.", "Thank you for your message!", "empty"),
        ("The order is on its way to you.", "Die Bestellung ist auf dem Weg zu Ihnen und bald da.", "language"),
        ('{"order": 4411, "ok": true}', '{"order": 4411, "ok": false}', "json"),
        ('{"order": 4411}', "The order is 4411.", "json"),
    ],
)  # fmt: skip
def test_facts_that_differ(first, second, kind):
    found, kinds = verdict(first, second)
    assert found == "facts"
    assert kind in kinds
    assert verdict(second, first) == (found, kinds)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Your kettle arrives on 5 April.", "Thank you for asking! Your kettle arrives on April 5th. Have a nice day!"),
        ("You get $27.50 back.", "You get 27.50 dollars back."),
        ("You get $27.50 back.", "About order #4411: you get $27.50 back."),
        ("The kettle was sent.", "Your order #4411 of 3 March: the kettle was sent."),
        ("It takes five days.", "It takes 5 days."),
        ("You can return it within 14 days.", "You can return it within 14 days. Returns are free."),
        ("Boil it for 9 minutes.", "Boil it for 9 minutes, then cool it for 2 minutes in cold water."),
        ("I'm sorry, I can't help with that.", "I am unable to answer this."),
        ("1. Open the box.\n2. Press the button.", "- Open the box\n- Press the button"),
        ("Yes, it was sent.", "Yes! It was sent."),
        ("Please write to us.", "Please do not hesitate to write to us."),
        ('{"order": 4411, "note": "x"}', 'Sure!\n```json\n{"note": "X", "order": 4411.0}\n```'),
        ("", "  \n"),
        ("3 + 4 = 7. The answer is 7.", "The answer is 7."),
        ("Yes.", "Yes, within 14 days."),
        ("No.", "You cannot return it."),
        ("Paris", "The capital of France is Paris."),
        ("Thank you, your kettle arrives on Monday.", "Your kettle arrives on Monday."),
    ],
)
def test_words_that_differ(first, second):
    assert verdict(first, second)[0] in ("same", "wording")
    assert verdict(second, first)[0] in ("same", "wording")


def test_a_misspelt_name_of_the_question_is_no_other_name():
    asked = Question("q", "Where does Carla Mendes of Porto live?", "", "text")
    assert verdict("She lives in Porto.", "She lives in Poeto.", asked)[0] != "facts"
    assert verdict("She lives in Porto.", "She lives in Graz.", asked) == ("facts", ("name",))


def test_json_that_was_cut_is_compared_as_far_as_it_goes():
    cut = [
        Response(text, cut=True)
        for text in ('{"id": "A-17", "sum": 1', '{"id": "A-18", "sum": 1', '{"id": "A-17", "day": 1')
    ]
    assert compare(cut[0], cut[1], ROW).changed
    assert not compare(cut[0], cut[2], ROW).changed


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Please restart the router and check its cable.", "Unplug the device, wait and see whether the light is on."),
        ("The order was packed yesterday.", "The order was prepared by our staff."),
    ],
)
def test_rules_cannot_tell_other_words_from_other_facts(first, second):
    assert verdict(first, second) == ("unclear", ())


def test_the_questions_kind_reads_the_answer():
    numeric = Question("q", "How many?", "18", "numeric")
    assert verdict("The answer is 18.", "3 times 6 makes 18", numeric) == ("same", ())
    assert verdict("The answer is 18.", "The answer is 19.", numeric) == ("facts", ("number",))
    assert verdict("The answer is 18.", "I do not know.", numeric) == ("facts", ("number",))
    assert verdict("I do not know.", "Nobody knows.", numeric) == ("unclear", ())
    choice = Question("q", "Where?", "A", "choice", ("bank", "mall"))
    assert verdict("(A) bank", "The answer is A", choice) == ("same", ())
    assert verdict("(A) bank", "(B) mall", choice) == ("facts", ("label",))
    boolean = Question("q", "Is it?", "yes", "boolean")
    assert verdict("Yes, 3 of them.", "Yes, 4 of them.", boolean) == ("same", ())
    assert verdict("Yes.", "No.", boolean) == ("facts", ("label",))


def test_json_values_that_differ_are_named_by_their_path():
    first = {"order": {"id": "AB-1", "items": [{"price": 5}, {"price": 7}]}, "note": "sent on 3 March 2026"}
    second = {"note": "sent on 2026-03-03", "order": {"items": [{"price": 5.0}, {"price": 8}], "id": "ab-1"}}
    result = compare(Response(json.dumps(first)), Response(f"```\n{json.dumps(second)}\n```"), ROW)
    assert result == Comparison("facts", ("json",), ("$.order.items[1].price",))


def call(city: str, **more: object) -> dict[str, object]:
    return {"name": "weather", "arguments": {"city": city, **more}}


def test_tool_calls_are_compared_by_name_and_arguments():
    one = Response("I look it up.", [call("Lyon", days=3)])
    openai = {
        "id": "c1",
        "type": "function",
        "function": {"name": "weather", "arguments": '{"days": 3, "city": "lyon"}'},
    }
    assert compare(one, Response("", [openai]), ROW).verdict == "same"
    assert compare(one, Response(json.dumps({"tool_calls": [openai]})), ROW).verdict == "same"
    other = compare(one, Response("", [call("Graz", days=3)]), ROW)
    assert (other.kinds, other.paths) == (("tool_call",), ("$.tool_calls[0].arguments.city",))
    assert compare(one, Response("It is sunny."), ROW).kinds == ("tool_call",)
    two = [call("Graz"), call("Lyon")]
    assert compare(Response("", two), Response("", two[::-1]), ROW).verdict == "same"


def test_a_call_that_is_nested_deeply_is_compared():
    deep = Response("", [{"name": "x", "arguments": '{"a":' * 900 + "1" + "}" * 900}])
    wide = Response("", [{"name": "x", "arguments": {1: {"b": object()}, "c": float("nan")}}])
    assert compare(deep, deep, ROW).verdict == "same"
    assert compare(deep, wide, ROW).kinds == ("tool_call",)


def test_kinds_come_in_the_order_of_reports():
    kinds = verdict("Yes, $20 on 3 May.", "No, €30 on 4 May.")[1]
    assert kinds == tuple(kind for kind in CHANGES if kind in kinds)
    assert {"label", "amount", "date"} <= {*kinds}


SENTENCES = (
    "You get $20 back on 5 April.", "It takes 5 days.", "Sale items cannot be returned.", "Yes, you can.", "Billing",
    "Write to help@shop.example or see https://shop.example/a1.", "Your order AB-1234 left Porto at 9:30.",
    "I'm sorry, I can't help with that.", "Nous ne pouvons pas le faire, je suis désolé.", "1. Open it.\n2. Go.",
    '{"a": [1, "x"]}', "", "Thanks!",
)  # fmt: skip
REPLIES = st.one_of(st.lists(st.sampled_from(SENTENCES), min_size=1, max_size=4).map(" ".join), st.text(max_size=60))


@settings(max_examples=200, deadline=None)
@given(REPLIES)
def test_a_reply_is_the_same_as_itself(text):
    assert verdict(text, text)[0] == "same"


@settings(max_examples=200, deadline=None)
@given(REPLIES, REPLIES)
def test_the_order_of_the_replies_does_not_matter(first, second):
    one, other = compare(Response(first), Response(second), ROW), compare(Response(second), Response(first), ROW)
    assert one == other


def _emphasis(text: str) -> str:
    return re.sub(r"(?<![\w.@/-])([A-Za-z]{3,})(?![\w.@/'-])", r"**\1**", text)


CHANGED_FORM = [str.upper, str.lower, lambda text: text.replace(" ", "  \n "), lambda text: f"\n {text} \n", _emphasis]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(SENTENCES), min_size=1, max_size=4).map(" ".join), st.sampled_from(CHANGED_FORM))
def test_space_case_and_emphasis_never_change_the_facts(text, form):
    assert verdict(text, form(text))[0] != "facts"


TEMPLATES = {
    "There are {} seats left in the hall.": {"number"},
    "You get ${} back.": {"amount"},
    "It costs {} euros in all.": {"amount"},
    "It comes on {} May.": {"date", "number"},  # no month has 77 days
    "Your order AB-{} was sent.": {"id"},
    "About {}: it opens at 9:30 and ends on 5 June.": {"number"},
}


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([*TEMPLATES]), st.integers(10, 99), st.integers(0, 1), st.integers(0, 9))
def test_another_digit_is_another_fact(template, number, place, digit):
    digits = list(str(number))
    assume(digits[place] != str(digit) and not (place == 0 and digit == 0))
    digits[place] = str(digit)
    found, kinds = verdict(template.format(number), template.format("".join(digits)))
    assert found == "facts"
    assert {*kinds} & TEMPLATES[template]


PIECES = [
    "{", "```\n", "9:30 3 May $1 a1 not b@c.de, ", "I'm sorry, but ", "No, ", "1", "a", "1. x\n",
    "\u4e00\u4e8c", "if not, ", "A b ", "a.b@c.", "www.", "a1-", "May 5 ", "<<", "twenty-", "(1) ", "*_",
    "order number ", "https://a.de/", "\n", "i am ", "$ ", "+1 ", "a@", "step 1 ", "3.3.", "9:", "one ", "a: ",
    "i\u00a0", '{"a":', "[", "ich kann a ", "{} ",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("piece", PIECES)
def test_no_text_takes_quadratic_time(piece):
    """At this size a quadratic pattern runs for minutes."""
    text = piece * (50_000 // len(piece))
    assert compare(Response(text), Response(text + " 7x"), ROW).verdict in ("same", "facts", "wording", "unclear")


def test_a_long_reply_of_many_facts_is_compared():
    text = "".join(f"{number} " for number in range(5_000))
    assert compare(Response(text), Response("-5 " + text), ROW).verdict == "facts"
