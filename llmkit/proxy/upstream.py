"""The server behind the proxy: requests to it and its answers, as bytes."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import httpx2
import yarl

from llmkit.engines.client import credentials
from llmkit.engines.reasoning import split_reasoning
from llmkit.engines.sampling import request_seed
from llmkit.errors import EngineError, UsageError
from llmkit.proxy.headers import SWITCH, Headers, of_answer, of_request, value
from llmkit.proxy.outcomes import KeyRefused
from llmkit.secrets import public_url, remember, scrub
from llmkit.types import Reply, Request, Usage

_CONNECT_SECONDS = 10.0
_IDLE_SECONDS = 3.0  # servers close an idle connection after 5 and more: one that they close first loses a request
_LARGEST_HEAD = 100 * 1024  # bytes, of one line
_MOST_BYTES = 4_000_000  # of a reply to the proxy's own question
_PROBE_SECONDS = 10.0


class UpstreamFailed(Exception):
    """The upstream did not answer: the `status` for the client, a word for the count, and a sentence."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status, self.reason, self.message = status, reason, message


class Answer:
    """An answer that has begun: its status, its fields, and the bytes of its body as they come."""

    def __init__(self, response: aiohttp.ClientResponse, sent: _Sent) -> None:
        self.status = response.status
        self.headers = of_answer(response.raw_headers)
        self._content, self._sent = response.content, sent

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Yields the body, still encoded. Raises UpstreamFailed where it breaks off."""
        try:
            while piece := await self._content.readany():
                yield piece
        except (aiohttp.ClientError, OSError) as error:
            raise self._sent.error or _failed(error) from error


class Upstream:
    """One server, by its address. A path `/v1` at the address's end is that of the API, and every request has its own.

    `key` takes the place of the key that a client sends, if given. `seconds` is how long the server may be silent.
    """

    def __init__(self, url: str, key: str | None = None, seconds: float = 600.0) -> None:
        self._given = url, key, seconds
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(f"--upstream {public_url(url)} is no address", "such as http://127.0.0.1:8000/v1")
        if parts.query or parts.fragment:
            raise UsageError("--upstream has a query or a fragment", "each request has its own: leave it out")
        self.address = public_url(url).removesuffix("/v1")
        own = urlsplit(self.address)
        self._host, self._prefix = own.netloc.encode("idna"), own.path
        self._origin = f"{own.scheme}://{self._host.decode()}"
        remember(key)
        basic = credentials(url).get("Authorization")
        self._authorization = f"Bearer {key}" if key else basic
        self._seconds = seconds
        self._session: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def asked(
        self, method: str, target: bytes, headers: Headers, body: bytes | AsyncIterator[bytes] | None
    ) -> AsyncIterator[Answer]:
        """Sends a request and yields its answer; at the end of the block the connection is free again, or closed if the
        answer was not read to its end. Raises UpstreamFailed where there is none.

        `body` is None where the client's own length holds and nothing follows.
        """
        fields = of_request(headers, self._host, len(body) if isinstance(body, bytes) else None)
        if self._authorization:
            fields = [field for field in fields if field[0].lower() != b"authorization"]
            fields.append((b"authorization", self._authorization.encode()))
        sent = _Sent(body)
        try:
            address = yarl.URL(f"{self._origin}{self._prefix}{target.decode()}", encoded=True)
            # The client itself says that a body comes in chunks.
            told = [(name.decode(), words.decode()) for name, words in fields if name != b"transfer-encoding"]
            response = await self._client().request(
                method, address, headers=told, data=sent.data, allow_redirects=False
            )
        except UnicodeError as error:
            raise UpstreamFailed(400, "request", "the request's head is not of UTF-8") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise sent.error or _failed(error) from error
        try:
            coding = response.headers.get("transfer-encoding", "chunked").strip().lower()
            if response.status == 101 or coding != "chunked":
                raise UpstreamFailed(502, "broken", "the upstream answers in another form than was asked for")
            yield Answer(response, sent)
        finally:
            # One that was read to its end has freed its connection; any other is closed, so that the server stops.
            response.close()

    def _client(self) -> aiohttp.ClientSession:
        """Returns the session, which belongs to the event loop that runs when it is first needed."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE_SECONDS, ssl=self._trusted()),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=self._seconds),
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=("accept", "accept-encoding", "content-type", "user-agent"),
                auto_decompress=False,
                max_line_size=_LARGEST_HEAD,
                max_field_size=_LARGEST_HEAD,
            )
        return self._session

    def _trusted(self) -> ssl.SSLContext | bool:
        """Returns the authorities that llmkit's other clients trust."""
        return httpx2.create_ssl_context() if self._origin.startswith("https:") else True

    async def models(self, authorization: bytes | None = None) -> list[str] | None:
        """Returns the names of the server's models; None where it does not say."""
        headers = [] if authorization is None else [(b"authorization", authorization)]
        try:
            async with asyncio.timeout(_PROBE_SECONDS), self.asked("GET", b"/v1/models", headers, None) as answer:
                listed = json.loads(await _whole(answer))
            return [model["id"] for model in listed["data"]]
        except (UpstreamFailed, TimeoutError, ValueError, LookupError, TypeError, RecursionError):
            return None

    async def complete(self, request: Request, model: str, headers: Headers) -> Reply:
        """Asks a model of the server for a correction; `headers` are those that say who asks. EngineError where it does
        not answer, KeyRefused where it may not be asked.
        """
        sampling = request.sampling
        body: dict[str, Any] = {
            "model": model,
            "messages": [message.as_dict() for message in request.messages],
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
        }
        if sampling.temperature:  # votes differ by their seeds, also behind a server that keeps its answers
            body |= {"top_p": sampling.top_p, "seed": request_seed(request)}
        # A text that is to be corrected is none to be repaired, should the server be such a proxy itself.
        fields = [(b"content-type", b"application/json"), (SWITCH, b"off"), *headers]
        try:
            async with self.asked("POST", b"/v1/chat/completions", fields, json.dumps(body).encode()) as answer:
                content = await _whole(answer)
                if answer.status in (401, 403):
                    raise KeyRefused(f"the corrector answers {answer.status}")
                if answer.status >= 300:
                    raise EngineError(f"the corrector answers {answer.status}")
            said = json.loads(content)
            choice = said["choices"][0]
            usage = said.get("usage") or {}
            counts = Usage.reported(usage.get("prompt_tokens"), usage.get("completion_tokens"), 0)
            text, _ = split_reasoning(_text(choice["message"]["content"]), opened=False)
            return Reply(text, usage=counts, finish_reason=str(choice["finish_reason"]))
        except UpstreamFailed as error:
            raise EngineError(error.message) from error
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise EngineError("the corrector's answer is not of the form that the protocol gives it") from error

    @asynccontextmanager
    async def apart(self) -> AsyncIterator[Upstream]:
        """Yields the same server with connections of its own, for another event loop."""
        other = Upstream(*self._given)
        try:
            yield other
        finally:
            await other.close()

    async def close(self) -> None:
        """Ends every connection."""
        if self._session is not None:
            await self._session.close()


class _Sent:
    """A request's body, which may be passed on while it comes. `error` is why the rest of it does not come."""

    def __init__(self, body: bytes | AsyncIterator[bytes] | None) -> None:
        self.error: Exception | None = None
        self.data = self._pieces(body) if isinstance(body, AsyncIterator) else body

    async def _pieces(self, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        try:
            async for piece in body:
                yield piece
        except Exception as error:
            self.error = error
            raise


async def _whole(answer: Answer) -> bytes:
    encoding = value(answer.headers, b"content-encoding")
    if encoding not in (None, b"identity"):
        raise UpstreamFailed(502, "encoding", "the upstream encodes an answer without being asked to")
    content = b""
    async for piece in answer.pieces():
        content += piece
        if len(content) > _MOST_BYTES:
            raise UpstreamFailed(502, "too large", "the upstream's answer is too long")
    return content


def _text(content: object) -> str:
    if not isinstance(content, str):
        raise TypeError
    return content


def _failed(error: Exception) -> UpstreamFailed:
    """Returns what a failure of the HTTP client means. Its message may hold an address, but no text of a user."""
    name = type(error).__name__
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        return UpstreamFailed(502, "connect", f"the upstream cannot be reached ({name})")
    if isinstance(error, TimeoutError):
        return UpstreamFailed(504, "timeout", f"the upstream is silent for too long ({name})")
    if isinstance(error, aiohttp.InvalidURL | ValueError):
        return UpstreamFailed(400, "request", f"the request cannot be passed on: {scrub(str(error))[:200]}")
    return UpstreamFailed(502, "broken", f"the connection to the upstream broke ({name})")
