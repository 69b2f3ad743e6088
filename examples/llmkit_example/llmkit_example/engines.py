"""An engine: what answers requests. This one is a script that needs no model."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

from llmkit.engines import EngineIdentity, Key
from llmkit.errors import EngineError
from llmkit.recipe.schema import EngineSection, ModelSection
from llmkit.types import Reply, Request, Usage
from llmkit_example.kinds import DAYS

_TODAY = re.compile(rf"is ({'|'.join(day.capitalize() for day in DAYS)})\.")
_DISTANCE = re.compile(r"in (\d+) days")


class CalendarEngine:
    """Answers questions of the task `weekdays` where it can read the day and the distance as they were written."""

    kind: ClassVar[str] = "calendar"
    identity_is_local: ClassVar[bool] = True
    capabilities: ClassVar[frozenset[str]] = frozenset()  # it cannot compare continuations (`likelihood`)
    canary = None

    @classmethod
    def takes(cls, model: ModelSection, section: EngineSection) -> bool:
        """Returns False: `auto` chooses another engine, and users name this one."""
        return False

    def __init__(self, model: ModelSection, section: EngineSection) -> None:
        self.identity = EngineIdentity(kind=self.kind, version="1", model=str(model.path), revision="1")
        self._pending: list[tuple[Key, Request]] = []

    def submit(self, key: Key, request: Request) -> None:
        """Takes a request. Its reply comes from `drain` under the same key."""
        self._pending.append((key, request))

    def drain(self) -> Iterator[tuple[Key, Reply | EngineError]]:
        """Yields replies until nothing is pending; an EngineError in the place of a reply that failed."""
        while self._pending:
            key, request = self._pending.pop()
            prompt = request.messages[-1].content
            text = _answer(prompt)
            yield key, Reply(text, usage=Usage(prompt=len(prompt.split()), completion=len(text.split())))

    def close(self) -> None:
        """Drops what is pending."""
        self._pending.clear()


def _answer(prompt: str) -> str:
    today, distance = _TODAY.search(prompt), _DISTANCE.search(prompt)
    if today is None or distance is None:
        return "Monday? Tuesday?\nI cannot read this."
    day = DAYS[(DAYS.index(today[1].lower()) + int(distance[1])) % 7]
    return f"From {today[1]} I count {distance[1]} days.\nThe answer is {day.capitalize()}."
