"""The server behind the proxy: requests to it and its answers, as bytes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx2

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
_MOST_BYTES = 4_000_000  # of a reply to the proxy's own question
_PROBE_SECONDS = 10.0


class UpstreamFailed(Exception):
    """The upstream did not answer: the `status` for the client, a word for the count, and a sentence."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status, self.reason, self.message = status, reason, message


class Answer:
    """An answer that has begun: its status, its fields, and the bytes of its body as they come."""

    def __init__(self, response: httpx2.Response) -> None:
        self.status = response.status_code
        self.headers = of_answer(response.headers.raw)
        self._stream = response.stream

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Yields the body, still encoded. Raises UpstreamFailed where it breaks off."""
        assert isinstance(self._stream, httpx2.AsyncByteStream)
        try:
            async for piece in self._stream:
                yield piece
        except httpx2.HTTPError as error:
            raise _failed(error) from error


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
        self._url, self._host, self._prefix = httpx2.URL(self.address), own.netloc.encode("idna"), own.path.encode()
        remember(key)
        basic = credentials(url).get("Authorization")
        self._authorization = f"Bearer {key}" if key else basic
        self._transport = httpx2.AsyncHTTPTransport(
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=256, keepalive_expiry=_IDLE_SECONDS)
        )
        self._timeout = httpx2.Timeout(seconds, connect=_CONNECT_SECONDS).as_dict()

    @asynccontextmanager
    async def asked(
        self, method: str, target: bytes, headers: Headers, body: bytes | AsyncIterator[bytes] | None
    ) -> AsyncIterator[Answer]:
        """Sends a request and yields its answer; at the end of the block the connection is free again, or closed if the
        answer was not read to its end. Raises UpstreamFailed where there is none.

        `body` is None where the client's own length holds and nothing follows.
        """
        length = len(body) if isinstance(body, bytes) else None
        stream: Any = httpx2.ByteStream(body or b"") if not isinstance(body, AsyncIterator) else _Body(body)
        fields = of_request(headers, self._host, length)
        if self._authorization:
            fields = [field for field in fields if field[0].lower() != b"authorization"]
            fields.append((b"authorization", self._authorization.encode()))
        extensions = {"target": self._prefix + target, "timeout": self._timeout}
        request = httpx2.Request(method, self._url, headers=fields, stream=stream, extensions=extensions)
        try:
            response = await self._transport.handle_async_request(request)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise _failed(error) from error
        try:
            yield Answer(response)
        finally:
            # A client that left cancels this task: the connection is closed all the same, so that the server stops.
            await asyncio.shield(response.aclose())

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
        await self._transport.aclose()


class _Body(httpx2.AsyncByteStream):
    """A request's body that is passed on while it comes."""

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._pieces:
            yield piece


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
    if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
        return UpstreamFailed(502, "connect", f"the upstream cannot be reached ({name})")
    if isinstance(error, httpx2.TimeoutException):
        return UpstreamFailed(504, "timeout", f"the upstream is silent for too long ({name})")
    if isinstance(error, httpx2.LocalProtocolError):
        return UpstreamFailed(400, "request", f"the request cannot be passed on: {scrub(str(error))[:200]}")
    return UpstreamFailed(502, "broken", f"the connection to the upstream broke ({name})")
