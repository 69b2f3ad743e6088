"""Any OpenAI-compatible server, or several that share the load. Bounded concurrency; retries that know when to stop."""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar
from urllib.parse import urlsplit

from llmkit.engines.base import EngineIdentity, Key
from llmkit.engines.canary import ASKED, Canary, known, namespace
from llmkit.engines.chat import ChatStyle
from llmkit.engines.server_client import Again, ServerClient
from llmkit.errors import EngineError, UsageError
from llmkit.recipe.schema import EngineSection, ModelSection
from llmkit.secrets import LOG_FILTER, remember, remember_address
from llmkit.types import Reply, Request

_DEFAULT_URL = "https://api.openai.com/v1"
_log = logging.getLogger(__name__)
_LONGEST_WAIT = 60.0  # seconds between two tries, whatever a server asks for: a limit of a day would look like a hang
_TURN = 0.05  # seconds between two looks at whether a server has a place

Work = Callable[[ServerClient], Coroutine[Any, Any, Any]]


@dataclass
class _Item:
    """A request on its way, with the number of tries that count against it."""

    key: Key
    request: Request
    tries: int = 0


@dataclass(frozen=True)
class _Running:
    """The thread in which the servers are asked, and who they say they are."""

    thread: threading.Thread
    loop: asyncio.AbstractEventLoop
    identity: EngineIdentity
    canary: Canary


class OpenAIEngine:
    """Sends requests to servers from a thread of its own, at most `max_num_seqs` at once to each.

    Knowing its identity takes a few short calls: the servers are checked and their canaries compared.
    """

    kind: ClassVar[str] = "openai"
    identity_is_local: ClassVar[bool] = False

    @classmethod
    def takes(cls, model: ModelSection, section: EngineSection) -> bool:
        """Returns whether the recipe gives the address of a server."""
        return bool(section.base_url)

    def __init__(self, model: ModelSection, engine: EngineSection) -> None:
        if model.adapter:
            raise UsageError("an adapter cannot be sent to a server", "load it there, and give its name with --model")
        self._urls = engine.base_url or (_DEFAULT_URL,)
        for url in self._urls:
            remember_address(url)
            if not _is_address(url):
                raise UsageError(
                    "a base URL must begin with http:// or https://, name a host, and have no port but a number",
                    "for example http://127.0.0.1:8000/v1",
                )
        for name in ("httpx", "httpx2"):  # which of them the client uses; it notes whole addresses, query included
            logging.getLogger(name).addFilter(LOG_FILTER)
        self._key = os.environ.get(engine.api_key_env) or "EMPTY"
        remember(self._key)
        if self._key == "EMPTY" and not engine.base_url:
            raise UsageError("no server is given and no key is set", f"give --base-url, or set {engine.api_key_env}")
        self._model = model
        self._section = engine
        self._style = ChatStyle.of(model)
        self._identity: EngineIdentity | None = None
        self._running: _Running | None = None
        self._servers: list[ServerClient] = []
        self._todo: asyncio.Queue[_Item]
        self._done: queue.SimpleQueue[tuple[Key, Reply | EngineError] | EngineError] = queue.SimpleQueue()
        self._workers: list[asyncio.Task[None]] = []
        self._pending = 0

    @property
    def identity(self) -> EngineIdentity:
        """Model id, stated revision, addresses (unless declared replicas) and canary. Asks the servers once."""
        return self._identity or self._open().identity

    @property
    def canary(self) -> Canary:
        """By what the model behind the servers is recognised. Asks them once."""
        return self._open().canary

    @property
    def capabilities(self) -> frozenset[str]:
        """`likelihood` where every server has vLLM's /tokenize and echoes log-probabilities."""
        self._open()
        return frozenset({"likelihood"}) if all(s.tokenizes for s in self._servers if not s.dead) else frozenset()

    def submit(self, key: Key, request: Request) -> None:
        loop = self._open().loop
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

    async def _stop(self) -> None:
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        for server in self._servers:
            await server.close()

    def _open(self) -> _Running:
        """Starts the thread, checks the servers, compares their canaries, and lets the workers begin."""
        if self._running is not None:
            return self._running
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="llmkit-openai", daemon=True)
        thread.start()
        starting = asyncio.run_coroutine_threadsafe(self._start(), loop)
        try:
            identity, canary = starting.result()
        except BaseException:  # Ctrl-C too: no thread is left behind
            starting.cancel()
            self._end(thread, loop)
            raise
        self._identity = identity  # known for good, also once the engine is closed
        self._running = _Running(thread, loop, identity, canary)
        return self._running

    async def _start(self) -> tuple[EngineIdentity, Canary]:
        section = self._section
        self._todo = asyncio.Queue()
        given = (self._key, self._model.path, self._style, section.timeout_s, section.max_num_seqs)
        servers = [ServerClient(url, *given) for url in self._urls]
        self._servers = servers
        faults = await self._each(servers, ServerClient.start)
        canary = None
        if well := [s for s in servers if not s.dead]:
            first = well[0]
            where = "replicas" if section.replicas else " ".join(sorted({s.address for s in servers}))
            named: dict[str, Any] = {"model": first.model, "revision": self._model.revision or "", "address": where}
            named |= dict(zip(("chat_template", "system_prompt"), self._style.digests, strict=True))
            more, canary = await self._recognise(well, known(named))
            faults |= more
        if canary is None:  # no server is left
            raise next(iter(faults.values()))
        for fault in faults.values():
            _log.warning("%s; going on without it", fault.message)
        if not canary.tells:
            _log.warning(
                "%s answers the same short prompts differently from time to time, so that another model in its place "
                "would not be noticed: state which one it is with --revision",
                first.address,
            )
        reported = () if canary.tells else (("model", canary.model), ("system_fingerprint", canary.fingerprint))
        identity = EngineIdentity(
            kind=self.kind,
            version="1",
            model=first.model,
            revision=self._model.revision or "not stated",
            chat_template=self._style.digests[0],
            system_prompt=self._style.digests[1],
            settings=(("address", where), ("canary", namespace(named, canary)), *reported),
        )
        well = [s for s in servers if not s.dead]
        self._workers = [asyncio.create_task(self._work(s)) for s in well for _ in range(section.max_num_seqs)]
        return identity, canary

    async def _each(self, servers: list[ServerClient], work: Work) -> dict[ServerClient, EngineError]:
        """Does the same with all servers at once. One that fails is dead, and comes back with its error."""
        starts = (_patiently(s, work, self._section.retries) for s in servers)
        results = await asyncio.gather(*starts, return_exceptions=True)
        faults: dict[ServerClient, EngineError] = {}
        for server, result in zip(servers, results, strict=True):
            if isinstance(result, EngineError):
                server.dead = True
                faults[server] = result
            elif isinstance(result, BaseException):
                raise result
        return faults

    async def _recognise(
        self, servers: list[ServerClient], before: list[Canary]
    ) -> tuple[dict[ServerClient, EngineError], Canary | None]:
        """Looks at every server's canary: once where that recognises a model seen before, else as often as it takes to
        leave out what a model answers differently each time. Servers must agree with each other."""
        faults: dict[ServerClient, EngineError] = {}
        seen: dict[ServerClient, Canary] = {}
        for times in (1, ASKED):
            if times == 1 and not any(c.tells for c in before):
                continue
            faults |= await self._each([s for s in servers if not s.dead], partial(ServerClient.canary, times=times))
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

    async def _work(self, server: ServerClient) -> None:
        """Takes requests from the common queue and brings each to an end, until the server is dead."""
        while not server.dead:
            item = await self._todo.get()
            if server.dead:
                self._todo.put_nowait(item)
                break
            try:
                self._done.put((item.key, await self._answer(server, item)))
            except _Moved:
                self._todo.put_nowait(item)
            except Exception as error:  # a fault of ours must not leave a question without its end
                self._done.put((item.key, EngineError(f"{type(error).__name__}: {error}")))
        if all(s.dead for s in self._servers):
            self._done.put(EngineError(f"no server answers any more at {server.address}", "start it again"))

    async def _answer(self, server: ServerClient, item: _Item) -> Reply | EngineError:
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


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:  # a port that is no number, an IPv6 address without its end
        return False


class _Moved(Exception):
    """The server died; the request goes back to the queue for another one."""


async def _patiently(server: ServerClient, work: Work, retries: int) -> Any:
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
