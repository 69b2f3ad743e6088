"""Clients: a server, an application or a function that an engine asks. Their state, and the meaning of failures."""

from __future__ import annotations

import asyncio
import base64
import email.utils
import ssl
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import unquote, urlsplit

from llmkit.engines.canary import PROMPTS, Canary, Sight
from llmkit.engines.pace import Pace
from llmkit.errors import EngineError
from llmkit.secrets import remember, scrub, scrub_reply
from llmkit.types import Message, Reply, Request

LARGEST = 16 * 2**20  # bytes of a reply: a long answer with its documents is a hundredth of that
_LONGEST_NAME = 200  # characters of what a server calls its model


class Again(Exception):
    """A failure that may pass: the call is worth another try, after `wait` seconds if the server named a time."""

    def __init__(
        self,
        reason: str,
        *,
        connection: bool = False,
        throttled: bool = False,
        late: bool = False,
        wait: float | None = None,
    ) -> None:
        super().__init__(reason)
        self.connection = connection
        self.throttled = throttled
        self.late = late
        self.wait = wait


class Filtered(Exception):
    """A provider's content filter kept the question or the reply back. That is an answer: a refusal."""


class Unreadable(EngineError):
    """A whole answer that is not what the recipe says of it, such as a page, or JSON without the answer's path."""


class Client(ABC):
    """One place that answers. Lives on the event loop of the engine that owns it.

    `address` names it in messages, `timeout` is in seconds, and `places` the number of requests that it may have.
    """

    def __init__(self, address: str, timeout: float, places: int, pace: Pace, model: str = "") -> None:
        self.address = address
        self.timeout = timeout
        self.pace = pace
        self.model = model
        self.dead = False
        self.leaving = False  # ends what it has, and gets nothing more
        self.fault: EngineError | None = None  # why it is, where that is not because nobody answers
        self.successes = 0
        self.began, self.ended = time.monotonic(), 0.0  # when it got its first request, and when its last worker ended
        self.read = 0  # answers of any kind that could be read, those of the canary included
        self.places, self.taken = places, 0  # requests that it may have at once, and has
        self.paused_until = 0.0
        self._seen: list[list[Sight]] = [[] for _ in PROMPTS]
        self._reported = "", ""  # what the last answer called the model, and its system_fingerprint
        self._probing: asyncio.Task[bool] | None = None

    @abstractmethod
    async def answer(self, request: Request) -> Reply:
        """Makes one call. Raises Again for a failure that may pass, EngineError for one that will not."""

    @abstractmethod
    async def responds(self) -> bool:
        """Returns whether anything at all comes back from the address."""

    async def sight(self, prompt: str) -> Sight:
        """Returns what the model answers to a prompt of the canary."""
        return (await self.answer(Request((Message("user", prompt),)))).text

    @abstractmethod
    async def close(self) -> None:
        """Ends every connection."""

    @property
    def works(self) -> bool:
        """Whether it gets requests."""
        return not (self.dead or self.leaving)

    async def canary(self, times: int) -> Canary:
        """Returns what the model answers to the canary's prompts, each put `times` times; asks what was not asked
        yet."""
        for before in range(times):
            for prompt, asked in zip(PROMPTS, self._seen, strict=True):
                if len(asked) <= before:  # else it was answered before a call failed
                    asked.append(await self.sight(prompt))
        return Canary.of(self._seen, *self._reported)

    async def alive(self) -> bool:
        """Returns whether the server still answers anything at all; asked once for everybody who wants to know."""
        if self._probing is None or self._probing.done():
            self._probing = asyncio.create_task(self._probe())
        return await self._probing

    async def _probe(self) -> bool:
        for wait in (0.0, 0.5, 1.0, 2.0):
            await asyncio.sleep(wait)
            if await self.responds():
                return True
        return False

    def _took(self, model: Any, fingerprint: Any) -> None:
        """Counts an answer that could be read, and keeps what it says of its model, short and without keys."""
        self.read += 1
        self._reported = _short(model), _short(fingerprint)


def credentials(url: str) -> dict[str, str]:
    """Returns the header that carries the user and password of an address, which is a secret from now on."""
    parts = urlsplit(url)
    if not parts.username:
        return {}
    token = base64.b64encode(f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()).decode()
    remember(token)
    return {"Authorization": f"Basic {token}"}


def failure(address: str, status: int, words: str, headers: Any) -> Again | EngineError:
    """Returns what an HTTP status of 300 or more means: a failure that may pass, or one that will not."""
    if status == 429:
        return Again(f"too many requests (429): {words}", throttled=True, wait=retry_after(headers))
    if status >= 500 or status in (408, 409):
        return Again(f"server error {status}: {words}")
    return EngineError(f"{address} refuses the request ({status}): {words}")


def stay_at_home(address: str, flag: str) -> Callable[[Any], Awaitable[None]]:
    """Returns the hook of an HTTP client that refuses a request which a redirect would take to another server: it
    carries the user's questions and keys along. `flag` is how an address is given."""

    async def refuse_others(request: Any) -> None:
        home, url = urlsplit(address), request.url
        usual = {"http": 80, "https": 443}
        here, there = (
            (u_host, port or usual.get(scheme))
            for scheme, u_host, port in ((home.scheme, home.hostname, home.port), (url.scheme, url.host, url.port))
        )
        secured = home.hostname == url.host and url.scheme == "https" and url.port in (None, 443)
        if not secured and (home.scheme, here) != (url.scheme, there):
            where = scrub(f"{url.scheme}://{url.netloc.decode('ascii', 'replace').rpartition('@')[2]}")
            raise EngineError(
                f"{address} redirects to another server, {where}: nothing was sent there",
                f"if you trust that one, give its address with {flag}",
            )

    return refuse_others


def capped(address: str) -> Callable[[Any], Awaitable[None]]:
    """Returns the hook of an HTTP client that cuts off a reply at `LARGEST` bytes, with an EngineError."""

    async def cap(response: Any) -> None:
        http = sys.modules[type(response).__module__.partition(".")[0]]  # httpx, or what took its place
        pieces = response.stream

        class Capped(http.AsyncByteStream):  # type: ignore[name-defined, misc]
            async def __aiter__(self) -> AsyncIterator[bytes]:
                size = 0
                async for piece in pieces:
                    size += len(piece)
                    if size > LARGEST:
                        raise too_large(address)
                    yield piece

            async def aclose(self) -> None:
                await pieces.aclose()

        response.stream = Capped()

    return cap


def too_large(address: str) -> EngineError:
    """Creates the error for a reply that is longer than any answer."""
    return EngineError(f"{address} sends more than {LARGEST // 2**20} MiB: the reply was cut off")


def tls_fault(error: BaseException) -> str | None:
    """Returns what TLS complains of, if that is why a connection failed."""
    at: BaseException | None = error
    while at is not None and not isinstance(at, ssl.SSLError):
        at = at.__cause__ or at.__context__
    if isinstance(at, ssl.SSLCertVerificationError):
        return f"certificate verify failed: {at.verify_message}"
    return None if at is None else (at.reason or str(at)).replace("_", " ").lower()


def retry_after(headers: Any) -> float | None:
    """Returns the seconds that a Retry-After header asks for, given as a number or a date; None without one that can be
    read."""
    value = headers.get("retry-after", "")
    try:
        seconds = (
            float(value) if value[:1].isdigit() else email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        )
    except (ValueError, OverflowError):
        return None
    return max(0.0, seconds)


def _short(name: Any) -> str:
    return scrub_reply(str(name or ""), "")[:_LONGEST_NAME]
