"""Shadow mode: what would the repair change? The client gets the answer to its own request, and the same server is
asked again in the background: with the repaired texts where there are any, and a part of all others once more as sent.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any, Literal

from llmkit.errors import DataError
from llmkit.proxy.answers import MOST_BYTES, read_answer
from llmkit.proxy.headers import Headers
from llmkit.proxy.metrics import Metrics
from llmkit.proxy.outcomes import Outcome
from llmkit.proxy.positions import Span, last_members, replaced
from llmkit.proxy.turns import Turn, Unreadable, parsed, with_texts
from llmkit.proxy.upstream import Upstream, UpstreamFailed
from llmkit.repair import RepairFile
from llmkit.tasks.comparing import Response, compare
from llmkit.terminal import json_text
from llmkit.types import Question

FORM = 1
"""The version of the log's form."""

_MOST_WAITING = 256  # requests that wait to be looked at; of more none is looked at, and they are counted
_MOST_ASKED = 8  # asked again at once: the server's first work is that of clients
_FINISH_SECONDS = 20.0
_WITHOUT = (b"accept-encoding", b"content-length", b"content-encoding")

Asked = Literal["repaired", "same"]


class Log:
    """The log: a line for its beginning and one for each request. Hashes and counts, and texts only where that is
    said; a hash is of no use to whoever guesses the text, because its key is forgotten with the process."""

    def __init__(self, path: Path, repair: RepairFile, guarantee: str, texts: bool, floor: int) -> None:
        self.texts = texts
        self.lost = 0
        """Lines that could not be written."""
        self._key = secrets.token_bytes(16)
        try:
            # Whoever may read the texts of users: this person alone.
            # A lone surrogate becomes \udxxx, which JSON reads back as the same.
            self._file: IO[str] = open(  # noqa: SIM115  open until the end
                path, "a", encoding="utf-8", errors="backslashreplace", opener=_private
            )
            if _is_torn(path):
                self._file.write("\n")
        except OSError as error:
            raise DataError(f"{path}: cannot be written: {error.strerror}", "name another file with --log") from None
        begun = {"shadow": FORM, "when": _now(), "chain": repair.chain, "digest": repair.digest, "texts": texts}
        self.write({**begun, "guarantee": guarantee, "floor": floor})

    def hashed(self, text: str) -> str:
        """Returns the name of a text in this log."""
        return blake2b(text.encode("utf-8", "surrogatepass"), key=self._key, digest_size=8).hexdigest()

    def write(self, line: Mapping[str, Any]) -> None:
        """Adds a line. What cannot be written is counted: traffic goes on."""
        try:
            self._file.write(json_text(line) + "\n")
            self._file.flush()
        except (OSError, ValueError):
            self.lost += 1

    def close(self) -> None:
        with suppress(OSError):
            self._file.close()


@dataclass
class Heard:
    """An answer that is collected while it passes to the client."""

    status: int = 0
    headers: Headers = ()
    pieces: list[bytes] = field(default_factory=list)
    size: int = 0
    is_whole: bool = False

    def take(self, piece: bytes) -> None:
        """Keeps a piece; of an answer that is too long to be compared, nothing."""
        self.size += len(piece)
        if self.size <= MOST_BYTES:
            self.pieces.append(piece)
        else:
            self.pieces.clear()

    def response(self, path: bytes) -> Response | None:
        """Returns the answer; None where there is none to compare."""
        if self.status != 200 or not self.is_whole or self.size > MOST_BYTES:
            return None
        return read_answer(path, self.headers, b"".join(self.pieces))


@dataclass(frozen=True)
class Exchange:
    """A request of a client and the answer that it got."""

    path: bytes
    target: bytes
    headers: Headers
    """As they go to the upstream."""
    body: bytes
    heard: Heard = field(default_factory=Heard)


class Shadow:
    """Asks again and logs. `floor`: one in so many requests without a repaired text is asked twice; 0 for none."""

    def __init__(self, log: Log, upstream: Upstream, metrics: Metrics, floor: int = 100) -> None:
        self._log, self._upstream, self._metrics, self._floor = log, upstream, metrics, floor
        self._tasks: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(_MOST_ASKED)
        metrics.gauges["log_lines_lost"] = "Lines of the log that could not be written.", lambda: log.lost

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Does something in the background, unless too much waits already."""
        if len(self._tasks) >= _MOST_WAITING:
            work.close()
            self._metrics.count("skipped", "busy")
            return
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def finish(self) -> None:
        """Ends what is under way, for a limited time, and closes the log."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=_FINISH_SECONDS)
            for task in late:
                task.cancel()
        self._log.close()

    async def note(self, exchange: Exchange, outcomes: Mapping[Turn, Outcome], word: str, seconds: float) -> None:
        """Asks again where that can show something, and logs the request."""
        changes = {turn: outcome.text for turn, outcome in outcomes.items() if outcome.text is not None}
        fired = [outcome for outcome in outcomes.values() if outcome.fired]
        asked: Asked | None = "repaired" if changes else None
        if not fired and self._floor and secrets.randbelow(self._floor) == 0:
            asked = "same"
        verdict = ""
        kinds: tuple[str, ...] = ()
        first = await asyncio.to_thread(exchange.heard.response, exchange.path)
        second = None
        if asked is not None:
            second = None if first is None else await self._again(exchange, changes)
            text = "\n".join(turn.text for turn in outcomes)
            verdict, kinds = await asyncio.to_thread(_compared, first, second, text)
            self._metrics.count("shadow", asked, verdict)
        turn, outcome = next(((t, o) for t, o in outcomes.items() if o.fired), next(iter(outcomes.items())))
        line = {
            "when": _now(),
            "endpoint": exchange.path.decode(),
            "turns": len(outcomes),
            "text": self._log.hashed(turn.text),
            "action": word,
            "reason": next((one.reason for one in outcomes.values() if one.reason), ""),
            "fired": len(fired),
            "detector": outcome.detector if fired else "",
            "rarity": round(outcome.rarity, 3),
            "edits": sum(len(one.edits) for one in outcomes.values()),
            "added_ms": round(1000 * seconds, 3),
            "asked": asked,
            "verdict": verdict or None,
            "kinds": kinds,
        }
        if self._log.texts:
            line |= {"sent": turn.text, "repaired": outcome.text, "answers": [_said(first), _said(second)]}
        self._log.write(line)

    async def _again(self, exchange: Exchange, changes: Mapping[Turn, str]) -> Response | None:
        """Returns the answer to the request once more, with these texts; None where there is none to compare."""
        path = exchange.path
        try:
            tree = parsed(exchange.body)
            if path == b"/v1/responses" and (tree.get("conversation") or tree.get("background")):
                return None  # each request adds to the conversation, or runs on by itself
            body = with_texts(exchange.body, changes)
        except Unreadable:
            return None
        if path != b"/v1/completions":  # which knows no such member
            body = unstored(body)
        headers = [pair for pair in exchange.headers if pair[0] not in _WITHOUT]
        heard = Heard()
        with suppress(UpstreamFailed):
            async with self._room, self._upstream.asked("POST", exchange.target, headers, body) as answer:
                heard.status, heard.headers = answer.status, answer.headers
                async for piece in answer.pieces():
                    heard.take(piece)
                heard.is_whole = True
        return await asyncio.to_thread(heard.response, path)


def unstored(body: bytes) -> bytes:
    """Returns the body of a request whose answer the server does not keep.

    >>> unstored(b'{"model": "m", "store" : true}')
    b'{"model": "m", "store" : false}'
    >>> unstored(b'{}')
    b'{"store": false}'
    """
    if given := last_members(body, "store"):
        return replaced(body, dict.fromkeys(given, b"false"))
    at = body.index(b"{") + 1
    comma = b"" if body[at:].lstrip().startswith(b"}") else b", "
    return replaced(body, {Span(at, at): b'"store": false' + comma})


def _compared(first: Response | None, second: Response | None, text: str) -> tuple[str, tuple[str, ...]]:
    """Returns the verdict on two answers and the kinds of change: "failed" where one is missing."""
    if first is None or second is None:
        return "failed", ()
    comparison = compare(first, second, Question("", text, None, "text"))
    return comparison.verdict, comparison.kinds


def _said(answer: Response | None) -> Any:
    if answer is None:
        return None
    return answer.text if not answer.tool_calls else {"text": answer.text, "tool_calls": list(answer.tool_calls)}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _is_torn(path: Path) -> bool:
    """Returns whether the last line has no end, because its process died."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 1))
        return size > 0 and file.read(1) != b"\n"


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
