"""Whole runs against a scripted model whose right answers are known."""

from __future__ import annotations

from collections import defaultdict
from functools import cache

from rapidfuzz import process

from llmkit.perturb.numerals import numbers
from llmkit.recipe.schema import DataSection
from llmkit.tasks import load

OVERRIDES = {
    "model.path": "scripted",
    "engine.kind": "fake",
    "data.task": "arithmetic",
    "data.limit": 6,
    "data.size": 60,
    "perturb.conditions": ["ec", "woo"],
    "perturb.rate": 0.3,
    "rop.search.budget": 12,
    "rop.search.pool": 8,
    "rop.search.queries": 1,
    "rop.search.completions": 2,
    "eval.interval.draws": 200,
}


@cache
def golds():
    """Clean text to gold answer, of every split."""
    data = DataSection(task="arithmetic", size=60)
    return {q.text: q.gold for split in ("train", "dev", "test") for q in load(data, split, 7)}


@cache
def by_numbers():
    """Clean texts by the numbers in them, which no noise changes."""
    groups = defaultdict(list)
    for text in golds():
        groups[frozenset(numbers(text).items())].append(text)
    return groups


def scholar(request):
    """Answers a clean question rightly and a noisy one wrongly; restores any noisy question when asked to correct."""
    content = request.messages[0].content
    if request.purpose == "correct":
        noisy = content.rsplit("Text: ", 1)[1]
        return process.extractOne(noisy, by_numbers()[frozenset(numbers(noisy).items())])[0]
    if request.purpose == "propose":
        return f"Do it well, in way {request.replicate}."
    return f"The answer is {golds().get(content.rpartition('Question: ')[2], '-1')}"
