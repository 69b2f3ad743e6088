"""Questions of two pools that are the same, or nearly: a result on a test question that was tuned on is worthless."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from llmkit.errors import DataError
from llmkit.tasks.text import normalise
from llmkit.types import Question


def refuse_leaks(pool: Sequence[Question], test: Sequence[Question]) -> None:
    """Raises DataError where a question stands in both, folded by `tasks.normalise` (case, width, punctuation,
    space)."""
    tested = {normalise(q.text): q.id for q in test}
    shared = [(q.id, tested[key]) for q in pool if (key := normalise(q.text)) in tested]
    if shared:
        names = ", ".join(f"{a} = {b}" for a, b in shared[:5]) + (
            f" and {len(shared) - 5} more" if len(shared) > 5 else ""
        )
        raise DataError(
            f"{len(shared)} tuning questions are test questions too: {names}",
            "a result on them would be worthless; take the duplicates out of one of the two",
        )


@dataclass(frozen=True)
class Similar:
    """A tuning question and the test question it shares most words with; `jaccard` in [0, 1]."""

    tuning: str
    test: str
    jaccard: float


def near_duplicates(pool: Sequence[Question], test: Sequence[Question], least: float = 0.8) -> list[Similar]:
    """Returns tuning questions whose words (without case and marks, numbers kept) nearly all stand in a test question,
    most alike first. Some sets are near-duplicates by nature, so this is for the user to judge."""
    tested = [(q.id, _words(q.text)) for q in test]
    found = []
    for question in pool:
        mine = _words(question.text)
        # Where one has so many more words the Jaccard index cannot reach `least`: leaving these out makes it quick.
        close = [(i, words) for i, words in tested if min(len(words), len(mine)) >= least * max(len(words), len(mine))]
        name, words = max(close, key=lambda t: len(mine & t[1]) / len(mine | t[1]), default=("", frozenset()))
        if words and (alike := len(mine & words) / len(mine | words)) >= least:
            found.append(Similar(question.id, name, round(alike, 3)))
    return sorted(found, key=lambda s: (-s.jaccard, s.tuning))


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text.casefold()))
