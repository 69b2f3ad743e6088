"""A small application with a real retriever: word overlap over 50 short help articles, behind a FaultServer."""

from __future__ import annotations

import math
import re
from collections import Counter

THINGS = ("parcel", "jacket", "kettle", "invoice", "password", "bicycle", "lamp", "voucher", "tent", "blender")
MATTERS = {
    "return": "how to return a {} that you do not want, within 30 days",
    "refund": "when the money for a {} comes back to your card",
    "repair": "where a broken {} is repaired, and what the workshop charges",
    "delivery": "how long the delivery of a {} takes, and how to follow it",
    "warranty": "what the warranty of a {} covers during two years",
}
ARTICLES = {f"{thing}-{matter}": text.format(thing) for thing in THINGS for matter, text in MATTERS.items()}
TICKETS = [
    f"{opening} my {thing}, {wish}"
    for thing in THINGS
    for opening, wish in (
        ("I want to return", "please say how"),
        ("The workshop has to look at", "since it is broken"),
        ("Tell me how long the delivery takes of", "I cannot wait"),
        ("When does the money come back for", "which I sent last week"),
    )
]


class Retriever:
    """Ranks articles by the words that they share with a question, rare ones first; ties by name.

    Every `slip`-th call leaves its first document out, as an index that is being rebuilt would.
    """

    def __init__(self, slip: int = 0) -> None:
        self._words = {name: set(re.findall(r"[a-z]+", text)) for name, text in ARTICLES.items()}
        self._known = Counter(word for words in self._words.values() for word in words)
        self._slip = slip
        self.calls = 0

    def ranked(self, question: str) -> list[str]:
        words = set(re.findall(r"[a-z]+", question.lower()))
        scores = {
            name: sum(math.log(len(ARTICLES) / self._known[word]) for word in sorted(words & article))
            for name, article in self._words.items()
        }
        best = sorted((name for name in scores if scores[name] > 1), key=lambda name: (-scores[name], name))
        return best[:8]

    def __call__(self, handler, body):
        self.calls += 1
        documents = self.ranked(body["question"])
        if self._slip and self.calls % self._slip == 0:
            documents = documents[1:]
        handler._send(200, {"answer": said(documents), "sources": [{"id": name} for name in documents]})


def said(documents: list[str]) -> str:
    """Returns the answer of the application: the number of the best article."""
    return f"See article {list(ARTICLES).index(documents[0])}." if documents else "I cannot help with that."
