"""The metrics that a gate can name. Beside those below, each score of a run is one: `f1`, `f1_drop`, `f1_gain` and
`f1_clean_drop` are its mean, loss and gains."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from llmkit.measure.cells import NOISY
from llmkit.types import CLEAN

# metric -> the condition it stands for where a gate names none; None where it has none
METRICS: dict[str, str | None] = {
    "accuracy": CLEAN,
    "drop": NOISY,
    "relative_drop": NOISY,
    "gain": NOISY,
    "recovery": NOISY,
    "clean_drop": None,
    "right_to_wrong": NOISY,
    "wrong_to_right": NOISY,
    "over_correction": None,
    "accuracy_change": CLEAN,
    "drop_change": NOISY,
    "changed": NOISY,
    "lost_at_most": NOISY,
    "restored": NOISY,
    "broken": NOISY,
    "net": NOISY,
    "touched": None,
    "judged_drop": NOISY,
    "judged_gain": NOISY,
}
_DIFFERENCES = ("clean_drop", "drop", "gain")  # the longer ending first


class Measured(NamedTuple):
    """What a gate is about: one of `METRICS`, and the score that it is of, "" for right and wrong answers. The mean of
    a score is its `accuracy`."""

    base: str
    score: str = ""

    @classmethod
    def named(cls, metric: str) -> Measured:
        """Reads the name of a metric. A name that is not known is taken for a score's.

        >>> [tuple(Measured.named(metric)) for metric in ("f1_drop", "relative_drop", "f1")]
        [('drop', 'f1'), ('relative_drop', ''), ('accuracy', 'f1')]
        """
        if metric in METRICS:
            return cls(metric)
        for base in _DIFFERENCES:
            if metric.endswith(f"_{base}"):
                return cls(base, metric.removesuffix(f"_{base}"))
        return cls("accuracy", metric)


def metrics_of(scores: Iterable[str]) -> list[str]:
    """Returns the metrics that gates may name of some scores."""
    return [metric for name in scores for metric in (name, *(f"{name}_{base}" for base in _DIFFERENCES))]
