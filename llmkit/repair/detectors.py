"""Detectors: one number for a text, the higher the likelier it is to be noisy. A gate compares it with clean text."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import ClassVar

from llmkit.registry import Registry
from llmkit.types import Steps

DETECTORS: Registry[type[Detector]] = Registry("detector", "llmkit.detectors")

_WORD = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*")


class Detector:
    """Base of all detectors. A subclass writes `score`."""

    name: ClassVar[str] = ""
    cost: ClassVar[str] = "no call"
    asks: ClassVar[bool] = False
    """True where a model is asked."""

    def score(self, text: str) -> Steps:
        """Yields requests, if any, and is sent replies. Returns a float: the higher, the likelier noise."""
        raise TypeError(f"{type(self).__name__} does not say how it scores")


def detector(name: str) -> Callable[[type[Detector]], type[Detector]]:
    """Registers a detector under the name that users call it by."""
    return DETECTORS.named(name)


@detector("lookalikes")
class LookAlikes(Detector):
    """The share of words that folding changes: exact, and free."""

    def score(self, text: str) -> Steps:
        from llmkit.repair.lookalikes import fold_lookalikes

        words, folded = text.split(), fold_lookalikes(text).split()
        if len(words) != len(folded):
            return 1.0
        return sum(a != b for a, b in zip(words, folded, strict=True)) / max(1, len(words))
        yield


@detector("unknown_words")
class UnknownWords(Detector):
    """The share of words that `spell` would change."""

    def score(self, text: str) -> Steps:
        from llmkit.repair.spelling import spell

        words = _WORD.findall(text)
        changed = sum(a != b for a, b in zip(words, _WORD.findall(spell(text)), strict=False))
        return changed / max(1, len(words))
        yield
