"""Serves the page of a labelling session on this machine alone, to whoever has its address.

The address holds a random token, the Host header has to be the server's own (against names that are pointed at
127.0.0.1), and a verdict is taken only from the page itself. The page loads nothing and runs no script but its own.
"""

from __future__ import annotations

import hmac
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any
from urllib.parse import parse_qs

from llmkit.errors import LlmkitError
from llmkit.labels.session import Session
from llmkit.report.labelling import page, policy
from llmkit.runs.labels import VERDICTS

_LONGEST = 1024  # bytes of a verdict as a form sends it
_SECONDS = 10  # until a connection that says nothing is closed


@dataclass(frozen=True)
class Served:
    """A page that is being served at `address`."""

    address: str
    _server: _Server = field(repr=False)

    @property
    def finished(self) -> bool:
        """True when every pair has a verdict."""
        return self._server.finished.is_set()

    def wait(self, seconds: float | None = None) -> bool:
        """Waits until all pairs are labelled; False where `seconds` passed before. Raises what kept a verdict from
        being saved."""
        ended = self._server.finished.wait(seconds)
        if self._server.failure:
            raise self._server.failure
        return ended


@contextmanager
def serve(session: Session, title: str) -> Iterator[Served]:
    """Serves the pairs of a session on a free port of 127.0.0.1, until the block ends."""
    server = _Server(session, title)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    try:
        yield Served(f"http://{server.host}{server.path}", server)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, session: Session, title: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.session, self.title = session, title
        self.host, self.path = f"127.0.0.1:{self.server_port}", f"/{secrets.token_urlsafe(32)}/"
        self.finished = Event()
        self.failure: LlmkitError | None = None

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing of a browser that closed its tab."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _SECONDS
    server_version = sys_version = ""

    def do_GET(self) -> None:
        if self._is_allowed():
            self._send_page()

    def do_POST(self) -> None:
        if not self._is_allowed() or not self._is_own():
            return
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > _LONGEST:
            self._refuse(HTTPStatus.BAD_REQUEST)
            return
        sent = parse_qs(self.rfile.read(int(length)).decode("ascii", "replace"))
        number, verdict = (sent.get(name, [""])[0] for name in ("number", "verdict"))
        if not (number.isascii() and number.isdecimal()) or verdict not in (*VERDICTS, "undo"):
            self._refuse(HTTPStatus.BAD_REQUEST)
            return
        try:
            if verdict == "undo":
                self.server.session.undo(int(number))
            else:
                self.server.session.give(int(number), next(known for known in VERDICTS if known == verdict))
        except LlmkitError as error:  # a full disk: the command says so and ends
            self.server.failure = error
            self._refuse(HTTPStatus.INSUFFICIENT_STORAGE)
            self.server.finished.set()
            return
        if self.server.session.current is None:
            self._send_page()  # the last one: who asked again would find no server
            self.server.finished.set()
        else:
            self._redirect()

    def _is_allowed(self) -> bool:
        """Refuses whoever does not know the token, or comes by another name of this machine."""
        if self.headers.get_all("Host") != [self.server.host]:
            self._refuse(HTTPStatus.MISDIRECTED_REQUEST)
            return False
        given = self.path.encode("utf-8", "replace")
        if not hmac.compare_digest(given, self.server.path.encode()):
            self._refuse(HTTPStatus.NOT_FOUND)
            return False
        return True

    def _is_own(self) -> bool:
        """Refuses a form that another page sends."""
        origin, site = self.headers.get("Origin"), self.headers.get("Sec-Fetch-Site")
        if origin not in (None, f"http://{self.server.host}") or site not in (None, "same-origin"):
            self._refuse(HTTPStatus.FORBIDDEN)
            return False
        return True

    def _send_page(self) -> None:
        text = page(
            self.server.session.current, self.server.session.done, len(self.server.session.pairs), self.server.title
        )
        self._send(HTTPStatus.OK, text.encode("utf-8", "backslashreplace"), "text/html; charset=utf-8")

    def _redirect(self) -> None:
        self._send(HTTPStatus.SEE_OTHER, b"", "text/plain", Location=self.server.path)

    def _refuse(self, status: HTTPStatus) -> None:
        self.close_connection = True
        self._send(status, f"{status.value} {status.phrase}\n".encode(), "text/plain")

    def _send(self, status: HTTPStatus, content: bytes, kind: str, **more: str) -> None:
        headers = {
            "Content-Type": kind,
            "Content-Length": str(len(content)),
            "Cache-Control": "no-store",
            "Content-Security-Policy": f"{policy()}; frame-ancestors 'none'",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            # Not "no-referrer": forms would then come without their origin.
            "Referrer-Policy": "same-origin",
            "X-Content-Type-Options": "nosniff",
            **more,
        }
        with suppress(ConnectionError):  # the tab was closed
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Writes nothing: the address with its token belongs in no log."""
