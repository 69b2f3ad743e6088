"""Runs generators of requests (`types.Steps`) by hand: the only code that resumes one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from llmkit.errors import EngineError
from llmkit.types import Ask, Reply, Request, Steps


class Walk:
    """One pass through a generator of requests. `result` is what it returned, once it has."""

    __slots__ = ("_asked_many", "_steps", "result")

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._asked_many = False
        self.result: Any = None

    def resume(self, replies: Sequence[Reply | EngineError] = ()) -> list[Request] | None:
        """Sends the replies to what was asked last, in that order; returns the next requests, or None at the end.

        The first call, without replies, begins. The first EngineError among the replies is thrown in their place: the
        generator may catch it and ask something else. What the generator itself raises passes through.
        """
        errors = [reply for reply in replies if isinstance(reply, EngineError)]
        try:
            if errors:
                asked = self._steps.throw(errors[0])
            elif self._asked_many:
                asked = self._steps.send(list(replies))
            else:
                asked = self._steps.send(replies[0] if replies else None)
        except StopIteration as end:
            self.result = end.value
            return None
        # Who asks with a list is sent a list, also where it holds one request or none.
        self._asked_many = isinstance(asked, list)
        return asked if isinstance(asked, list) else [asked]


def drive(steps: Steps, answer: Callable[[Request], Reply | EngineError]) -> Any:
    """Runs a generator to its end, with every reply from `answer`, and returns its result.

    Where `answer` raises, the generator is closed and the exception passes through.
    """
    walk = Walk(steps)
    try:
        requests = walk.resume()
        while requests is not None:
            requests = walk.resume([answer(request) for request in requests])
    finally:
        steps.close()
    return walk.result


def mapped(steps: Steps, change: Callable[[Request], Request]) -> Steps:
    """Passes a generator on with each request changed on its way out; replies and errors reach it as they are."""
    walk = Walk(steps)
    requests = walk.resume()
    while requests is not None:
        replies: Sequence[Reply | EngineError]
        try:
            replies = yield [change(request) for request in requests]
        except EngineError as error:
            replies = [error]
        requests = walk.resume(replies)
    return walk.result


def ask_one(request: Request) -> Steps:
    """Asks one request and returns its reply."""
    return (yield request)


def ask_all(requests: Mapping[str, Request], ask: Ask) -> dict[str, Reply | None]:
    """Returns the reply to each named request, all asked at once; None where a call failed."""
    return dict(ask((name, ask_one(request)) for name, request in requests.items()))
