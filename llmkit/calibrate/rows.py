"""The rows of a calibration: one of each cluster, and each cluster in one of three parts that never mix."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from llmkit.seeds import derive
from llmkit.tasks import normalise
from llmkit.types import Question

Part = Literal["tuning", "calibration", "report"]
"""The use of a row: to choose the chain and fit the detectors' scales, to test the thresholds, or to report on."""

SHARES: Mapping[Part, float] = {"tuning": 0.2, "calibration": 0.6, "report": 0.2}

_SEEDS = 1 << 63


def part_of(cluster: str, seed: int) -> Part:
    """Returns the part that a cluster is in: by a hash, so that it stays there when a log grows."""
    place = derive(seed, "calibrate", "part", cluster) / _SEEDS
    for part, share in SHARES.items():
        place -= share
        if place < 0:
            return part
    return "report"  # where rounding leaves a last bit of 1


def one_per_cluster(questions: Iterable[Question], seed: int) -> list[Question]:
    """Returns one row of each cluster, drawn by a hash, in the order of the rows.

    The exact test counts independent rows. Ten rows of one user are no ten of them: where users differ, all rows of few
    users break a guarantee of .95 about one time in five.
    """
    clusters: dict[str, list[Question]] = defaultdict(list)
    for question in questions:
        clusters[question.cluster_id].append(question)
    return [min(rows, key=lambda row: derive(seed, "calibrate", "row", row.id)) for rows in clusters.values()]


def split(questions: Iterable[Question], seed: int) -> dict[Part, list[Question]]:
    """Returns one row of each cluster in its part."""
    parts: dict[Part, list[Question]] = {part: [] for part in SHARES}
    for row in one_per_cluster(questions, seed):
        parts[part_of(row.cluster_id, seed)].append(row)
    return parts


def distinct(rows: Iterable[Question], earlier: Iterable[Question] = ()) -> list[Question]:
    """Returns the rows whose text is new: that of no `earlier` row, and of none before it."""
    seen = {normalise(row.text) for row in earlier}
    new = []
    for row in rows:
        if (text := normalise(row.text)) not in seen:
            seen.add(text)
            new.append(row)
    return new


def sample(rows: Sequence[Question], most: int, seed: int, purpose: str) -> list[Question]:
    """Returns at most so many rows, drawn by a hash of each, so that a longer log asks mostly for the same ones."""
    return sorted(rows, key=lambda row: derive(seed, "calibrate", purpose, row.id))[:most]
