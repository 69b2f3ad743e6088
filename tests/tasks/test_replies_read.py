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


def confusion(pairs) -> Counter[tuple[str, str]]:
    return Counter((pair["reading"], verdict(pair)) for pair in pairs)


def test_the_signature_agrees_with_readings_of_real_replies():
    """`unclear` is no change on either side. Letters that a small model writes freely have a figure of their own."""
    counts = confusion(pair for pair in PAIRS if pair["kind"] != "letters")
    agreed = sum(count for (read, found), count in counts.items() if (read == "facts") == (found == "facts"))
    assert counts.total() >= 200
    assert agreed / counts.total() >= 0.95, counts


def test_where_rules_and_reader_both_decide_they_agree():
    counts = confusion(PAIRS)
    decided = Counter({key: count for key, count in counts.items() if "unclear" not in key})
    assert decided["facts", "facts"] + decided["wording", "wording"] >= 0.95 * decided.total(), counts
    assert decided.total() >= 0.8 * counts.total(), counts


def test_the_pairs_are_real_and_each_is_there_once():
    """Readings of one verdict alone would agree with anything, and a pair of equal replies needs no rule."""
    keys = Counter((pair["row"], pair["first"]["reply"], pair["second"]["reply"]) for pair in PAIRS)
    assert max(keys.values()) == 1
    assert all(first != second for _, first, second in keys)
    assert {pair["reading"] for pair in PAIRS} == {"facts", "wording", "unclear"}
