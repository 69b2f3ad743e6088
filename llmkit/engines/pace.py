"""A bound on requests a second."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable


class Pace:
    """At most `rate` requests a second, evenly spaced; with None nobody waits. Several threads may share one."""

    def __init__(self, rate: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._gap = None if rate is None else 1 / rate
        self._clock = clock
        self._next = clock()
        self._lock = threading.Lock()

    def reserve(self) -> float:
        """Takes the next free moment, and returns the seconds until then."""
        if self._gap is None:
            return 0.0
        # What was not used while nobody asked is lost: a burst afterwards is what a rate limit refuses.
        with self._lock:
            now = self._clock()
            moment = max(now, self._next)
            self._next = moment + self._gap
            return moment - now

    async def turn(self) -> None:
        """Waits until a request may be sent."""
        if wait := self.reserve():
            await asyncio.sleep(wait)
