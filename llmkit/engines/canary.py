"""Notices that a server's model has changed, or that two servers do not have the same one.

A few fixed prompts are put to a server at the start. Its log-probabilities of the first token, or its words where it
gives none, are compared with those seen before: what agrees keeps the cache's namespace, what differs opens a new one.
"""

from __future__ import annotations

import json
from typing import Any

from llmkit.engines.files import lock, text_digest, write_atomic
from llmkit.resources import cache_dir

PROMPTS = (
    "Name a colour.",
    "A box holds 12 eggs. Two break. How many are left?",
    "Complete the sentence: The weather today is",
    "Is a whale a fish? Answer in one word.",
    "Write one word that rhymes with house.",
)
MEAN_TOLERANCE = 0.1  # nats; rounding in bfloat16 moves a log-probability by up to 0.1, another model by more than 1
LARGEST_TOLERANCE = 0.75
COMMON = 0.6  # share of the most likely tokens that must be the same ones

Observation = list["dict[str, float] | str"]
"""For each prompt the most likely first tokens with their log-probabilities in nats, or the greedy text."""


def agree(a: Observation, b: Observation) -> bool:
    """Whether two observations can come from one model."""
    if len(a) != len(b) or any(type(x) is not type(y) for x, y in zip(a, b, strict=True)):
        return False
    differences, tokens = [], 0
    for x, y in zip(a, b, strict=True):
        if isinstance(x, str):
            if x != y:
                return False
            continue
        tokens += max(len(x), len(y))
        differences += [abs(x[t] - y[t]) for t in x if t in y]
    if not tokens:
        return True
    if len(differences) < COMMON * tokens:
        return False
    return sum(differences) / len(differences) <= MEAN_TOLERANCE and max(differences) <= LARGEST_TOLERANCE


def namespace(server: dict[str, Any], seen: Observation) -> str:
    """The name under which a server's answers are cached: that of the first earlier observation that agrees.

    `server` says which server this is: model id, stated revision, address. What is new is remembered.
    """
    path = cache_dir() / "canaries" / f"{text_digest(json.dumps(server, sort_keys=True))}.json"
    with lock(path.with_suffix(".lock")):
        try:
            known: list[Observation] = json.loads(path.read_text(encoding="utf-8"))["seen"]
        except (OSError, ValueError, KeyError):
            known = []
        first = next((k for k in known if agree(k, seen)), None)
        if first is None:
            first = seen
            write_atomic(path, json.dumps({"server": server, "seen": [*known, seen]}, indent=1))
    return text_digest(json.dumps(first, sort_keys=True))
