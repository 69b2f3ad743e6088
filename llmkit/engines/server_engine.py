"""The base of engines that ask elsewhere: bounded concurrency, and retries that know when to stop."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Protocol, TypeVar

from llmkit.engines.base import EngineIdentity, Key, Served
from llmkit.engines.canary import ASKED, Canary
from llmkit.engines.client import Again, Client
from llmkit.engines.pace import Pace
from llmkit.errors import EngineError
from llmkit.recipe.schema import EngineSection
from llmkit.types import Reply, Request

_log = logging.getLogger(__name__)
_LONGEST_WAIT = 60.0  # seconds between two tries, whatever a server asks for: a limit of a day would look like a hang
_TURN = 0.05  # seconds between two looks at whether a server has a place

C = TypeVar("C", bound=Client)
Work = Callable[[C], Coroutine[Any, Any, Any]]
"""Calls of a client that a start needs."""


@dataclass
class _Item:
    """A request on its way, with the number of tries that count against it."""

    key: Key
    request: Request
    tries: int = 0


@dataclass(frozen=True)
class Running:
    """The thread in which the servers are asked, and who they say they are."""

    thread: threading.Thread
    loop: asyncio.AbstractEventLoop
    identity: EngineIdentity
    canary: Canary | None


class Watcher(Protocol):
    """Has servers join and leave while an engine runs; it says when nobody is left."""

    async def run(self) -> None: ...


class ServerEngine(ABC):
    """Sends requests to its clients from a thread of its own, at most `max_num_seqs` at once to each.

    A subclass makes the clients in `start`; requests are taken once it is through.
    """

    kind: ClassVar[str]

    def __init__(self, section: EngineSection) -> None:
        self.pace = Pace(section.rps)
        self._section = section
        self._identity: EngineIdentity | None = None
        self._running: Running | None = None
        self.clients: Sequence[Client] = ()
        self._todo: asyncio.Queue[_Item] = asyncio.Queue()
        self._done: queue.SimpleQueue[tuple[Key, Reply | EngineError] | EngineError] = queue.SimpleQueue()
        self._workers: list[asyncio.Task[None]] = []
        self._pending = 0
        self.watch: Watcher | None = None

    @abstractmethod
    async def start(self) -> tuple[EngineIdentity, Canary | None]:
        """Makes `clients`, on their event loop, and returns who answers. Raises EngineError where nobody does."""

    @property
    def identity(self) -> EngineIdentity:
        """All that can change an answer. Asks the servers once, where it has to."""
        return self._identity or self.open().identity

    @property
    def canary(self) -> Canary | None:
        """By what the model behind the servers is recognised. Asks them once."""
        return self.open().canary

    def submit(self, key: Key, request: Request) -> None:
        loop = self.open().loop
        self._pending += 1
        loop.call_soon_threadsafe(self._todo.put_nowait, _Item(key, request))

    def drain(self) -> Iterator[tuple[Key, Reply | EngineError]]:
        while self._pending:
            done = self._done.get()
            if isinstance(done, EngineError):  # of no request: the last server is dead
                raise done
            self._pending -= 1
            yield done

    def close(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            self._pending = 0
            self._end(running.thread, running.loop)

    def _end(self, thread: threading.Thread, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), loop).result(timeout=30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=30)
        loop.close()

    @property
    def served(self) -> dict[str, Served]:
        """The requests that each address has answered so far, and the seconds that it was at work."""
        served: dict[str, Served] = {}
        for client in self.clients:
            before = served.get(client.address, Served(0, 0.0))
            seconds = (client.ended or time.monotonic()) - client.began
            served[client.address] = Served(before.requests + client.successes, before.seconds + seconds)
        return served

    async def _stop(self) -> None:
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        for server in self.clients:
            await server.close()

    def open(self) -> Running:
        """Starts the thread, checks the servers, and lets the workers begin, once."""
        if self._running is not None:
            return self._running
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name=f"llmkit-{self.kind}", daemon=True)
        thread.start()
        starting = asyncio.run_coroutine_threadsafe(self._begin(), loop)
        try:
            identity, canary = starting.result()
        except BaseException:  # Ctrl-C too: no thread is left behind
            starting.cancel()
            self._end(thread, loop)
            raise
        self._identity = identity  # known for good, also once the engine is closed
        self._running = Running(thread, loop, identity, canary)
        return self._running

    async def _begin(self) -> tuple[EngineIdentity, Canary | None]:
        started = await self.start()
        self._todo = asyncio.Queue()
        for client in self.clients:
            self._employ(client)
        if self.watch is not None:
            self._workers.append(asyncio.create_task(self.watch.run()))
        return started

    def join(self, client: Client) -> None:
        """Takes in a server that is known to have the right model."""
        self.clients = [*self.clients, client]
        self._employ(client)

    def end(self, fault: EngineError) -> None:
        """Ends what is pending: nobody is left to answer."""
        self._done.put(fault)

    def _employ(self, client: Client) -> None:
        if client.works:
            client.began = time.monotonic()
            places = range(self._section.max_num_seqs)
            self._workers += [asyncio.create_task(self._work(client)) for _ in places]

    async def each(self, servers: Sequence[C], work: Work[C]) -> dict[C, EngineError]:
        """Does the same with all servers at once. One that fails is dead, and comes back with its error."""
        starts = (_patiently(s, work, self._section.retries) for s in servers)
        results = await asyncio.gather(*starts, return_exceptions=True)
        faults: dict[C, EngineError] = {}
        for server, result in zip(servers, results, strict=True):
            if isinstance(result, EngineError):
                server.dead = True
                faults[server] = result
            elif isinstance(result, BaseException):
                raise result
        return faults

    async def recognise(self, servers: Sequence[C], before: list[Canary]) -> tuple[dict[C, EngineError], Canary | None]:
        """Looks at every server's canary: once where that recognises a model seen before, else as often as it takes to
        leave out what a model answers differently each time. Servers must agree with each other."""
        faults: dict[C, EngineError] = {}
        seen: dict[C, Canary] = {}
        for times in (1, ASKED):
            if times == 1 and not any(c.tells for c in before):
                continue
            faults |= await self.each([s for s in servers if not s.dead], partial(_canary, times=times))
            seen = {s: await s.canary(times) for s in servers if not s.dead}
            if not seen or all(any(c.agrees(canary) for c in before) for canary in seen.values()):
                break
        if not seen:
            return faults, None
        first = next(iter(seen))
        for server, canary in seen.items():
            if server.model != first.model or not seen[first].agrees(canary):
                raise EngineError(
                    f"{first.address} and {server.address} answer the same prompts differently: not the same model",
                    "give only one of them, or load the same weights in both",
                )
        return faults, seen[first]

    async def _work(self, server: Client) -> None:
        """Takes requests from the common queue and brings each to an end, until the server is dead or leaves."""
        while server.works:
            item = await self._todo.get()
            if not server.works:
                self._todo.put_nowait(item)
                break
            try:
                self._done.put((item.key, await self._answer(server, item)))
            except _Moved:
                self._todo.put_nowait(item)
            except Exception as error:  # a fault of ours must not leave a question without its end
                self._done.put((item.key, EngineError(f"{type(error).__name__}: {error}")))
        server.ended = time.monotonic()
        if self.watch is None and all(s.dead for s in self.clients):
            self.end(gone(server))

    async def _answer(self, server: Client, item: _Item) -> Reply | EngineError:
        """Returns the reply, or the error that ends this request. Raises _Moved if the server died under it."""
        while True:
            await asyncio.sleep(max(0.0, server.paused_until - time.monotonic()))
            while server.taken >= server.places:
                await asyncio.sleep(_TURN)
            before, places = server.successes, server.places
            server.taken += 1
            try:
                reply = await server.answer(item.request)
            except EngineError as error:
                return error
            except Again as failure:
                if server.dead or (failure.connection and not await server.alive()):
                    server.dead = True
                    raise _Moved from failure
                # A server that answers others in the meantime is not broken: throttled, it asks for patience; late, it
                # has more at once than it can do in the time, so it gets half as much.
                crowded = failure.late and places > 1
                if crowded:
                    server.places = min(server.places, places // 2)
                if not (server.successes > before and (failure.throttled or crowded)):
                    item.tries += 1
                if item.tries > self._section.retries:
                    tries = f"after {item.tries} tries" if item.tries > 1 else "at the only try"
                    return EngineError(
                        f"{server.address}: {failure}, {tries}", "raise engine.retries or engine.timeout_s"
                    )
                wait = min(_LONGEST_WAIT, 0.125 * 2**item.tries if failure.wait is None else failure.wait)
                if failure.throttled:
                    server.paused_until = max(server.paused_until, time.monotonic() + wait)
                else:
                    await asyncio.sleep(wait)
            else:
                server.successes += 1
                return reply
            finally:
                server.taken -= 1


async def _canary(server: Client, times: int) -> Canary:
    return await server.canary(times)


def gone(server: Client) -> EngineError:
    """Returns what to say where the last server is dead."""
    if server.fault is not None:
        return server.fault
    if server.read:
        return EngineError(f"no server answers any more at {server.address}", "start it again")
    return EngineError(f"no server answers at {server.address}", "is it running, and is the address right?")


class _Moved(Exception):
    """The server died; the request goes back to the queue for another one."""


async def _patiently(server: C, work: Work[C], retries: int) -> Any:
    """Does something with a server that takes several calls, and forgives what may pass: `retries` times each call."""
    tries = read = 0
    while True:
        try:
            return await work(server)
        except Again as failure:
            tries, read = (tries if read == server.read else 0) + 1, server.read
            if tries > retries:
                raise EngineError(
                    f"a server fails its first calls: {failure}", "is it up, and not overloaded?"
                ) from failure
            await asyncio.sleep(min(_LONGEST_WAIT, 0.125 * 2**tries if failure.wait is None else failure.wait))
