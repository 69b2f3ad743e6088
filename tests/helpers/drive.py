"""Drives a generator of requests with a function that answers, as the runner does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llmkit.types import Reply, Request, Steps


def drive(steps: Steps, answer: Callable[[Request], Reply | str]) -> tuple[Any, list[Request]]:
    """The generator's result, and every request that it made, in order."""
    asked: list[Request] = []

    def one(request: Request) -> Reply:
        asked.append(request)
        reply = answer(request)
        return Reply(reply) if isinstance(reply, str) else reply

    sent: Any = None
    try:
        while True:
            wanted = steps.send(sent)
            sent = [one(r) for r in wanted] if isinstance(wanted, list) else one(wanted)
    except StopIteration as stop:
        return stop.value, asked
