"""How well a correction step restores a question, measured on the text itself."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from llmkit.conditions import Condition
from llmkit.measure import statistics
from llmkit.measure.cells import Cells, interval, number
from llmkit.perturb.numerals import numbers
from llmkit.rop import ARMS
from llmkit.rop.scoring import cer, restored, squash
from llmkit.runs.samples import Sample

_ANSWERS = re.compile(r"####|\\boxed|\b(?:the\s+)?(?:final\s+)?answer\s*(?:is|:)|\btherefore\b", re.IGNORECASE)
_REFUSES = re.compile(r"\b(?:i(?:'|’)?m sorry|i am sorry|i can(?:no|')t|i cannot|unable to|as an ai)\b", re.IGNORECASE)
_HALF = 0.5
CANNOT = "this model cannot correct"


def surviving(text: str, clean: str) -> float:
    """The share of the clean text's words that stand in `text`, in any order."""
    want, have = Counter(clean.lower().split()), Counter(text.lower().split())
    return (want & have).total() / max(want.total(), 1)


def answered_instead(text: str, clean: str, gold: str) -> bool:
    """The corrector answered: an answer marker that the question lacks, or most of it gone and the gold answer there.

    >>> answered_instead("The answer is 8.", "Tom has 3 pens and 5 cups. How many things?", "8")
    True
    """
    if _ANSWERS.search(text) and not _ANSWERS.search(clean):
        return True
    gone = surviving(text, clean) < _HALF
    return gone and bool(gold) and re.search(rf"(?<!\w){re.escape(gold)}(?!\w)", text) is not None


def refused(text: str, clean: str) -> bool:
    """The corrector refused: words of refusal that the question lacks, and most of the question gone."""
    return surviving(text, clean) < _HALF and bool(_REFUSES.search(text)) and not _REFUSES.search(clean)


def quality(cells: Cells, samples: Sequence[Sample], level: float) -> dict[str, Any] | None:
    """Restoration of one arm under one condition; None where it corrects nothing or the texts are not at hand.

    Error rates are means over questions. `answered_instead` and `refused` look at what the corrector said, before any
    fallback; everything else at the text that was asked in the end. Numbers are kept where each number of the question
    is still there: `uic` adds others.
    """
    rows = [s for s in samples if s.outcome.corrected_text is not None and s.question]
    if not rows:
        return None

    def share(flags: list[tuple[Sample, bool]]) -> dict[str, Any] | None:
        return _share(cells, flags, level)

    texts = [(s, s.outcome.corrected_text or "") for s in rows]
    said = [(s, s.said("correct") or s.outcome.corrected_text or "") for s in rows]
    with_options = [(s, t) for s, t in texts if s.options]
    return {
        "n": len(rows),
        "cer_before": number(sum(cer(s.text, s.question) for s in rows) / len(rows)),
        "cer_after": number(sum(cer(t, s.question) for s, t in texts) / len(rows)),
        "restored": share([(s, squash(t) == squash(s.question)) for s, t in texts]),
        "numbers_kept": share([(s, numbers(s.question) <= numbers(t)) for s, t in texts]),
        "options_kept": share([(s, _keeps(t, s.options)) for s, t in with_options]),
        "answered_instead": share([(s, answered_instead(t, s.question, s.outcome.gold)) for s, t in said]),
        "refused": share([(s, refused(t, s.question)) for s, t in said]),
        "fallback": dict(sorted(Counter(s.outcome.fallback for s in samples if s.outcome.fallback).items())),
    }


def over_correction(cells: Cells, samples: Sequence[Sample], level: float) -> dict[str, Any] | None:
    """What a correction does to questions that needed none: the share altered, and the share with other numbers."""
    rows = [s for s in samples if s.outcome.corrected_text is not None and s.question]
    if not rows:
        return None
    texts = [(s, s.outcome.corrected_text or "") for s in rows]
    return {
        "n": len(rows),
        "altered": _share(cells, [(s, squash(t) != squash(s.question)) for s, t in texts], level),
        "numbers_altered": _share(cells, [(s, numbers(t) != numbers(s.question)) for s, t in texts], level),
    }


def mark(metrics: dict[str, Any], samples: Sequence[Sample]) -> None:
    """Adds to each arm that has a model correct its mean `restored` under noise, and a `mark` where that is nothing."""
    for arm, found in metrics["arms"].items():
        if arm not in ARMS or "correction" not in ARMS[arm].needs:
            continue
        shares = [
            restored(s.text, s.outcome.corrected_text, s.question)
            for s in samples
            if s.outcome.arm == arm and Condition.parse(s.outcome.condition).noisy
            if s.outcome.corrected_text is not None and squash(s.text) != squash(s.question)
        ]
        if shares:
            found["restored"] = number(math.fsum(shares) / len(shares))
            if found["restored"] <= 0:
                found["mark"] = CANNOT


def _keeps(text: str, options: Sequence[str]) -> bool:
    flat = squash(text).casefold()
    return all(squash(option).casefold() in flat for option in options)


def _share(cells: Cells, flags: list[tuple[Sample, bool]], level: float) -> dict[str, Any] | None:
    """The share of flagged samples, with an interval that knows of repeats and clusters."""
    import numpy as np

    if not flags:
        return None
    hits, of = np.zeros(len(cells.questions)), np.zeros(len(cells.questions))
    for sample, flag in flags:
        i = cells.row[sample.outcome.question_id]
        hits[i] += flag
        of[i] += 1
    return interval(*statistics.rate(hits, of, cells.clusters, len(flags), level))
