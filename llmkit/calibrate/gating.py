"""The gate of a calibration: the scales of its detectors, and the doubt about every other row."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from llmkit.calibrate.plan import Plan
from llmkit.repair import DETECTORS, Gate, Scale
from llmkit.repair.document import Traffic
from llmkit.repair.drift import LEVELS
from llmkit.repair.gate import Doubt
from llmkit.repair.repair import is_looked_at
from llmkit.steps import drive
from llmkit.types import Reply, Request, Steps

Scores = Callable[[Sequence[tuple[str, Steps]], str], list[Any]]
"""Runs named detectors, under a label for the progress; returns their scores, in the same order."""


def offline(jobs: Sequence[tuple[str, Steps]], label: str) -> list[Any]:
    """Runs detectors that ask no model."""

    def refuse(request: Request) -> Reply:
        raise AssertionError("this detector asks a model")

    return [drive(steps, refuse) for _, steps in jobs]


def fitted(plan: Plan, scores: Scores) -> Gate:
    """Returns a gate that never fires, its scales fitted on the tuning rows: its doubt about a text is the same for
    every threshold."""
    rows = [row for row in plan.parts["tuning"] if is_looked_at(row.text)]
    scales = []
    for name in plan.detectors:
        detector = DETECTORS[name]()
        clean_scores = scores([(f"{name}/{row.id}", detector.score(row.text)) for row in rows], f"scale of {name}")
        scales.append(Scale.fitted(name, clean_scores))
    return Gate(tuple(scales), math.inf)


def doubts(gate: Gate, texts: Iterable[tuple[str, str]], scores: Scores) -> dict[str, Doubt]:
    """Returns the doubt about each text, by its name: none about those that a repair does not look at."""
    named = list(texts)
    passed = {name: Doubt(0.0, "") for name, _ in named}
    looked_at = [(name, text) for name, text in named if is_looked_at(text)]
    computed_doubts = scores([(f"doubt/{name}", gate.doubt(text)) for name, text in looked_at], "detecting")
    return passed | {name: doubt for (name, _), doubt in zip(looked_at, computed_doubts, strict=True)}


def traffic_of(rarities: Iterable[float], threshold: float) -> Traffic:
    """Returns the traffic that live texts are compared with."""
    edges = tuple(sorted({*LEVELS, threshold}))
    counts = Counter(bisect_right(edges, rarity) for rarity in rarities)
    return Traffic(edges=edges, counts=tuple(counts[place] for place in range(len(edges) + 1)))
