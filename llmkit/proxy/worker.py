"""A process that repairs texts, so that neither its work nor its death touches the connections of the proxy.

Detectors and correctors are plain Python that takes milliseconds for a text: on the event loop they would delay every
stream. The process walks through the steps of many repairs. Those that ask a model come back with their requests, are
asked by the proxy, and go on when they are sent the replies.
"""

from __future__ import annotations

import asyncio
import atexit
import multiprocessing
import signal
import time
from collections import OrderedDict
from contextlib import suppress
from itertools import count
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from llmkit.errors import EngineError
from llmkit.repair import Repair, Repaired, RepairFile
from llmkit.steps import Walk, drive
from llmkit.types import Reply, Request

START_SECONDS = 120.0  # dictionaries take two; a machine that is busy with a model's start takes many more
HANG_SECONDS = 10.0  # a step takes milliseconds: who takes longer never ends
_PAUSE = 1.0  # between the deaths of a process that does not live to be ready
_MOST_OPEN = 1024  # repairs that wait for a model; of more the oldest is dropped

_SAMPLE = "Cud you tell me wher my oder is, and whta it \u0441osts?"
"""A text that has every table read, with a letter in disguise."""


class Lost(Exception):
    """The process died, hangs or raised what no corrector should raise."""


class Asked(NamedTuple):
    """Requests of a repair that goes on when it is sent their replies."""

    number: int
    requests: list[Request]


class Worker:
    """One such process, started again whenever it dies. Each step waits for those before it."""

    def __init__(self, document: RepairFile) -> None:
        self._document = document
        self._numbers = count()
        self._turn = asyncio.Lock()
        self._ready, self._closed = False, False
        self.waiting = 0
        """Steps that are under way or wait for their turn."""
        self.restarts = 0
        atexit.register(self.close)  # multiprocessing would wait for a process that heeds no SIGTERM
        self._begin()

    async def start(self) -> None:
        """Returns when its dictionaries are loaded. Raises Lost if it dies before."""
        self._turn = asyncio.Lock()  # of the event loop that runs now
        async with self._turn:
            await self._await_ready()

    async def begin(self, text: str) -> Repaired | Asked:
        """Repairs one text, up to its end or to what it asks a model. Raises Lost."""
        return await self._step(next(self._numbers), text)

    async def resume(self, asked: Asked, replies: list[Reply | EngineError]) -> Repaired | Asked:
        """Goes on with a repair that asked. Raises Lost, also where its process was started anew since."""
        return await self._step(asked.number, replies)

    @property
    def pid(self) -> int | None:
        return self._process.pid

    def close(self) -> None:
        """Ends the process."""
        self._closed = True
        atexit.unregister(self.close)
        if self._process.is_alive():
            self._process.kill()

    async def _step(self, number: int, given: str | list[Reply | EngineError]) -> Repaired | Asked:
        self.waiting += 1
        try:
            await self._turn.acquire()
            # Whoever stops waiting leaves the answer to be read: the next step must not take it for its own.
            exchange = asyncio.create_task(self._exchange(number, given))
            exchange.add_done_callback(self._done)
            return await asyncio.shield(exchange)
        finally:
            self.waiting -= 1

    def _done(self, exchange: asyncio.Task[Repaired | Asked]) -> None:
        self._turn.release()
        if not exchange.cancelled():
            exchange.exception()  # nobody may wait for it any more

    def _begin(self) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would share the proxy's sockets
        self._pipe, inner = context.Pipe()
        self._process = context.Process(target=_run, args=(inner, self._document), daemon=True, name="llmkit-repair")
        self._process.start()
        inner.close()
        self._ready, self._born = False, time.monotonic()

    async def _await_ready(self) -> None:
        if not self._ready:
            await self._receive(START_SECONDS)
            self._ready = True

    async def _exchange(self, number: int, given: str | list[Reply | EngineError]) -> Repaired | Asked:
        await self._await_ready()
        try:
            self._pipe.send((number, given))  # the process waits for it, and reads it as fast as it is written
        except OSError:
            await self._again()
            raise Lost("died") from None
        answer = await self._receive(HANG_SECONDS)
        if isinstance(answer, Lost):
            raise answer
        return Asked(number, answer) if isinstance(answer, list) else answer

    async def _receive(self, seconds: float) -> Any:
        loop, pipe, begun = asyncio.get_running_loop(), self._pipe.fileno(), asyncio.Event()
        loop.add_reader(pipe, begun.set)
        try:
            async with asyncio.timeout(seconds):
                await begun.wait()
            return self._pipe.recv()
        except TimeoutError:
            reason = "hangs"
        except (EOFError, OSError):
            reason = "died"
        finally:
            loop.remove_reader(pipe)
        await self._again()
        raise Lost(reason)

    async def _again(self) -> None:
        """Starts another process, but does not wait for it."""
        self._process.kill()
        if self._closed:
            return
        if not self._ready:
            await asyncio.sleep(max(0.0, self._born + _PAUSE - time.monotonic()))
        self.restarts += 1
        await asyncio.to_thread(self._begin)


def _run(pipe: Connection, document: RepairFile) -> None:
    """Answers steps until the other end of the pipe is closed."""
    for wish in (signal.SIGINT, signal.SIGTERM):  # the proxy drains, and ends this process when it has
        signal.signal(wish, signal.SIG_IGN)
    repair = Repair(document)
    drive(repair.attempt(_SAMPLE), lambda request: EngineError("not now"))
    for link in repair.chain.links:
        if not link.asks:
            drive(link.correct(_SAMPLE), lambda request: EngineError("not now"))
    walks: OrderedDict[int, Walk] = OrderedDict()
    with suppress(EOFError, OSError):
        pipe.send("ready")
        while True:
            number, given = pipe.recv()
            pipe.send(_answer(repair, walks, number, given))


def _answer(
    repair: Repair, walks: OrderedDict[int, Walk], number: int, given: str | list[Reply | EngineError]
) -> list[Request] | Repaired | Lost:
    if isinstance(given, str):
        walk, replies = Walk(repair.attempt(given)), []
    elif number in walks:
        walk, replies = walks.pop(number), given
    else:
        return Lost("died")
    try:
        requests = walk.resume(replies)
    except Exception as error:  # a corrector of another package, or a fault of ours: the text passes as it came
        return Lost(type(error).__name__)
    if requests is None:
        repaired: Repaired = walk.result
        return repaired
    walks[number] = walk
    while len(walks) > _MOST_OPEN:
        walks.popitem(last=False)
    return requests
