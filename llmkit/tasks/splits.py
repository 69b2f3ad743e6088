"""Which split a question is in, and in which order questions are taken: both by hashes, never by position."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from llmkit.seeds import derive
from llmkit.types import Question

SPLITS = ("train", "dev", "test")


def digest(key: str, size: int = 6) -> str:
    """Returns a short name for a normalised text."""
    return hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=size).hexdigest()


def place(key: str) -> float:
    """Returns the place of a text in [0, 1), without a salt: a question that two sets share falls alike in both."""
    return int(digest(key, 8), 16) / 2**64


def split_all(key: str) -> str:
    """Returns train, dev or test, 20/20/60."""
    at = place(key)
    return "train" if at < 0.2 else "dev" if at < 0.4 else "test"


def split_pool(key: str, dev_share: float) -> str:
    """Returns train or dev, for a set whose test split is given."""
    return "dev" if place(key) < dev_share else "train"


def ordered(questions: Iterable[Question], seed: int, limit: int | None = None) -> list[Question]:
    """Returns the questions in a seeded order, where a smaller limit takes the beginning of what a larger one takes."""
    return sorted(questions, key=lambda q: (derive(seed, "order", q.id), q.id))[:limit]


def number(keys: Sequence[str]) -> list[int]:
    """Returns how often each key occurred before.

    >>> number(["a", "b", "a"])
    [0, 0, 1]
    """
    seen: dict[str, int] = {}
    counts = []
    for key in keys:
        counts.append(seen.get(key, 0))
        seen[key] = counts[-1] + 1
    return counts
