"""The instructions that RoP searches for, where they came from, and the file that keeps them."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from llmkit.errors import UsageError
from llmkit.prompts import render

Stage = Literal["correction", "guidance"]
POOLED = "pooled"
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Candidate:
    """One instruction with its origin ("hand-written" or "generated") and its score on each dev item, in [0, 1]
    for `execution` and in nats (<= 0) for `likelihood`."""

    text: str
    origin: str
    scores: dict[str, float] = field(default_factory=dict)

    @property
    def mean(self) -> float | None:
        return math.fsum(self.scores.values()) / len(self.scores) if self.scores else None


@dataclass(frozen=True, slots=True)
class Search:
    """One finished search: what won, what else took part, and what it cost in scored sequences."""

    stage: Stage
    best: str
    candidates: tuple[Candidate, ...] = ()
    strategy: str = "given"
    score: str = "given"
    budget: int = 0
    spent: int = 0
    seed: int = 0
    items: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def mean(self) -> float | None:
        """The mean score of what won; None where it was not scored."""
        return next((c.mean for c in self.candidates if c.text == self.best), None)


@dataclass(frozen=True, slots=True)
class Instructions:
    """What the arms need: one correction and one guidance instruction.

    `trained_on` names the noise they were tuned on ("pooled", one kind, or "all but" one); `seed` numbers the search.
    """

    correction: Search
    guidance: Search
    trained_on: str = POOLED
    seed: int = 0


def hand_written(stage: Stage) -> list[str]:
    """The seed candidates that always take part, best known first."""
    return [line for line in render(f"rop/seeds-{stage}-v1").splitlines() if line.strip()]


def default_instructions() -> Instructions:
    """The first hand-written instruction of each stage: what a search with budget 0 gives."""
    return Instructions(
        *(Search(stage, hand_written(stage)[0], strategy="hand-written") for stage in ("correction", "guidance"))
    )


def to_json(found: list[Instructions], provenance: dict[str, Any]) -> dict[str, Any]:
    """The content of instructions.json: every candidate with its scores and items, and how to make it again.

    `provenance` says how: models, settings, tuning questions (evaluate/provenance.py).
    """

    def search(s: Search) -> dict[str, Any]:
        row = asdict(s)
        row["candidates"] = [
            {"text": c.text, "origin": c.origin, "mean": c.mean, "scores": c.scores} for c in s.candidates
        ]
        return row

    return {
        "format": FORMAT,
        **provenance,
        "instructions": [
            {
                "trained_on": i.trained_on,
                "seed": i.seed,
                "correction": search(i.correction),
                "guidance": search(i.guidance),
            }
            for i in found
        ],
    }


def read(path: str | Path) -> list[Instructions]:
    """Reads an instructions.json. A hand-made file needs only {"correction": "...", "guidance": "..."}."""
    data = _content(path)
    try:
        if "instructions" not in data:
            pair = (Search(stage, _text(data[stage])) for stage in ("correction", "guidance"))
            return [Instructions(*pair)]
        return [
            Instructions(
                _search("correction", row["correction"]),
                _search("guidance", row["guidance"]),
                row.get("trained_on", POOLED),
                row.get("seed", 0),
            )
            for row in data["instructions"]
        ]
    except (KeyError, TypeError, AttributeError) as e:
        raise UsageError(
            f"{path} holds no instructions: {e!r} is missing or of the wrong kind",
            'it wants {"correction": "...", "guidance": "..."} or a file that llmkit rop wrote',
        ) from None


def read_origin(path: str | Path) -> dict[str, Any]:
    """What an instructions.json says of where its instructions come from; of a hand-made one, nothing."""
    data = _content(path)
    own = ("format", "instructions", "correction", "guidance")
    return {key: value for key, value in data.items() if key not in own} if isinstance(data, dict) else {}


def _content(path: str | Path) -> Any:
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as e:
        raise UsageError(f"cannot read instructions from {path}: {e.strerror}") from None
    except ValueError as e:
        raise UsageError(f"{path} is not JSON: {e}") from None


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise TypeError("an instruction text")
    return value


def _search(stage: Stage, row: dict[str, Any]) -> Search:
    candidates = tuple(Candidate(c["text"], c["origin"], dict(c["scores"])) for c in row.get("candidates", ()))
    known = {k: row[k] for k in ("strategy", "score", "budget", "spent", "seed", "items") if k in row}
    return Search(stage, _text(row["best"]), candidates, **known)
