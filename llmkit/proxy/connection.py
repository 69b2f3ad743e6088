"""One request of a client, as the server hands it over (ASGI): its body with limits of time, and its answer."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, MutableMapping
from typing import Any

from llmkit.proxy.headers import Headers

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_FIRST = asyncio.FIRST_COMPLETED

SLOW_SECONDS = 60.0
"""How long a client may send nothing of its body, or read nothing of its answer."""


class ClientLeft(Exception):
    """The client closed its connection."""


class ClientSlow(Exception):
    """The client sends or reads nothing for too long."""


class Connection:
    """The request and its answer. `status` is that of the answer, once it has begun."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self.method: str = scope["method"]
        self.path: bytes = scope["raw_path"]
        query: bytes = scope["query_string"]
        self.target = self.path + (b"?" + query if query else b"")
        self.headers: Headers = scope["headers"]
        self.status: int | None = None
        self.is_finished = False
        self._read = asyncio.Event()
        self._giving_since: float | None = None

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yields the body as it comes. Raises ClientLeft or ClientSlow."""
        more = not self._read.is_set()
        while more:
            try:
                async with asyncio.timeout(SLOW_SECONDS):
                    message = await self._receive()
            except TimeoutError:
                raise ClientSlow from None
            if message["type"] == "http.disconnect":
                raise ClientLeft
            more = message.get("more_body", False)
            if piece := message.get("body", b""):
                yield piece
        self._read.set()

    async def while_there(self, work: Coroutine[Any, Any, None]) -> None:
        """Does the work unless the client leaves meanwhile, or reads nothing of a piece for `SLOW_SECONDS` to half as
        long again: then it is cancelled. Raises what the work raises, ClientLeft or ClientSlow."""
        task, watch = asyncio.create_task(work), asyncio.create_task(self._gone())
        try:
            while not (await asyncio.wait({task, watch}, timeout=SLOW_SECONDS / 2, return_when=_FIRST))[0]:
                if self._giving_since is not None and time.monotonic() - self._giving_since > SLOW_SECONDS:
                    raise ClientSlow
            if self.is_finished:  # a server says "disconnect" behind a whole answer, too
                await task
        finally:
            for one in (task, watch):
                one.cancel()
            await asyncio.gather(task, watch, return_exceptions=True)
        if task.cancelled():
            raise ClientLeft
        task.result()

    async def begin(self, status: int, headers: Headers) -> None:
        """Begins the answer."""
        self.status = status
        await self._given({"type": "http.response.start", "status": status, "headers": headers})

    async def give(self, piece: bytes) -> None:
        """Passes on a piece of the answer's body. `while_there` sees it take too long: a timer for each piece would
        cost as much as the piece."""
        self._giving_since = time.monotonic()
        await self._send({"type": "http.response.body", "body": piece, "more_body": True})
        self._giving_since = None

    async def finish(self, piece: bytes = b"") -> None:
        """Ends the answer. Without it the server closes the connection, so that the client sees that some is
        missing."""
        self.is_finished = True
        await self._given({"type": "http.response.body", "body": piece})

    async def answer(self, status: int, value: Any, headers: Headers = ()) -> None:
        """Answers with JSON."""
        content = json.dumps(value).encode()
        length = (b"content-length", b"%d" % len(content))
        await self.begin(status, [(b"content-type", b"application/json"), length, *headers])
        await self.finish(content)

    async def refuse(self, status: int, kind: str, message: str, headers: Headers = ()) -> None:
        """Answers with an error in the form that OpenAI's clients read."""
        await self.answer(status, {"error": {"message": f"llmkit proxy: {message}", "type": kind}}, headers)

    async def _given(self, message: Message) -> None:
        try:
            async with asyncio.timeout(SLOW_SECONDS):
                await self._send(message)
        except TimeoutError:
            raise ClientSlow from None

    async def _gone(self) -> None:
        await self._read.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass
