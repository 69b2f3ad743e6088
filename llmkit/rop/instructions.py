"""The instructions that RoP searches for, where they came from, and the file that keeps them."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from llmkit.conditions import POOLED
from llmkit.errors import UsageError
from llmkit.parsing import JsonObject, parse_json
from llmkit.prompts import render

Stage = Literal["correction", "guidance"]
FORMAT = 1


NO_CORRECTION = ""
"""The correction instruction that means none: the question is used as it was asked, without a call."""


def shown(instruction: str) -> str:
    """Returns an instruction as a reader sees it."""
    return "none: questions are asked as they stand" if instruction == NO_CORRECTION else instruction


class InstructionPair(NamedTuple):
    """Both instructions of the method, as a search by reflection tries them together."""

    correction: str
    guidance: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """One instruction with its origin ("hand-written", "no correction" or "generated") and its score on each dev item:
    for `execution` at most 1 in size, for `likelihood` in nats (<= 0). `refused` says why it was never scored, and
    `partner` is the instruction of the other stage where the scores are those of a pair."""

    text: str
    origin: str
    scores: dict[str, float] = field(default_factory=dict)
    refused: str | None = None
    partner: str | None = None

    @property
    def mean(self) -> float | None:
        return math.fsum(self.scores.values()) / len(self.scores) if self.scores else None


@dataclass(frozen=True, slots=True)
class SearchVerdict:
    """The reason for a search's winner: the last of the written candidates against the best hand-written one.

    `difference` is the mean over `items` that no round used, with its one-sided `p`. `detectable` is the difference
    that so many items show in four of five such searches, None if they show none; `budget` and `pool` are what
    `rop.search` needs to show `TENTH`. `score` is the winner's mean on
    the same items, or on all of its own where there was no such comparison.
    """

    challenger: str | None = None
    incumbent: str = ""
    items: int = 0
    difference: float | None = None
    p: float | None = None
    better: bool = False
    detectable: float | None = None
    budget: int = 0
    pool: int = 0
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Search:
    """One finished search: what won and why, what else took part, and what it cost in scored sequences."""

    stage: Stage
    best: str
    candidates: tuple[Candidate, ...] = ()
    strategy: str = "given"
    score: str = "given"
    budget: int = 0
    spent: int = 0
    seed: int = 0
    items: dict[str, dict[str, str]] = field(default_factory=dict)
    verdict: SearchVerdict | None = None

    @property
    def why(self) -> str | None:
        """Returns why `best` won, in a sentence; None if nothing was searched."""
        return _why(self, self.verdict) if self.verdict else None

    @property
    def mean(self) -> float | None:
        """The mean score of what won; None if it was not scored."""
        return next((candidate.mean for candidate in self.candidates if candidate.text == self.best), None)


@dataclass(frozen=True, slots=True)
class Instructions:
    """The instructions of the arms: one for the correction and one for the guidance.

    `trained_on` names the noise they were tuned on ("pooled", one kind, or "all but" one); `seed` numbers the search.
    """

    correction: Search
    guidance: Search
    trained_on: str = POOLED
    seed: int = 0


REFLECTION = "gepa"
"""The strategy of a search that tried both instructions together: its candidates are halves of pairs."""

TENTH = 0.1
"""The difference for which a verdict says what budget would show it."""


def _why(search: Search, verdict: SearchVerdict) -> str:
    where_compared, one = "", "pair" if search.strategy == REFLECTION else "one"
    if verdict.difference is not None:
        where_compared = f"on {verdict.items} items that no round used (one-sided p {verdict.p:.3f})"
    if verdict.better:
        sentence = f"better than the best hand-written {one} by {verdict.difference:.3f} {where_compared}"
    else:
        sentence = "no candidate was better"
        refused_count = sum(candidate.refused is not None for candidate in search.candidates)
        written_count = sum(candidate.origin == "generated" for candidate in search.candidates)
        if verdict.difference is not None:
            sentence += (
                f": the best written {one} came to {verdict.difference:+.3f} against the best hand-written {one} "
            )
            sentence += where_compared
        elif written_count and written_count == refused_count:
            sentence += f": all {refused_count} written ones were refused"
        elif written_count and search.strategy == REFLECTION:
            sentence += ": no written pair did better on the questions that it learned from"
        visible_difference = (
            "no difference" if verdict.detectable is None else f"a difference of {verdict.detectable:.2f}"
        )
        sentence += f"; this budget could have shown {visible_difference}, and {TENTH:g} would take about "
        sentence += f"rop.search.budget={verdict.budget} and rop.search.pool={verdict.pool}"
    if search.stage == "correction" and search.best == NO_CORRECTION and search.strategy == REFLECTION:
        sentence += "; the best pair corrects nothing, so questions are asked uncorrected"
    elif search.stage == "correction" and search.best == NO_CORRECTION:
        sentence += f"; the winner restores nothing (score {verdict.score:+.3f}), so questions are asked uncorrected"
    return sentence


def hand_written(stage: Stage) -> list[str]:
    """Returns the seed candidates that always take part, best known first."""
    return [line for line in render(f"rop/seeds-{stage}-v1").splitlines() if line.strip()]


def default_instructions() -> Instructions:
    """Returns the first hand-written instruction of each stage: what a search with budget 0 gives."""
    return Instructions(_first_hand_written("correction"), _first_hand_written("guidance"))


def _first_hand_written(stage: Stage) -> Search:
    return Search(stage, hand_written(stage)[0], strategy="hand-written")


def to_json(found: list[Instructions], provenance: JsonObject) -> JsonObject:
    """Returns the content of instructions.json: every candidate with its scores and items, and how to make it again.

    `provenance` says how: models, settings, tuning questions (provenance.py).
    """

    def search(s: Search) -> JsonObject:
        row = asdict(s)
        row["why"] = s.why
        row["candidates"] = [
            {
                "text": candidate.text,
                "origin": candidate.origin,
                "refused": candidate.refused,
                "mean": candidate.mean,
                "scores": candidate.scores,
                **({} if candidate.partner is None else {"partner": candidate.partner}),
            }
            for candidate in s.candidates
        ]
        return row

    return {
        "format": FORMAT,
        **provenance,
        "instructions": [
            {
                "trained_on": instructions.trained_on,
                "seed": instructions.seed,
                "correction": search(instructions.correction),
                "guidance": search(instructions.guidance),
            }
            for instructions in found
        ],
    }


def read_instructions(path: str | Path) -> list[Instructions]:
    """Reads an instructions.json. A hand-made file needs only {"correction": "...", "guidance": "..."}."""
    data = _content(path)
    try:
        if "instructions" not in data:
            correction, guidance = _text(data["correction"]), _text(data["guidance"])
            return [Instructions(Search("correction", correction), Search("guidance", guidance))]
        return [
            Instructions(
                _search("correction", row["correction"]),
                _search("guidance", row["guidance"]),
                row.get("trained_on", POOLED),
                row.get("seed", 0),
            )
            for row in data["instructions"]
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{path} contains no instructions: {error!r} is missing or has the wrong type",
            'expected {"correction": "...", "guidance": "..."} or a file written by llmkit rop',
        ) from None


def read_origin(path: str | Path) -> JsonObject:
    """Reads what an instructions.json records about the origin of its instructions; nothing for a hand-made one."""
    data = _content(path)
    own_keys = ("format", "instructions", "correction", "guidance")
    return {key: value for key, value in data.items() if key not in own_keys} if isinstance(data, dict) else {}


def _content(path: str | Path) -> Any:
    try:
        return parse_json(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read instructions from {path}: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"{path} is not JSON: {error}") from None


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise TypeError("an instruction text")
    return value


def _search(stage: Stage, row: JsonObject) -> Search:
    candidates = tuple(
        Candidate(
            candidate["text"],
            candidate["origin"],
            dict(candidate["scores"]),
            candidate.get("refused"),
            candidate.get("partner"),
        )
        for candidate in row.get("candidates", ())
    )
    known_fields = {
        field_name: row[field_name]
        for field_name in ("strategy", "score", "budget", "spent", "seed", "items")
        if field_name in row
    }
    verdict = SearchVerdict(**row["verdict"]) if row.get("verdict") else None
    best_text = row["best"]
    if stage != "correction" or best_text != NO_CORRECTION or verdict is None:
        best_text = _text(best_text)
    return Search(stage, best_text, candidates, verdict=verdict, **known_fields)
