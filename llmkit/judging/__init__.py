"""Asks a model, as judge, which of two answers is better: each pair in both orders, the verdicts kept in a file.

A judge is no person: no gate rests on it before people have agreed with it on enough pairs (`measure.doubts`).
"""

from llmkit.judging.judging import Asked, Comparison, Judging, judge, tokens_in
from llmkit.judging.scoring import joined, judged, refuse, refuse_failed, refuse_itself, unreadable

__all__ = [
    "Asked",
    "Comparison",
    "Judging",
    "joined",
    "judge",
    "judged",
    "refuse",
    "refuse_failed",
    "refuse_itself",
    "tokens_in",
    "unreadable",
]
