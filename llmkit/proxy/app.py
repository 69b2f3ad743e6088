"""The proxy as an ASGI application: what is the user's goes through the repair, and all else through."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from llmkit.errors import EngineError
from llmkit.proxy.connection import ClientLeft, ClientSlow, Connection, Receive, Scope, Send
from llmkit.proxy.headers import SWITCH, Headers, keys, value
from llmkit.proxy.metrics import Metrics
from llmkit.proxy.outcomes import Budget, Outcome, Outcomes
from llmkit.proxy.settings import Settings
from llmkit.proxy.shadow import Exchange, Heard, Log, Shadow
from llmkit.proxy.turns import ENDPOINTS, Turn, Unreadable, parsed, turns, with_texts
from llmkit.proxy.upstream import Upstream, UpstreamFailed
from llmkit.proxy.worker import Worker
from llmkit.repair.drift import Drift
from llmkit.types import Reply, Request

_MOST_BUFFERED = 64  # bodies of the greatest length that may be in memory at once
_RETRY = ((b"retry-after", b"1"),)
_ORDER = ("repaired", "failed", "unchanged", "passed")


_Handler = Callable[[Connection], Coroutine[Any, Any, None]]


class Look:
    """What was seen of one request: the repair's part of its answer's header, and what becomes of its turns."""

    def __init__(self, word: str, outcomes: Mapping[Turn, Outcome] | None = None, seconds: float = 0.0) -> None:
        self.word = word
        self.outcomes = outcomes or {}
        self.seconds = seconds

    @property
    def changes(self) -> dict[Turn, str]:
        """The turns that get another text."""
        return {turn: outcome.text for turn, outcome in self.outcomes.items() if outcome.text is not None}

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The fields that say it to the client."""
        detectors = dict.fromkeys(outcome.detector for outcome in self.outcomes.values() if outcome.fired)
        names = ",".join(filter(None, detectors)).encode()
        return [(SWITCH, self.word.encode()), *([(b"x-llmkit-detector", names)] if names else [])]


class Proxy:
    """The application. `outcomes` is None where no text is looked at."""

    def __init__(
        self,
        settings: Settings,
        upstream: Upstream,
        workers: list[Worker] | None = None,
        drift: Drift | None = None,
        log: Log | None = None,
        note: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.settings, self.upstream, self.note = settings, upstream, note
        self.metrics = Metrics()
        self._workers = workers or []
        self.outcomes = Outcomes(self._workers) if self._workers else None
        self._drift = drift
        self._shadow = None if log is None else Shadow(log, upstream, self.metrics, settings.floor)
        self.under_way = 0
        self._buffered = 0
        self._own: dict[tuple[str, bytes], _Handler] = {
            ("GET", b"/health"): self._health,
            ("GET", b"/metrics"): self._metrics,
            ("POST", b"/repair"): self._repair,
        }
        gauges = self.metrics.gauges
        gauges["in_flight"] = "Requests under way.", lambda: self.under_way
        gauges["worker_restarts"] = "Deaths of repairing processes.", lambda: sum(w.restarts for w in self._workers)
        if drift is not None:
            gauges["drifted"] = "1 from when traffic is no longer like the calibration's.", lambda: drift.drifted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._serve(Connection(scope, receive, send))

    async def _live(self, receive: Receive, send: Send) -> None:
        """Begins before the server listens, and ends after its last request."""
        await receive()
        try:
            await asyncio.gather(*(worker.start() for worker in self._workers))
        except Exception as error:
            await send({"type": "lifespan.startup.failed", "message": f"the repair cannot be loaded: {error}"})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if self._shadow is not None:
            await self._shadow.finish()
        for worker in self._workers:
            worker.close()
        await self.upstream.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _serve(self, client: Connection) -> None:
        own = self._own.get((client.method, client.path))
        endpoint = client.path.decode("ascii", "replace") if client.path in _PATHS or own else "other"
        try:
            if refusal := self._refusal(client, own):
                kind, status, message = refusal
                self.metrics.count("refused", kind)
                await client.refuse(status, kind, message, _RETRY if status == 503 else ())
            elif own == self._health or own == self._metrics:
                await own(client)
            else:
                self.under_way += 1
                try:
                    await client.while_there((own or self._pass)(client))
                finally:
                    self.under_way -= 1
        except ClientLeft:
            self.metrics.count("refused", "client left")
        except ClientSlow:
            self.metrics.count("refused", "client slow")
            if client.status is None:
                await client.refuse(408, "client_slow", "the request's body does not come", [(b"connection", b"close")])
        except UpstreamFailed as error:
            self.metrics.count("upstream_errors", error.reason)
            # Once the answer has begun, only a closed connection can say that the rest is missing.
            if client.status is None:
                await client.refuse(error.status, f"upstream_{error.reason}", error.message)
        except asyncio.CancelledError:  # the time to finish is over
            self.metrics.count("refused", "cut off")
            if client.status is None:
                await client.refuse(503, "stopping", "the proxy ends", _RETRY)
        finally:
            self.metrics.count("requests", endpoint, str(client.status or "none"))

    def _refusal(self, client: Connection, own: object) -> tuple[str, int, str] | None:
        """Returns why a request goes no further: a word, a status and a sentence."""
        if own == self._health:
            return None
        if self.settings.own_key and not self._is_allowed(client):
            return "key", 401, "the key is missing or wrong"
        if b"websocket" in (value(client.headers, b"upgrade") or b"").lower():
            return "upgrade", 501, "a WebSocket does not pass: connect to the upstream itself"
        if not client.path.startswith(b"/"):
            return "target", 400, "the request's target is no path"
        if self.under_way >= self.settings.most_requests and own != self._metrics:
            return "busy", 503, "too many requests are under way"
        return None

    def _is_allowed(self, client: Connection) -> bool:
        given = value(client.headers, b"authorization") or b""
        scheme, _, key = given.partition(b" ")
        return hmac.compare_digest(key.strip(), (self.settings.own_key or "").encode()) and scheme.lower() == b"bearer"

    async def _pass(self, client: Connection) -> None:
        """Passes a request on and its answer back."""
        is_texts = client.method == "POST" and client.path in _PATHS
        if not is_texts or self.settings.mode == "pass":
            has_body = any(name in (b"content-length", b"transfer-encoding") for name, _ in client.headers)
            if not has_body:
                async for _ in client.pieces():  # to its end, so that the connection is watched
                    pass
            await self._relay(client, client.pieces() if has_body else None, Look("pass") if is_texts else None)
            return
        whole = await self._whole(client)
        if not isinstance(whole, bytes):
            self.metrics.count("skipped", "too long")
            await self._relay(client, whole, Look("skipped"))
            return
        try:
            look, body = await self._looked(client, whole)
            if self._shadow is None or look.word != "shadow":
                await self._relay(client, body, look)
                return
            exchange = Exchange(client.path, client.target, self._passed_on(client), body)
            await self._relay(client, body, look, exchange.heard)
            self._shadow.begin(self._observe(self._shadow, client, exchange))
        finally:
            self._buffered -= len(whole)

    async def _observe(self, shadow: Shadow, client: Connection, exchange: Exchange) -> None:
        """Repairs in the background what the client sent, and has it asked again and logged."""
        look = await self.outcomes_of(client, exchange.body)
        self.metrics.added(look.seconds)
        if look.outcomes:
            await shadow.note(exchange, look.outcomes, look.word, look.seconds)

    async def _whole(self, client: Connection) -> bytes | AsyncIterator[bytes]:
        """Returns the body; where it is too long to be kept, its pieces as they come."""
        said = value(client.headers, b"content-length")
        most = self.settings.most_bytes
        pieces = client.pieces()
        if said is not None and int(said) > most:
            return pieces
        read: list[bytes] = []
        size = 0
        try:
            async for piece in pieces:
                read.append(piece)
                size += len(piece)
                self._buffered += len(piece)
                if size > most or self._buffered > _MOST_BUFFERED * most:
                    self._buffered -= size
                    size = 0
                    return _joined(read, pieces)
            whole, size = b"".join(read), 0
            return whole
        finally:
            self._buffered -= size  # the client left: what came is dropped

    async def _looked(self, client: Connection, body: bytes) -> tuple[Look, bytes]:
        """Returns what was seen of a request, and the body that goes on."""
        if (value(client.headers, SWITCH) or b"").strip().lower() == b"off":
            self.metrics.count("skipped", "off")
            return Look("off"), body
        if self.settings.mode == "shadow":  # looked at behind the answer
            return Look("shadow"), body
        began = time.perf_counter()
        look = await self.outcomes_of(client, body)
        try:
            body = with_texts(body, look.changes)
        except Unreadable as error:
            self.metrics.count("skipped", str(error))
            look = Look("skipped")
        self.metrics.added(time.perf_counter() - began)
        return look, body

    async def outcomes_of(self, client: Connection, body: bytes) -> Look:
        """Repairs the user's turns of a request, or says why they are not looked at."""
        assert self.outcomes is not None
        reason, found, tree = None, [], {}
        if value(client.headers, b"content-encoding") not in (None, b"identity"):
            reason = "encoded"
        else:
            try:
                tree = parsed(body)
                found = turns(client.path.decode(), tree)
            except Unreadable as error:
                reason = str(error)
        if self.settings.model is not None and reason is None and tree.get("model") != self.settings.model:
            reason = "other model"
        if reason is not None:
            self.metrics.count("skipped", reason)
            return Look("skipped")
        began = time.perf_counter()
        outcomes = await self._outcomes(client, tree, [turn.text for turn in found])
        for outcome in outcomes:
            self._count(outcome)
        if outcomes:
            self._watch(outcomes[-1])
        word = next((action for action in _ORDER if any(o.action == action for o in outcomes)), "passed")
        return Look(word, dict(zip(found, outcomes, strict=True)), time.perf_counter() - began)

    def _count(self, outcome: Outcome) -> None:
        self.metrics.count("repairs", outcome.action)
        if outcome.fired:
            self.metrics.count("fired", outcome.detector or "none")
        if outcome.action == "failed":
            self.metrics.count("failures", outcome.reason)

    def _watch(self, outcome: Outcome) -> None:
        """Compares the traffic with the calibration's: the last turn, because those before it were seen already."""
        if self._drift is None or outcome.action == "failed":
            return
        had = self._drift.drifted
        if self._drift.see(outcome.rarity) and not had:
            self.note(f"warning: {self._drift.warning}")

    async def _outcomes(self, client: Connection, tree: Mapping[str, Any], texts: Sequence[str]) -> list[Outcome]:
        """Returns what becomes of each text of a request. The model that corrects is asked as its client."""
        assert self.outcomes is not None
        name = self.settings.corrector or tree.get("model")
        headers = keys(self._passed_on(client))

        async def ask(request: Request) -> Reply:
            if not isinstance(name, str):
                raise EngineError("the request names no model")
            return await self.upstream.complete(request, name, headers)

        budget = Budget.of(self.settings.budget_ms, self.settings.budget_tokens)
        return await self.outcomes.of(texts, budget, ask, name if isinstance(name, str) else "")

    def _passed_on(self, client: Connection) -> Headers:
        """Returns the client's fields without the key that is for the proxy."""
        if not self.settings.own_key:
            return client.headers
        return [field for field in client.headers if field[0] != b"authorization"]

    async def _relay(
        self,
        client: Connection,
        body: bytes | AsyncIterator[bytes] | None,
        look: Look | None,
        heard: Heard | None = None,
    ) -> None:
        """Sends a request on and its answer back, piece by piece as it comes; `heard` keeps it, too."""
        async with self.upstream.asked(client.method, client.target, self._passed_on(client), body) as answer:
            await client.begin(answer.status, [*answer.headers, *(look.headers if look else [])])
            if heard is not None:
                heard.status, heard.headers = answer.status, answer.headers
            async with aclosing(answer.pieces()) as pieces:
                async for piece in pieces:
                    await client.give(piece)
                    if heard is not None:
                        heard.take(piece)
            await client.finish()
            if heard is not None:
                heard.is_whole = True

    async def _health(self, client: Connection) -> None:
        await client.answer(200, {"status": "ok", "mode": self.settings.mode})

    async def _metrics(self, client: Connection) -> None:
        content = self.metrics.text().encode()
        await client.begin(
            200,
            [(b"content-type", b"text/plain; version=0.0.4"), (b"content-length", b"%d" % len(content))],
        )
        await client.finish(content)

    async def _repair(self, client: Connection) -> None:
        """Answers with one repaired text, for applications that have to correct before they retrieve."""
        whole = await self._whole(client)
        if not isinstance(whole, bytes):
            await client.refuse(413, "too_long", f"a text has at most {self.settings.most_bytes:,} bytes")
            return
        self._buffered -= len(whole)
        try:
            tree = parsed(whole)
        except Unreadable:
            tree = {}
        text = tree.get("text")
        if not isinstance(text, str):
            await client.refuse(400, "no_text", 'the body is {"text": "..."}')
            return
        if self.outcomes is None:
            await client.refuse(409, "no_repair", "no text is repaired in this mode")
            return
        (outcome,) = await self._outcomes(client, tree, [text])
        self._count(outcome)
        record = {
            "text": text if outcome.text is None else outcome.text,
            "action": outcome.action,
            "detector": outcome.detector,
            "edits": [edit._asdict() for edit in outcome.edits],
        }
        await client.answer(200, record | ({"reason": outcome.reason} if outcome.reason else {}))


_PATHS = frozenset(path.encode() for path in ENDPOINTS)


async def _joined(read: list[bytes], pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yields what was read already, then the rest."""
    for piece in read:
        yield piece
    read.clear()
    async for piece in pieces:
        yield piece
