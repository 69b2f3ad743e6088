"""Notices that a server's model has changed, or that two servers do not have the same one.

A few fixed prompts are put to a server at the start. Its log-probabilities of the first token, or its words where it
gives none, are compared with those seen before: what agrees keeps the cache's namespace, what differs opens a new one.
At the first start each prompt is asked several times, and only those with the same answer every time count.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from llmkit.files import lock, text_digest, write_atomic
from llmkit.parsing import parse_json
from llmkit.resources import cache_dir

PROMPTS = (
    "Name a colour.",
    "A box holds 12 eggs. Two break. How many are left?",
    "Complete the sentence: The weather today is",
    "Is a whale a fish? Answer in one word.",
    "Write one word that rhymes with house.",
)
ASKED = 3  # times that each prompt is put to a server that is not known yet
FEWEST = 3  # prompts that have to be answered consistently, or nothing can be told from the others
MEAN_TOLERANCE = 0.1  # nats; rounding in bfloat16 moves a log-probability by up to 0.1, another model by more than 1
LARGEST_TOLERANCE = 0.75
COMMON = 0.6  # share of the most likely tokens that must be the same ones

Sight = dict[str, float] | str
"""The answer to one prompt: the most likely first tokens with log-probabilities in nats, or the greedy text."""


@dataclass(frozen=True)
class Canary:
    """A server model's answer to each prompt, None where that is nothing or differs from time to time, and what
    the server calls its model."""

    seen: Sequence[Sight | None]
    model: str = ""
    fingerprint: str = ""

    @classmethod
    def of(cls, answers: Iterable[Sequence[Sight]], model: str, fingerprint: str) -> Canary:
        """Makes one from all that was answered to each prompt."""
        return cls([_steady(asked) for asked in answers], model, fingerprint)

    @property
    def tells(self) -> bool:
        """Returns whether enough prompts were answered consistently to recognise the model."""
        return sum(sight is not None for sight in self.seen) >= FEWEST

    def agrees(self, other: Canary) -> bool:
        """Returns whether both can be of one model. Where neither can tell, the names of the model are compared."""
        if not (self.tells or other.tells):
            return (self.model, self.fingerprint) == (other.model, other.fingerprint)
        both = [(a, b) for a, b in zip(self.seen, other.seen, strict=False) if a is not None and b is not None]
        return len(self.seen) == len(other.seen) and len(both) >= FEWEST and _same(both)

    def as_dict(self) -> dict[str, Any]:
        """Returns it as plain JSON values; `Canary(**value)` reads them back."""
        return asdict(self)


def _steady(asked: Sequence[Sight]) -> Sight | None:
    first = asked[0]
    return first if first and all(_same([(first, other)]) for other in asked[1:]) else None


def _same(pairs: Iterable[tuple[Sight, Sight]]) -> bool:
    differences, tokens = [], 0
    for a, b in pairs:
        if isinstance(a, str) or isinstance(b, str):
            if a != b:
                return False
            continue
        tokens += max(len(a), len(b))
        differences += [abs(a[token] - b[token]) for token in a if token in b]
    if not tokens:
        return True
    if len(differences) < COMMON * tokens:
        return False
    return sum(differences) / len(differences) <= MEAN_TOLERANCE and max(differences) <= LARGEST_TOLERANCE


def known(server: dict[str, Any]) -> list[Canary]:
    """Returns every canary that was seen at this server, the first one first.

    `server` says which server this is: model id, stated revision, address.
    """
    try:
        stored = parse_json(_path(server).read_text(encoding="utf-8"))
        # files of older versions hold what each prompt was answered once
        return [Canary(**c) for c in stored.get("canaries", ())] or [Canary(seen) for seen in stored["seen"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def namespace(server: dict[str, Any], canary: Canary) -> str:
    """Returns the name under which a server's answers are cached: that of the first earlier canary that agrees.

    What is new is remembered, in a file for its owner alone.
    """
    path = _path(server)
    with lock(path.with_suffix(".lock")):
        with contextlib.suppress(OSError):  # there is none yet, or an older llmkit let everybody read it
            path.chmod(0o600)
        before = known(server)
        first = next((c for c in before if c.agrees(canary)), canary)
        if first is canary:
            stored = {"server": server, "canaries": [c.as_dict() for c in (*before, canary)]}
            write_atomic(path, json.dumps(stored, indent=1), private=True)
    return text_digest(json.dumps(first.seen if first.tells else [first.model, first.fingerprint], sort_keys=True))


def _path(server: dict[str, Any]) -> Path:
    return cache_dir() / "canaries" / f"{text_digest(json.dumps(server, sort_keys=True))}.json"
