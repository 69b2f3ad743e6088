"""A repair at work: detect, correct where the gate fires, and say what was done."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from llmkit.errors import EngineError, UsageError
from llmkit.perturb.text import undo
from llmkit.repair.base import Corrected, CorrectorContext, chain_of
from llmkit.repair.detectors import DETECTORS
from llmkit.repair.document import RepairFile, read
from llmkit.repair.gate import Doubt, Gate, Scale
from llmkit.repair.where import Part, Where
from llmkit.steps import Walk, drive
from llmkit.types import Edit, Reply, Request, Steps

Action = Literal["passed", "repaired", "unchanged", "failed"]

Complete = Callable[..., str]
"""Asks a model: called with the messages, a list of {"role", "content"}, and with `max_tokens` and `temperature` by
name. Returns the reply's text. A coroutine function for `Repair.acall`."""

Score = Callable[[list[dict[str, Any]], str], Sequence[float]]
"""Scores a text: called with messages and the text that follows them. Returns the log-probability of each token of the
text, in nats."""

MOST_WORDS = 200
"""Words of a turn above which it passes where no `where` names the user's part: it is a template, or a document."""


MOST_CHARACTERS = 10_000
"""Characters above which it passes, too: 200 words have some 1,200, and one endless word takes long to read."""


def is_looked_at(turn: str) -> bool:
    """Returns whether a repair without `where` looks at a turn; a longer one passes."""
    return len(turn) <= MOST_CHARACTERS and len(turn.split(None, MOST_WORDS)) <= MOST_WORDS


@dataclass(frozen=True, slots=True)
class Repaired:
    """The result for one text.

    `action` is "passed" where the gate did not fire or no part of the text is the user's, "unchanged" where it fired
    and the chain found nothing to change, "failed" where a model did not answer, for the `reason` given, else
    "repaired". Only a repaired text differs from the one that came in. `detector` is the one that made the gate fire,
    `rarity` that of the text among clean ones, in powers of ten, and `fallback` the reason why a reply was not used.
    """

    text: str
    edits: tuple[Edit, ...] = ()
    action: Action = "passed"
    detector: str = ""
    rarity: float = 0.0
    seconds: float = 0.0
    fallback: str | None = None
    reason: str | None = None

    @property
    def original(self) -> str:
        """The text that came in."""
        return undo(self.text, self.edits)


class Repair:
    """A chain of correctors behind a gate, as a repair.json says. One object serves any number of threads.

    Loads in a fraction of a second; dictionaries are read at first use.

    >>> repair = Repair(RepairFile(chain="fold"))
    >>> repair("Each of the w\\u043erds, how many?").text
    'Each of the words, how many?'
    """

    def __init__(self, document: RepairFile, score: Score | None = None) -> None:
        self.document = document
        self.score = score
        context = CorrectorContext(
            document.instruction, document.shots, document.max_tokens, document.votes, lang=document.lang
        )
        self.chain = chain_of(document.chain, context)
        gate = document.gate
        self.gate = gate and Gate(tuple(Scale(s.detector, s.knots) for s in gate.scales), gate.threshold)
        self.where = None if document.where is None else Where(document.where)

    @classmethod
    def load(cls, path: str | Path, score: Score | None = None) -> Repair:
        """Loads a repair.json. DataError for a file that is none, UsageError where a detector or a corrector
        needs `score` and there is none."""
        repair = cls(read(path), score)
        asking = [*repair.asking_detectors, *(link.name for link in repair.chain.links if link.scores)]
        if score is None and asking:
            raise UsageError(
                f"{path}: `{asking[0]}` needs log-probabilities of a model",
                "give `score`, a function of messages and a text, or calibrate without it",
            )
        return repair

    @property
    def asking_detectors(self) -> list[str]:
        """The detectors that ask a model."""
        scales = self.gate.scales if self.gate else ()
        return [scale.detector for scale in scales if DETECTORS[scale.detector].asks]

    @property
    def asks_model(self) -> bool:
        """True where a corrector or a detector asks a model."""
        return self.chain.asks_model or bool(self.asking_detectors)

    def part(self, turn: str) -> Part | None:
        """Returns the user's part of a turn, None where there is none."""
        if self.where:
            return self.where.find(turn)
        return Part(0, len(turn)) if is_looked_at(turn) else None

    def steps(self, text: str, options: Sequence[str] = ()) -> Steps:
        """Repairs one text. Yields the requests of detectors and correctors; returns a `Repaired`.

        Outside the user's part not a byte changes. The EngineError of a request passes through.
        """
        started = time.perf_counter()
        part = self.part(text)
        if part is None:
            return Repaired(text, seconds=time.perf_counter() - started)
        own = text[part.start : part.end]
        doubt = Doubt(0.0, "")
        if self.gate:
            doubt = yield from self.gate.doubt(own)
            if not self.gate.fires(doubt):
                return Repaired(text, rarity=doubt.rarity, seconds=time.perf_counter() - started)
        corrected: Corrected = yield from self.chain.correct(own, options)
        edits = tuple(Edit(e.start + part.start, e.end + part.start, e.old, e.new) for e in corrected.edits)
        return Repaired(
            text[: part.start] + corrected.text + text[part.end :],
            edits,
            "repaired" if edits else "unchanged",
            doubt.detector,
            doubt.rarity,
            time.perf_counter() - started,
            corrected.fallback,
        )

    def attempt(self, text: str, options: Sequence[str] = ()) -> Steps:
        """Does as `steps`, but lets the text pass as it came, with the action "failed", where a request fails."""
        started = time.perf_counter()
        try:
            return (yield from self.steps(text, options))
        except EngineError as error:
            return Repaired(text, action="failed", seconds=time.perf_counter() - started, reason=error.message)

    def __call__(self, text: str, complete: Complete | None = None) -> Repaired:
        """Repairs one text; `complete` asks the model of a chain that has one. What it raises makes the repair fail,
        and the text passes as it came. UsageError where the chain needs it and there is none."""
        self._demand(complete)

        def answer(request: Request) -> Reply | EngineError:
            try:
                return self._scored(request) or Reply(_text(complete and complete(**_call(request))))
            except Exception as error:  # whatever the user's own code raises
                return _failed(error)

        repaired: Repaired = drive(self.attempt(text), answer)
        return repaired

    async def acall(self, text: str, complete: Callable[..., Awaitable[str] | str] | None = None) -> Repaired:
        """Does as a call, with a `complete` that may be a coroutine function; independent requests run at once."""
        self._demand(complete)

        async def answer(request: Request) -> Reply | EngineError:
            try:
                if scored := self._scored(request):
                    return scored
                said = complete and complete(**_call(request))
                return Reply(_text(await said if inspect.isawaitable(said) else said))
            except Exception as error:  # whatever the user's own code raises
                return _failed(error)

        started = time.perf_counter()
        walk = Walk(self.attempt(text))
        requests = walk.resume()
        while requests is not None:
            requests = walk.resume(await asyncio.gather(*map(answer, requests)))
        repaired: Repaired = walk.result
        return replace(repaired, seconds=time.perf_counter() - started)

    def _demand(self, complete: object) -> None:
        if complete is None and any(link.asks and not link.scores for link in self.chain.links):
            raise UsageError(
                f"the chain `{self.document.chain}` asks a model", "give `complete`, a function that asks it"
            )

    def _scored(self, request: Request) -> Reply | None:
        """Returns the log-probabilities that a request asks for, None where it asks for a text."""
        if request.continuation is None:
            return None
        if self.score is None:
            raise EngineError("log-probabilities are needed, and there is no `score`")
        messages = [message.as_dict() for message in request.messages]
        return Reply("", logprobs=tuple(self.score(messages, request.continuation)))


def _call(request: Request) -> dict[str, Any]:
    sampling = request.sampling
    return {
        "messages": [message.as_dict() for message in request.messages],
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
    }


def _text(reply: object) -> str:
    if not isinstance(reply, str):
        raise TypeError(f"`complete` returned {type(reply).__name__}, not text")
    return reply


def _failed(error: Exception) -> EngineError:
    return error if isinstance(error, EngineError) else EngineError(f"{type(error).__name__}: {error}")
