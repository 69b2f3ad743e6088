"""Scores of an instruction on one dev item, which a search maximises."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

from llmkit.perturb.numerals import numbers
from llmkit.prompts import render
from llmkit.rop.arms import Arm
from llmkit.tasks import Scorer, as_asked, wording
from llmkit.types import Message, Request, Sampling, Steps, Texts, Variant

FAILED_NATS = -50.0
"""The likelihood score of an item whose call failed: lower than any real mean, and still a number in JSON."""

Pair = Callable[[Variant], tuple[str, str]]
"""The input and the wanted output that a stage shows of an item."""


class Trial(Protocol):
    """The score of an instruction on one item: higher is better."""

    def __call__(self, instruction: str, variant: Variant) -> Steps: ...


def squash(text: str) -> str:
    """Removes leading, trailing and repeated white space."""
    return " ".join(text.split())


def cer(text: str, clean: str) -> float:
    """Computes the character error rate: Levenshtein distance over the length of the clean text."""
    from rapidfuzz.distance import Levenshtein

    return Levenshtein.distance(squash(text), squash(clean)) / max(len(squash(clean)), 1)


def restored(asked: str, text: str, clean: str) -> float:
    """Returns the share of the errors in `asked` that its correction `text` removed, in [-1, 1]: 0 where nothing
    changed, below 0 where errors were added, and -1 where a number of the clean question that `asked` still had is
    lost.

    >>> restored("How mnay pnes?", "How many pnes?", "How many pens?")
    0.5
    """
    error_before = cer(asked, clean)
    if squash(text) == squash(asked) or not error_before:
        return 0.0
    if not numbers(clean) & numbers(asked) <= numbers(text):
        return -1.0
    return max(-1.0, min(1.0, (error_before - cer(text, clean)) / error_before))


def correction_trial(arm: Arm, noisy_share: float) -> Trial:
    """Returns a trial that scores p x restored - (1 - p) x broken, in [-1, p]: each question is corrected both noisy
    and clean, and `broken` is 1 where the clean one came back altered. `noisy_share` is p. Text that comes back as it
    was asked scores 0."""

    def run(instruction: str, variant: Variant) -> Steps:
        kept, corrected, _ = yield from corrections(arm, instruction, variant)
        return worth(variant, kept, corrected, noisy_share)

    return run


def corrections(arm: Arm, instruction: str, variant: Variant) -> Steps:
    """Corrects a question clean and noisy. Returns both texts, and the reason if the noisy one's reply is unusable.

    An unusable reply leaves the text as it was asked, here as in the arms.
    """
    kept, fallback = yield from arm.correct(Variant.unchanged(variant.question), instruction=instruction)
    corrected = kept
    if squash(variant.text) != squash(variant.question.text):  # noise may find nothing to change
        corrected, fallback = yield from arm.correct(variant, instruction=instruction)
    return kept, corrected, fallback


def worth(variant: Variant, kept: Texts, corrected: Texts, noisy_share: float) -> float:
    """Returns p x restored - (1 - p) x broken, of a question that came back as `kept` when it was asked clean."""
    clean = variant.question.text
    score = -(1 - noisy_share) * (squash(wording(kept)) != squash(clean))
    return score + noisy_share * restored(variant.text, wording(corrected), clean) + 0.0  # no -0.0


def guidance_trial(arm: Arm, scorer: Scorer) -> Trial:
    """Returns a trial that scores 1 if the answer under the instruction is right, else 0."""

    def run(instruction: str, variant: Variant) -> Steps:
        answer = yield from arm.answer(variant.texts, variant, instruction)
        return float(bool(scorer.judge(answer.reply.said, answer.parsed, as_asked(variant)).correct))

    return run


def likelihood_trial(pair: Pair) -> Trial:
    """Returns a trial that scores the mean log-probability (nats per token, <= 0) of the wanted output: the score of
    APE."""

    def run(instruction: str, variant: Variant) -> Steps:
        stage_input, stage_output = pair(variant)
        content = render("rop/score-v1", instruction=instruction, input=stage_input)
        reply = yield Request((Message("user", content),), Sampling(1), purpose="score", continuation=stage_output)
        return math.fsum(reply.logprobs) / max(1, len(reply.logprobs))

    return run
