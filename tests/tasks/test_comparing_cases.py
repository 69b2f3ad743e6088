"""Replies as a good model writes them, to one row, with the verdicts that a person would not object to."""

from __future__ import annotations

import pytest

from llmkit.tasks.comparing import Response, compare
from llmkit.types import Question

PASSAGE = (
    "The Graz museum opens at 9:30 every day but Monday. A ticket costs 12 euros, and children under 6 pay nothing. "
    "Carla Mendes has led it since 2001. "
)
TICKET = "Hello, I ordered a kettle on 7 June (#42550) and paid $47.50. It arrived broken. I want my money back."
POLICY = "Can I return it after 20 days? Policy: 14 days."
CASES = [
    (
        PASSAGE + "When does it open?",
        "The museum opens at 9:30.",
        "It opens at half past nine in the morning.",
        ["same", "unclear", "wording"],
    ),
    (
        PASSAGE + "When does it open?",
        "The museum opens at 9:30 every day except Monday.",
        "It opens daily at 9:30 AM (closed on Mondays).",
        ["same", "wording"],
    ),
    (PASSAGE + "When does it open?", "9:30", "The museum opens at 10:30.", ["facts"]),
    (
        PASSAGE + "How much?",
        "A ticket costs 12 euros.",
        "Tickets are €12; children under 6 enter free.",
        ["same", "wording"],
    ),
    (PASSAGE + "How much?", "A ticket costs 12 euros.", "A ticket costs 6 euros.", ["facts"]),
    (PASSAGE + "Who leads it?", "Carla Mendes", "The museum is led by Carla Mendes.", ["same", "wording"]),
    (PASSAGE + "Who leads it?", "Carla Mendes", "The museum is led by Ben Okafor.", ["facts"]),
    (
        PASSAGE + "Who leads it?",
        "Carla Mendes has led it since 2001.",
        "It has been led by Carla Mendes.",
        ["same", "wording"],
    ),
    (PASSAGE + "Who leads it?", "The text does not say who leads it.", "Carla Mendes leads it.", ["facts"]),
    (
        TICKET,
        "I'm sorry your kettle arrived broken. We will refund $47.50 within 5 business days.",
        "We apologize for the broken kettle! Your refund of $47.50 will be processed in 5 business days.",
        ["same", "wording"],
    ),
    (
        TICKET,
        "I'm sorry your kettle arrived broken. We will refund $47.50 within 5 business days.",
        "I'm sorry your kettle arrived broken. We will send a replacement kettle within 5 business days.",
        ["facts", "unclear"],
    ),
    (TICKET, "We will refund you.", "Unfortunately we cannot refund you.", ["facts"]),
    (
        TICKET,
        "We have issued a full refund for order #42550.",
        "A full refund has been issued for your order.",
        ["same", "wording"],
    ),
    (
        TICKET,
        "Please send photos to help@shop.example so we can process the refund.",
        "To process your refund, please email photos to help@shop.example.",
        ["same", "unclear", "wording"],
    ),
    (TICKET, "Please send photos to help@shop.example.", "Please send photos to returns@shop.example.", ["facts"]),
    (TICKET, "Returns", "returns", ["same"]),
    (
        TICKET,
        "Category: Returns\nReason: item arrived broken",
        "Category: Refund\nReason: item arrived broken",
        ["facts"],
    ),
    (
        TICKET,
        "Returns - the item arrived broken.",
        "Returns: customer wants money back for a damaged kettle",
        ["same", "unclear", "wording"],
    ),
    (
        TICKET,
        '{"order": "42550", "amount": 47.5, "date": "7 June"}',
        '{"order": "42550", "amount": 47.50, "date": "June 7"}',
        ["same", "wording"],
    ),
    (TICKET, '{"order": "42550", "amount": 47.5}', '{"order": "#42550", "amount": 47.5}', ["facts", "same", "wording"]),
    (TICKET, '{"order": "42550", "amount": 47.5}', '{"order": "42555", "amount": 47.5}', ["facts"]),
    (
        POLICY,
        "No, returns are only accepted within 14 days.",
        "Unfortunately, 20 days is past the 14-day return window, so it can't be returned.",
        ["same", "unclear", "wording"],
    ),
    (POLICY, "No, returns are only accepted within 14 days.", "Yes, you can return it.", ["facts"]),
    (
        "Can I return it?",
        "Yes, you can return the item within 30 days of purchase.",
        "You can return the item within 30 days.",
        ["same", "wording"],
    ),
    (
        "Can I return it?",
        "You can return the item within 30 days.",
        "You can return the item within 14 days.",
        ["facts"],
    ),
    ("Can I return it?", "You can return the item.", "You can't return the item.", ["facts"]),
    ("Can I return it?", "The item is returnable.", "The item is not returnable.", ["facts"]),
    ("Can I return it?", "The item is refundable.", "The item is non-refundable.", ["facts"]),
    (
        "What is the capital of France?",
        "The capital of France is Paris.",
        "Paris is the capital of France.",
        ["same", "wording"],
    ),
    (
        "What is the capital of France?",
        "Paris is the capital of France.",
        "Lyon is the capital of France.",
        ["facts", "unclear"],
    ),
    ("What is the capital of France?", "Paris.", "Lyon.", ["facts"]),
    ("What is the capital of Australia?", "Canberra", "The capital of Australia is Sydney.", ["facts"]),
    (
        "How do I boil an egg?",
        "Boil the egg for 10 minutes, then cool it in ice water.",
        "Place the egg in boiling water for 10 minutes. Then put it into ice water to cool.",
        ["same", "wording"],
    ),
    (
        "Is a spider a mammal?",
        "No, a spider is an arachnid.",
        "A spider is not a mammal; it is an arachnid.",
        ["same", "wording"],
    ),
    ("Is a spider a mammal?", "No, a spider is an arachnid.", "Yes, spiders are mammals.", ["facts"]),
    ("Which plan?", "I recommend the Basic plan for you.", "I recommend the Premium plan for you.", ["facts"]),
    ("Which plan?", "You should choose option B.", "You should choose option C.", ["facts"]),
    ("status?", "Your order has been shipped.", "Your order has been cancelled.", ["facts", "unclear"]),
    ("status?", "Your order is on its way and arrives tomorrow.", "Your order arrives on Friday.", ["facts"]),
    ("status?", "I can't share this information.", "I'm not able to disclose that information.", ["same", "wording"]),
    ("status?", "I can't share this information.", "Your password is hunter2.", ["facts"]),
    ("status?", "The temperature is 20°C.", "The temperature is -20°C.", ["facts"]),
    ("status?", "Sales rose by 5%.", "Sales fell by 5%.", ["facts"]),
    ("status?", "It costs between $10 and $20.", "It costs between $20 and $10.", ["same", "wording"]),
    ("status?", "Version 1.2.3 fixes it.", "Version 1.2.4 fixes it.", ["facts"]),
    ("status?", "The ratio is 3:1.", "The ratio is 4:1.", ["facts"]),
    ("status?", "Room B12", "Room B13", ["facts"]),
    ("status?", "1,000 users", "1000 users", ["same", "wording"]),
    ("status?", "It is 1.5 million.", "It is 1,500,000.", ["same", "wording"]),
    ("status?", "The meeting is at 14:00.", "The meeting is at 2 pm.", ["same", "wording"]),
    (
        "status?",
        "The meeting is on 2026-12-01 at 14:00.",
        "The meeting is on December 1, 2026 at 2:00 PM.",
        ["same", "wording"],
    ),
    ("status?", "We don't have it in stock.", "We have it in stock.", ["facts"]),
    ("status?", "It is out of stock.", "It is in stock.", ["facts", "unclear"]),
    ("status?", "None of the seats are free.", "All of the seats are free.", ["facts"]),
    ("status?", "There is no charge.", "There is a charge.", ["facts"]),
    ("status?", "Send it to 12 Mill Road.", "Send it to 21 Mill Road.", ["facts"]),
    ("status?", "Call 555-123-4567.", "Call (555) 123-4567.", ["same", "wording"]),
    ("status?", "Your ticket is ABC-123.", "Your ticket number is: ABC-123. Thank you!", ["same", "wording"]),
    ("list?", "We have red, blue and green.", "We have red, blue, green and yellow.", ["same", "wording"]),
    (
        "status?",
        "El pedido llegará mañana por la mañana a su casa.",
        "The order will arrive at your home tomorrow morning.",
        ["facts"],
    ),
    ("status?", "Sentiment: Positive", "Sentiment: Negative", ["facts"]),
    ("status?", "positive", "The sentiment is positive.", ["same", "wording"]),
    ("status?", "positive", "The sentiment is negative.", ["facts"]),
    ("status?", "**Answer: B**", "The answer is (B).", ["same", "wording"]),
    ("status?", "Answer: B", "Answer: C", ["facts"]),
    ("status?", "The answer is B because 3 > 2.", "B", ["same", "wording"]),
]


@pytest.mark.parametrize(("question", "first", "second", "allowed"), CASES)
def test_the_verdict_is_one_that_a_person_would_give(question, first, second, allowed):
    asked = Question("q", question, "", "text")
    there, back = (compare(Response(one), Response(other), asked) for one, other in ((first, second), (second, first)))
    assert there.verdict in allowed, there
    assert there == back
