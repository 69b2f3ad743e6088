"""The replies that a run has already paid for: those in its journal, and those in the shared cache."""

from __future__ import annotations

from collections.abc import Iterable

from llmkit.engines import ResponseCache, decode_reply
from llmkit.engines.claims import Claims
from llmkit.runs.journal import Row
from llmkit.types import Reply


def tokens_asked(rows: Iterable[Row]) -> int:
    """Counts the tokens of the calls in a journal that a model answered, not the cache."""
    replies = (decode_reply(call["reply"]) for row in rows for call in row.get("calls", ()) if not call["cached"])
    return sum(reply.usage.prompt + reply.usage.completion for reply in replies)


class KnownReplies:
    """The replies that a run's own journal holds, before those of the shared cache: a resumed run asks nothing twice,
    also where the cache is off or was cleared. A run that began anew has a `place` of its own in that cache.

    Unless it `keeps` texts, nothing new is put there.
    """

    def __init__(
        self, rows: Iterable[Row], cache: ResponseCache | None, place: str = "", *, keeps: bool = True
    ) -> None:
        self._place = place
        spoken = (row for row in rows if "hidden" not in row)
        self._mine = {call["id"]: call["reply"] for row in spoken for call in row.get("calls", ())}
        self._cache, self._keeps = cache, keeps

    @property
    def claims(self) -> Claims | None:
        """Claims on what others may ask as well: none where they would not find the answer under the same key."""
        return self._cache.claims if self._cache and self._keeps and not self._place else None

    def get(self, key: str) -> Reply | None:
        # Without the place: the journal's rows are of this generation alone.
        if key in self._mine:
            return decode_reply(self._mine[key])
        return self._cache.get(key + self._place) if self._cache else None

    def put(self, key: str, reply: Reply) -> None:
        if self._cache and self._keeps:
            self._cache.put(key + self._place, reply)
