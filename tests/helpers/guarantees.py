"""Guarantees of a noisy copy, whatever the operator."""

from __future__ import annotations

from llmkit.perturb.numerals import numbers
from llmkit.perturb.protection import Protection

DAMAGE = ("a number was lost", "a number was added", "a protected span was changed")


def keeps(made, text, protect):
    """Asserts that protected spans and numbers survive: operators keep out, and the gate has nothing to catch."""
    at = 0
    for start, end in Protection(protect).spans(text):
        at = made.text.find(text[start:end], at)
        assert at >= 0
        at += end - start
    assert not numbers(text) - numbers(made.text)
    assert made.reason not in DAMAGE
