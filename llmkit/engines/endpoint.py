"""One address of an application: what it is sent, and how its reply is read, as JSON or as server-sent events."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from llmkit.engines import answers
from llmkit.engines.client import (
    LARGEST,
    Again,
    Filtered,
    Unreadable,
    capped,
    credentials,
    failure,
    stay_at_home,
    tls_fault,
    too_large,
)
from llmkit.engines.pace import Pace
from llmkit.engines.server_list import is_address
from llmkit.errors import EngineError, UsageError
from llmkit.forms import Form, find
from llmkit.parsing import parse_json
from llmkit.recipe.schema import BeforeSection, EngineSection
from llmkit.secrets import LOG_FILTER, public_url, remember, remember_address, scrub

if TYPE_CHECKING:
    from httpx2 import Response

T = TypeVar("T")

WHOLE = frozenset({"messages", "session", "tools"})
"""The values of a body that are put in with their JSON type, where a text is nothing else."""
_SHOWN = 200  # characters of a reply that an error shows
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PROBE_SECONDS = 10.0


@dataclass(frozen=True)
class Received:
    """A reply: its JSON, or that of its events, and its first characters."""

    values: list[Any]
    shown: str

    def find(self, path: str | None) -> list[Any]:
        """Returns all that a path finds, through all events; nothing without a path."""
        return [] if path is None else [found for value in self.values for found in find(path, value)]

    def last(self, path: str | None) -> Any:
        """Returns the last thing that a path finds, or None."""
        found = self.find(path)
        return found[-1] if found else None


class Endpoint:
    """Sends a body to an address. Lives on the event loop of the engine that owns it.

    `key` is the part of a recipe that describes it. UsageError for an address, a variable or a header that cannot be
    used.
    """

    def __init__(
        self,
        section: EngineSection | BeforeSection,
        key: str,
        timeout: float,
        places: int,
        pace: Pace,
        stream: bool = False,
    ) -> None:
        self.key = key
        url = section.url or ""
        remember_address(url)
        if not is_address(url):
            raise UsageError(
                f"`{key}.url` must begin with http:// or https://, name a host, and have no port but a number",
                "for example http://127.0.0.1:8000/chat",
            )
        if section.method == "GET" and not isinstance(section.body, dict | None):
            raise UsageError(f"`{key}.body` of a GET is its query: a map of names and values")
        self.address = public_url(url)
        self.method = section.method
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        self._front = urlunsplit((parts.scheme, host, "/", "", ""))
        self._url = urlunsplit((parts.scheme, host, parts.path, "", ""))
        self._query = parse_qsl(parts.query, keep_blank_values=True)
        self.form = Form(section.body, WHOLE)
        self._headers = {**credentials(url), **_headers(section.headers_env, f"{key}.headers_env")}
        self._timeout = timeout
        self._places = places
        self._pace = pace
        self._stream = stream
        self._client: Any = None
        logging.getLogger("httpx2").addFilter(LOG_FILTER)  # it notes whole addresses, query included

    async def send(self, values: Mapping[str, Any]) -> Received:
        """Fills in the body, sends it, and returns what comes back, whole within the time limit.

        Raises Again for a failure that may pass, Filtered for a content filter, EngineError for anything else.
        """
        try:
            filled = self.form.fill(values)
        except ValueError as error:
            raise EngineError(f"`{self.key}.body` cannot be filled in: {error}") from error
        return await self._exchange(self._content(filled), self._events if self._stream else self._json)

    async def responds(self) -> bool:
        """Returns whether the host answers anything at all; asks for its front page, without headers of the user."""
        from httpx2 import HTTPError

        await self._pace.turn()
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                await self._open().head(self._front, follow_redirects=False)
        except (HTTPError, TimeoutError):
            return False
        return True

    async def close(self) -> None:
        """Ends every connection."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    def _open(self) -> Any:
        if self._client is None:
            from httpx2 import AsyncClient, Limits

            self._client = AsyncClient(
                # Compressed, a small reply could unfold into gigabytes.
                headers={"Accept-Encoding": "identity", "User-Agent": "llmkit"},
                timeout=self._timeout,
                # A jar would carry the session of one conversation into the next.
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
                limits=Limits(max_connections=self._places, max_keepalive_connections=self._places),
                event_hooks={
                    "request": [stay_at_home(self.address, f"{self.key}.url")],
                    "response": [capped(self.address)],
                },
                follow_redirects=True,
            )
        return self._client

    def _content(self, filled: Any) -> dict[str, Any]:
        """Returns a body as the arguments of the HTTP client: JSON, or the query of a GET."""
        if self.method == "GET":
            pairs = filled.items() if isinstance(filled, dict) else ()
            texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in pairs}
            return {"params": [*self._query, *texts.items()], "headers": self._headers}
        if filled is None:
            return {"params": self._query, "headers": self._headers}
        # Half characters are no text in UTF-8, and a reader may refuse their escapes.
        content = json.dumps(filled, ensure_ascii=False).encode("utf-8", "replace")
        return {
            "content": content,
            "params": self._query,
            "headers": {"Content-Type": "application/json", **self._headers},
        }

    async def _exchange(self, content: dict[str, Any], read: Callable[[Response], Awaitable[T]]) -> T:
        from httpx2 import HTTPError, SSEError, TimeoutException, TooManyRedirects

        # Before the time limit begins: a turn may be a long way off.
        await self._pace.turn()
        try:
            async with (
                asyncio.timeout(self._timeout),
                self._open().stream(self.method, self._url, **content) as response,
            ):
                if response.request.method != self.method:  # 301 to 303 turn a POST into a GET, without its body
                    moved = scrub(str(response.url).partition("?")[0])
                    raise EngineError(f"{self.address} has moved to {moved}", f"give that address in {self.key}.url")
                if response.status_code >= 300:
                    raise await self._failure(response)
                return await read(response)
        except (TimeoutException, TimeoutError) as error:
            raise Again("no whole answer within the time limit", late=True) from error
        except SSEError as error:
            raise EngineError(f"{self.address} sends no events that can be read: {scrub(str(error))}") from error
        except TooManyRedirects as error:
            raise EngineError(f"{self.address} redirects in a circle") from error
        except HTTPError as error:
            reason = tls_fault(error) or type(error).__name__
            raise Again(f"the connection broke ({reason})", connection=True) from error

    async def _failure(self, response: Response) -> Exception:
        text = (await self._bytes(response)).decode("utf-8", "replace")
        try:
            body = parse_json(text)
        except ValueError:
            body = text
        error = body.get("error", body) if isinstance(body, dict) else body
        words = scrub(answers.words_of(error, shown(text) if text.strip() else response.reason_phrase))
        if answers.is_filtered(error):
            return Filtered(words)
        return failure(self.address, response.status_code, words, response.headers)

    async def _json(self, response: Response) -> Received:
        data = await self._bytes(response)
        text = data.decode("utf-8-sig", "replace")
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind.endswith("html") or text.lstrip()[:1] == "<":
            raise Unreadable(
                f"{self.address} answers HTML, not JSON: {shown(text)}",
                f"is `{self.key}.url` the address of the API, and not that of a page or of a login?",
            )
        try:
            return Received([parse_json(text)], shown(text))
        except ValueError as error:
            if kind and "json" not in kind:
                raise Unreadable(f"{self.address} answers {kind}, not JSON: {shown(text)}") from error
            raise Again(f"the answer is not whole JSON, or nested too deeply: {shown(text)}") from error

    async def _events(self, response: Response) -> Received:
        from httpx2 import EventSource

        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "text/event-stream":
            text = (await self._bytes(response)).decode("utf-8", "replace")
            raise Unreadable(f"{self.address} answers {kind or 'something'}, not an event stream: {shown(text)}")
        response.encoding = "utf-8"  # whatever its header says: events have no other
        values: list[Any] = []
        first = ""
        async for event in EventSource(response, LARGEST):
            if event.data.strip() == "[DONE]":
                break
            if event.event == "error":
                raise Again(f"the stream ends in an error: {shown(event.data)}")
            first = first if len(first) > _SHOWN else f"{first} {event.data}"
            try:
                values += [parse_json(event.data)] if event.data else []
            except ValueError as error:
                raise Again(f"an event is not whole JSON: {shown(event.data)}") from error
        return Received(values, shown(first))

    async def _bytes(self, response: Response) -> bytes:
        data = bytearray()
        async for piece in response.aiter_bytes():
            data += piece
            if len(data) > LARGEST:  # of what was compressed in spite of all
                raise too_large(self.address)
        return bytes(data)


def shown(text: str) -> str:
    """Returns the first characters of a reply, on one line and without keys.

    >>> shown('{"error":\\n  "busy"}')
    '{"error": "busy"}'
    """
    return scrub(" ".join(text[: 2 * _SHOWN].split())[:_SHOWN]) or "(nothing)"


def _headers(variables: Mapping[str, str], key: str) -> dict[str, str]:
    """Returns headers with the values of their environment variables, which are secrets from now on."""
    headers: dict[str, str] = {}
    for name, variable in variables.items():
        value = os.environ.get(variable, "").strip()
        if not _HEADER.fullmatch(name):
            raise UsageError(f"`{key}`: {name!r} is no name of a header")
        if not value:
            raise UsageError(f"the variable {variable}, for the header {name}, is not set", f"see `{key}`")
        if not (value.isascii() and value.isprintable()):
            raise UsageError(f"the variable {variable} holds no text that the header {name} can carry")
        for secret in (value, value.partition(" ")[2]):  # a key is often quoted without its `Bearer`
            remember(secret)
        headers[name] = value
    return headers
