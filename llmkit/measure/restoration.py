"""How well a correction step restores a question, measured on the text itself."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from llmkit.conditions import Condition
from llmkit.measure import statistics
from llmkit.measure.arm_results import Correction, OverCorrection
from llmkit.measure.cells import Cells
from llmkit.measure.results import Metrics
from llmkit.measure.values import Interval, number
from llmkit.perturb.numerals import numbers
from llmkit.rop import known_arm
from llmkit.rop.scoring import cer, restored, squash
from llmkit.runs.samples import Sample

_ANSWERS = re.compile(r"####|\\boxed|\b(?:the\s+)?(?:final\s+)?answer\s*(?:is|:)|\btherefore\b", re.IGNORECASE)
_REFUSES = re.compile(r"\b(?:i(?:'|’)?m sorry|i am sorry|i can(?:no|')t|i cannot|unable to|as an ai)\b", re.IGNORECASE)
_HALF = 0.5
CANNOT = "this model cannot correct"


def surviving(text: str, clean: str) -> float:
    """Returns the share of the clean text's words that are in `text`, in any order."""
    want, have = Counter(clean.lower().split()), Counter(text.lower().split())
    return (want & have).total() / max(want.total(), 1)


def answered_instead(text: str, clean: str, gold: str) -> bool:
    """Returns whether the corrector answered: an answer marker that the question lacks, or most of the question gone
    and the gold answer there.

    >>> answered_instead("The answer is 8.", "Tom has 3 pens and 5 cups. How many things?", "8")
    True
    """
    if _ANSWERS.search(text) and not _ANSWERS.search(clean):
        return True
    gone = surviving(text, clean) < _HALF
    return gone and bool(gold) and re.search(rf"(?<!\w){re.escape(gold)}(?!\w)", text) is not None


def refused(text: str, clean: str) -> bool:
    """Returns whether the corrector refused: words of refusal that the question lacks, and most of its words gone."""
    return surviving(text, clean) < _HALF and bool(_REFUSES.search(text)) and not _REFUSES.search(clean)


def correction(cells: Cells, samples: Sequence[Sample], level: float) -> Correction | None:
    """Measures the restoration of one arm under one condition; None where it corrects nothing or lacks the texts.

    Error rates are means over questions. `answered_instead` and `refused` look at what the corrector said, before any
    fallback; everything else at the text that was asked in the end. Numbers are kept where each number of the question
    is still there: `uic` adds others.
    """
    corrected = _corrected(samples)
    if not corrected or any(s.hidden for s, _ in corrected):
        return None

    def share(flags: Iterable[tuple[Sample, bool]]) -> Interval | None:
        return _share(cells, list(flags), level)

    replies = [(s, s.said("correct") or text) for s, text in corrected]
    n = len(corrected)
    return Correction(
        n=n,
        cer_before=number(sum(cer(s.text, s.question) for s, _ in corrected) / n),
        cer_after=number(sum(cer(text, s.question) for s, text in corrected) / n),
        restored=share((s, squash(text) == squash(s.question)) for s, text in corrected),
        numbers_kept=share((s, numbers(s.question) <= numbers(text)) for s, text in corrected),
        options_kept=share((s, _keeps(text, s.options)) for s, text in corrected if s.options),
        answered_instead=share((s, answered_instead(said, s.question, s.outcome.gold or "")) for s, said in replies),
        refused=share((s, refused(said, s.question)) for s, said in replies),
        fallback=dict(sorted(Counter(s.outcome.fallback for s in samples if s.outcome.fallback).items())),
    )


def over_correction(cells: Cells, samples: Sequence[Sample], level: float) -> OverCorrection | None:
    """Measures what a correction does to questions that needed none."""
    corrected = _corrected(samples)
    if not corrected:
        return None
    altered = [(s, squash(text) != squash(s.question)) for s, text in corrected]
    numbers_altered = [(s, numbers(text) != numbers(s.question)) for s, text in corrected]
    return OverCorrection(
        n=len(corrected),
        altered=_share(cells, altered, level),
        numbers_altered=None if any(s.hidden for s, _ in corrected) else _share(cells, numbers_altered, level),
    )


def marked(metrics: Metrics, samples: Sequence[Sample]) -> Metrics:
    """Adds to each arm that has a model correct its mean `restored` under noise, and a mark where that is nothing."""
    arms = dict(metrics.arms)
    for name, result in metrics.arms.items():
        arm = known_arm(name)
        if arm is None or "correction" not in arm.needs:
            continue
        shares = [
            restored(s.text, s.outcome.corrected_text, s.question)
            for s in samples
            if s.outcome.arm == name and Condition.parse(s.outcome.condition).noisy
            if not s.hidden and s.outcome.corrected_text is not None and squash(s.text) != squash(s.question)
        ]
        if shares:
            share = number(math.fsum(shares) / len(shares))
            arms[name] = result.model_copy(update={"restored": share, "mark": CANNOT if share <= 0 else None})
    return metrics.model_copy(update={"arms": arms})


def _corrected(samples: Sequence[Sample]) -> list[tuple[Sample, str]]:
    """Returns the samples whose question was corrected, with the text that was asked in the end."""
    return [(s, s.outcome.corrected_text) for s in samples if s.outcome.corrected_text is not None and s.question]


def _keeps(text: str, options: Sequence[str]) -> bool:
    flat = squash(text).casefold()
    return all(squash(option).casefold() in flat for option in options)


def _share(cells: Cells, flags: Sequence[tuple[Sample, bool]], level: float) -> Interval | None:
    """Computes the share of flagged samples, with an interval that knows of repeats and clusters."""
    import numpy as np

    if not flags:
        return None
    hits, of = np.zeros(len(cells.questions)), np.zeros(len(cells.questions))
    for sample, flag in flags:
        i = cells.row[sample.outcome.question_id]
        hits[i] += flag
        of[i] += 1
    return Interval.of(*statistics.rate(hits, of, cells.clusters, len(flags), level))
