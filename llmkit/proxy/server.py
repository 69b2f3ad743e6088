"""Runs the application on uvicorn: when it listens, how long connections may idle, and how it ends."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from llmkit.errors import EngineError, Incomplete, UsageError
from llmkit.proxy.app import Proxy
from llmkit.secrets import LOG_FILTER

HEADER_SECONDS = 20.0
"""How long a client may take to send the head of a request."""
LARGEST_HEAD = 64 * 1024  # bytes
DRAIN_SECONDS = 30
_IDLE_SECONDS = 5
_BACKLOG = 2048


class _Patient(H11Protocol):
    """Closes a connection whose request does not come: uvicorn only closes those that idle after an answer."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._late = self.loop.call_later(HEADER_SECONDS, self._close)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is None or self.cycle.response_complete:
            # Not anew with each byte: a client that sends one a second never ends.
            self._late = self._late or self.loop.call_later(HEADER_SECONDS, self._close)
        elif self._late is not None:
            self._late.cancel()
            self._late = None

    def connection_lost(self, exc: Exception | None) -> None:
        if self._late is not None:
            self._late.cancel()
        super().connection_lost(exc)

    def _close(self) -> None:
        self._late = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()


class _Server(uvicorn.Server):
    """Says when it answers requests, and ends without raising the signal that ended it once more."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._say_ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._say_ready()

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        with suppress(KeyboardInterrupt), super().capture_signals():
            yield


class _Quiet(logging.Filter):
    """Leaves out lines about answers that were broken off on purpose, so that the client sees that some is missing."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith(("ASGI callable returned without", "Cancel "))


class Running:
    """A proxy that is about to listen at `host` and `port`; port 0 takes any that is free. UsageError for a port that
    is taken."""

    def __init__(
        self,
        proxy: Proxy,
        host: str,
        port: int,
        drain: int = DRAIN_SECONDS,
        ready: Callable[[Running], None] = lambda running: None,
    ) -> None:
        self._proxy, self._drain = proxy, drain
        self._socket = _bound(host, port)
        self.port = int(self._socket.getsockname()[1])
        reachable = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
        self.url = f"http://{reachable}:{self.port}"
        config = uvicorn.Config(
            proxy,
            http=_Patient,
            ws="none",
            lifespan="on",
            log_config=None,
            log_level="error",
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            backlog=_BACKLOG,
            timeout_keep_alive=_IDLE_SECONDS,
            timeout_graceful_shutdown=drain,
            h11_max_incomplete_event_size=LARGEST_HEAD,
        )
        self._server = _Server(config, lambda: ready(self))

    def stop(self) -> None:
        """Ends it as SIGTERM does. May be called from any thread."""
        self._server.should_exit = True

    def run(self) -> None:
        """Serves until SIGTERM, Ctrl-C or `stop`. Then it takes no new requests and lets those under way finish.

        EngineError where the repair cannot be loaded; Incomplete where requests were cut off at the end.
        """
        log = logging.getLogger("uvicorn.error")
        log.addFilter(_Quiet())
        log.addFilter(LOG_FILTER)
        self._server.run([self._socket])
        if not self._server.started:
            raise EngineError("the proxy did not start", "its last lines are above")
        if cut := self._proxy.metrics.total("refused", "cut off"):
            raise Incomplete(
                f"{cut} requests were cut off after {self._drain} seconds", "--drain SECONDS lets them run longer"
            )


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise UsageError(
            f"cannot listen on {host} port {port}: {error.strerror}", "choose another with --port, or 0 for any"
        ) from error
    return listening


def is_open(host: str) -> bool:
    """Returns whether others than this machine reach an address to listen at."""
    return not (host in ("localhost", "::1") or host.startswith("127."))
