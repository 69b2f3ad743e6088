"""The facts signature beside a person's reading of pairs of real replies (replies/README.md)."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from llmkit.tasks.comparing import Response, compare
from llmkit.types import Question

PAIRS = [
    json.loads(line)
    for line in (Path(__file__).parent / "replies" / "pairs.jsonl").read_text(encoding="utf-8").splitlines()
]


def verdict(pair) -> str:
    """Returns the verdict of the rules, where equal in canonical form is a difference in wording, as in readings."""
    first, second = (Response(pair[side]["reply"], cut=pair[side]["cut"]) for side in ("first", "second"))
    found = compare(first, second, Question(pair["row"], pair["question"], "", "text")).verdict
    return "wording" if found == "same" else found


def test_the_signature_agrees_with_readings_of_real_replies():
    confusion = Counter((pair["reading"], verdict(pair)) for pair in PAIRS)
    agreed = sum(count for (read, found), count in confusion.items() if (read == "facts") == (found == "facts"))
    decided = {key: count for key, count in confusion.items() if "unclear" not in key}
    assert len(PAIRS) >= 200
    assert agreed / len(PAIRS) >= 0.95, confusion
    assert sum(decided.values()) / len(PAIRS) >= 0.9, confusion
    assert decided["facts", "facts"] + decided["wording", "wording"] >= 0.95 * sum(decided.values()), confusion


def test_the_pairs_are_real_and_each_is_there_once():
    """Readings of one verdict alone would agree with anything, and a pair of equal replies needs no rule."""
    keys = Counter((pair["row"], pair["first"]["reply"], pair["second"]["reply"]) for pair in PAIRS)
    assert max(keys.values()) == 1
    assert all(first != second for _, first, second in keys)
    assert {pair["reading"] for pair in PAIRS} == {"facts", "wording", "unclear"}
