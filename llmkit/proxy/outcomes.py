"""What becomes of each text of a user: repaired once, within limits, and the same whenever it comes again."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from llmkit.errors import EngineError
from llmkit.proxy.worker import Asked, Lost, Worker
from llmkit.repair import Repaired
from llmkit.repair.repair import Action
from llmkit.types import Edit, Reply, Request

_MOST_TEXTS = 65_536
_MOST_CHARACTERS = 32_000_000
"""What is remembered: some 200 MB at the very most."""

AskModel = Callable[[Request], Awaitable[Reply]]
"""Asks the model that corrects. Raises EngineError."""


class KeyRefused(EngineError):
    """The client may not ask the model that corrects."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What becomes of one text: `text` is None where it stays as it came. The other values are those of `Repaired`."""

    text: str | None
    action: Action
    detector: str = ""
    rarity: float = 0.0
    edits: tuple[Edit, ...] = ()
    reason: str = ""

    @property
    def fired(self) -> bool:
        return self.action in ("repaired", "unchanged")


@dataclass
class Budget:
    """The limits of one request: its repair ends at `deadline` (seconds of the monotonic clock), and the models that
    correct may write `tokens` more."""

    deadline: float
    tokens: int
    is_refused: bool = False
    """The client's key is none for the model that corrects."""

    @classmethod
    def of(cls, milliseconds: float, tokens: int) -> Budget:
        """Returns the limits of a request that begins now."""
        return cls(time.monotonic() + milliseconds / 1000, tokens)

    async def ask(self, request: Request, ask_model: AskModel) -> Reply | EngineError:
        """Asks a model, unless the tokens that it might write are more than there are left."""
        most = request.sampling.max_tokens
        if most > self.tokens:
            return EngineError("tokens")
        self.tokens -= most
        try:
            reply = await ask_model(request)
        except EngineError as error:
            self.is_refused = self.is_refused or isinstance(error, KeyRefused)
            return error
        self.tokens += max(0, most - (reply.usage.completion or most))
        return reply


class Memory:
    """Outcomes by their texts: the latest so many, and so many characters of repaired texts."""

    def __init__(self, texts: int = _MOST_TEXTS, characters: int = _MOST_CHARACTERS) -> None:
        self._most_texts, self._most_characters = texts, characters
        self._outcomes: OrderedDict[bytes, Outcome] = OrderedDict()
        self._characters = 0

    def __len__(self) -> int:
        return len(self._outcomes)

    def get(self, key: bytes) -> Outcome | None:
        """Returns what became of a text, which is now the latest."""
        outcome = self._outcomes.get(key)
        if outcome is not None:
            self._outcomes.move_to_end(key)
        return outcome

    def put(self, key: bytes, outcome: Outcome) -> None:
        """Notes what became of a text, and forgets the oldest ones."""
        self._outcomes[key] = outcome
        self._characters += len(outcome.text or "")
        while len(self._outcomes) > self._most_texts or self._characters > self._most_characters:
            self._characters -= len(self._outcomes.popitem(last=False)[1].text or "")


class Outcomes:
    """Repairs texts by a pool of workers. What was sent for a text once is sent whenever it comes again.

    A client that resends its history so meets the prefix cache of the server, and a history that the model answered.
    That is why a failure is remembered, too, unless the client had no right to ask: nobody must be able to spoil a text
    for others. Everybody who needs the same text at the same time waits for one repair.
    """

    def __init__(self, workers: Sequence[Worker], memory: Memory | None = None) -> None:
        self._workers = workers
        self._memory = Memory() if memory is None else memory
        self._pending: dict[bytes, asyncio.Task[Outcome]] = {}

    async def of(self, texts: Sequence[str], budget: Budget, ask_model: AskModel, model: str = "") -> list[Outcome]:
        """Returns the outcome of each text. Never raises: what fails passes as it came, with the reason.

        `model` is the name of the one that `ask_model` asks: another one may correct a text in another way.
        """
        outcomes = []
        for text in texts:
            # One after another: a request with a long new history must not keep others waiting for their one text.
            outcomes.append(await self._of_one(text, budget, ask_model, model))
        return outcomes

    async def _of_one(self, text: str, budget: Budget, ask_model: AskModel, model: str) -> Outcome:
        named = f"{len(model)}:{model}{text}"  # the length, or one pair could pass for another
        key = blake2b(named.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        if (known := self._memory.get(key)) is not None:
            return known
        task = self._pending.get(key)
        if task is None and time.monotonic() >= budget.deadline:
            outcome = Outcome(None, "failed", reason="time")
            self._memory.put(key, outcome)
            return outcome
        if task is None:
            task = self._pending[key] = asyncio.create_task(self._worked(key, text, budget, ask_model))
        return await asyncio.shield(task)  # others wait for it, too

    async def _worked(self, key: bytes, text: str, budget: Budget, ask_model: AskModel) -> Outcome:
        try:
            async with asyncio.timeout(budget.deadline - time.monotonic()):
                repaired = await self._repaired(text, budget, ask_model)
            outcome = Outcome(
                repaired.text if repaired.action == "repaired" else None,
                repaired.action,
                repaired.detector,
                repaired.rarity,
                repaired.edits,
                _reason(repaired.reason),
            )
        except TimeoutError:
            outcome = Outcome(None, "failed", reason="time")
        except Lost as error:
            outcome = Outcome(None, "failed", reason=f"corrector {error}")
        except Exception as error:  # whatever goes wrong here, the text of a user goes through
            outcome = Outcome(None, "failed", reason=type(error).__name__)
        finally:
            del self._pending[key]
        if not budget.is_refused:
            self._memory.put(key, outcome)
        return outcome

    async def _repaired(self, text: str, budget: Budget, ask_model: AskModel) -> Repaired:
        worker = min(self._workers, key=lambda one: one.waiting)
        step = await worker.begin(text)
        while isinstance(step, Asked):
            replies = await asyncio.gather(*(budget.ask(request, ask_model) for request in step.requests))
            step = await worker.resume(step, replies)
        return step


def _reason(message: str | None) -> str:
    """Returns a word for the reason of a failure, because a metric has few of them."""
    return "" if message is None else "tokens" if message == "tokens" else "model"
