"""A shop's tickets with slips, which a spelling repair harms at a known rate, and a scripted model for them."""

from __future__ import annotations

import re

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
SENTENCE = "where is the parcel that was ordered on for order please answer today quickly"
KNOWN = {*SENTENCE.split(), *map(str.lower, DAYS), "taht"}
RECIPE = """
version: 1
model: {path: shop}
engine: {kind: fake}
data: {path: rows.csv, question: body, answer: null, kind: text}
perturb: {conditions: [typing], rate: 0.3}
"""


def ticket(number, slip=False, fragile=False):
    """Returns one ticket. A slip is a misspelt word that the model knows; the repair changes the answer to a fragile
    one."""
    body = f"Where is the parcel {'taht' if slip else 'that'} was ordered on {DAYS[number % 7]} for order {number}"
    return f"{body}, please answer {'quickly' if fragile else 'today'}"


def tickets(count=500, slips=0.04, fragile=0.0):
    """Returns tickets of which every 1/slips-th has a slip, and of those a share `fragile` is fragile."""
    every = round(1 / slips) if slips else count + 1
    rows = []
    for number in range(count):
        slip = number % every == 0
        place = number // every
        rows.append(ticket(number, slip, slip and fragile > 0 and place % round(1 / fragile) == 0))
    return rows


def shop(request):
    """Answers with the day a text that it can read; a repaired fragile one wrongly, and any other with a guess."""
    text = request.messages[-1].content
    words = re.findall(r"[a-z]+", text.lower())
    if any(word not in KNOWN for word in words):
        return "no idea"
    if "quickly" in words and "taht" not in words:
        return "never"
    return next(day for day in DAYS if day.lower() in words)
