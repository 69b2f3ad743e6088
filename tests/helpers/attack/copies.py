"""Noisy copies of real questions: the original can be rebuilt, and what is protected is still there."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path

from llmkit.errors import LlmkitError
from llmkit.perturb import OPERATORS, PROTECT, Perturber, undo
from llmkit.perturb.numerals import numbers
from llmkit.perturb.protection import Protection
from llmkit.recipe.schema import DataSection
from llmkit.tasks import load
from llmkit.terminal import visible

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
TASKS = ("gsm8k", "aqua", "multiarith", "singleeq", "addsub", "svamp", "csqa", "strategyqa", "arithmetic", "coin_flip")
SPECS = [name for name in OPERATORS if OPERATORS[name].argument is None and OPERATORS[name].level != "model"]


@cache
def texts() -> list[str]:
    """Questions of the official sets that are at hand, and of generated ones."""
    found: list[str] = []
    for task in TASKS:
        try:
            data = DataSection(task=task, size=300, data_dir=str(DATA) if DATA.is_dir() else None)
            found += [question.text for question in load(data, "test", 7)][:400]
        except LlmkitError:  # a set that is not at hand
            continue
    return found


@cache
def perturber(spec: str, rate: float) -> Perturber:
    return Perturber(spec, rate=rate, seed=7, retries=1)


def findings(seed: int, number: int) -> list[str]:
    """Returns what is wrong with one noisy copy."""
    rng = random.Random(f"{seed}/{number}")
    text, spec, rate = rng.choice(texts()), rng.choice(SPECS), rng.choice((0.05, 0.1, 0.3, 1.0))
    made = perturber(spec, rate).apply(text, str(number))
    wrong = []
    if undo(made.text, made.edits) != text:
        wrong.append("the original cannot be rebuilt")
    if not made.rejected and spec != "hw_number" and numbers(text) - numbers(made.text):
        wrong.append("a number is gone")
    if visible(text) == text and visible(made.text) != made.text:
        wrong.append("a control character came in")
    at = 0
    for start, end in () if spec == "hw_number" else Protection(PROTECT).spans(text):
        found = made.text.find(text[start:end], at)
        if found < 0:
            wrong.append(f"{text[start:end]!r} is protected and gone")
            break
        at = found + end - start
    return [f"copy {seed}/{number}: {spec} at {rate}: {what}: {text[:80]!r}" for what in wrong]
