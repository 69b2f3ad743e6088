"""Servers that join, leave and come back while an engine runs."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from llmkit.engines.canary import Canary
from llmkit.engines.server_client import ServerClient
from llmkit.engines.server_list import ServerList
from llmkit.errors import DataError, EngineError, LlmkitError

if TYPE_CHECKING:
    from llmkit.engines.server_engine import ServerEngine

_log = logging.getLogger(__name__)

EVERY = 2.0
"""Seconds between two looks at the file."""
PATIENCE = 600.0
"""Seconds without one server after which a run gives up: a machine that was taken away needs minutes to come back."""


class Watch:
    """Reads the file of servers again and again. What is new in it joins, once it is known to have the same model; what
    is no longer in it gets no more requests; what died and answers again joins again."""

    def __init__(
        self,
        engine: ServerEngine,
        addresses: ServerList,
        known: Mapping[str, ServerClient],
        client: Callable[[str], ServerClient],
        canary: Canary,
    ) -> None:
        self.engine, self.addresses, self.client, self.canary = engine, addresses, client, canary
        self.model = next(client.model for client in known.values() if client.works)
        self.scores = all(client.tokenizes for client in known.values() if client.works)
        self._known = dict(known)
        self._refused: set[str] = set()
        self._unready: set[str] = set()
        self._urls = list(known)
        self._said = ""

    async def run(self) -> None:
        """Looks until the engine ends. Ends the engine's work where no server was there for `PATIENCE` seconds."""
        seen = time.monotonic()
        while True:
            await asyncio.sleep(EVERY)
            await self.look()
            if any(client.works for client in self.engine.clients):
                seen = time.monotonic()
            elif time.monotonic() - seen > PATIENCE:
                self.engine.end(
                    EngineError(
                        f"no server of {self.addresses.path} answered for {PATIENCE:.0f} seconds",
                        "start one, and the same command goes on from what is saved",
                    )
                )
                return

    async def look(self) -> None:
        """Compares the file with the servers at work, and has them join and leave."""
        try:
            urls = self.addresses.read()
        except DataError as error:  # a file that is being written; the servers that work go on
            self._say(error.message)
            return
        self._said = ""
        if urls != self._urls:
            self._urls = urls
            self._refused.clear()
            self._unready.clear()
        for url, client in self._known.items():
            if url not in urls and client.works:
                client.leaving = True
                _log.warning("%s leaves: it is no longer in %s", client.address, self.addresses.path)
        waiting = [url for url in urls if url not in self._refused and not self._works(url)]
        await asyncio.gather(*map(self._try, waiting))

    def _works(self, url: str) -> bool:
        return url in self._known and self._known[url].works

    async def _try(self, url: str) -> None:
        """Has a server join, unless it does not answer yet, has another model, or can do less than the others."""
        client = self.client(url)
        try:
            faults = await self.engine.each([client], ServerClient.start)
            canary = None if faults else (await self.engine.recognise([client], [self.canary]))[1]
        except LlmkitError as error:  # a key that is refused, a model that is not there
            self._refuse(url, error.message)
            canary, faults = None, {}
        if canary is None:
            await client.close()
            return
        if self.scores and not client.tokenizes:
            # Not refused for good: the address that would tell may have been late, as the rest of a start may be.
            self._wait_for(url, f"{client.address} has no /tokenize, by which the servers at work score given texts")
            await client.close()
            return
        if client.model != self.model or not self.canary.agrees(canary):
            self._refuse(url, f"{client.address} answers differently from the servers at work: not the same model")
            await client.close()
            return
        self._known[url] = client
        self.engine.join(client)
        _log.warning("%s joins", client.address)

    def _refuse(self, url: str, reason: str) -> None:
        self._refused.add(url)
        _log.warning("%s; going on without it", reason)

    def _wait_for(self, url: str, reason: str) -> None:
        if url not in self._unready:
            self._unready.add(url)
            _log.warning("%s; it joins once it has", reason)

    def _say(self, message: str) -> None:
        if message != self._said:
            self._said = message
            _log.warning("%s; going on with the servers at work", message)
