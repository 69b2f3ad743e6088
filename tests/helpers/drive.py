"""Drives a generator of requests with a function that answers, and notes what it asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llmkit import steps as by_hand
from llmkit.types import Reply, Request, Steps


def drive(steps: Steps, answer: Callable[[Request], Reply | str]) -> tuple[Any, list[Request]]:
    """The generator's result, and every request that it made, in order."""
    asked: list[Request] = []

    def one(request: Request) -> Reply:
        asked.append(request)
        reply = answer(request)
        return Reply(reply) if isinstance(reply, str) else reply

    return by_hand.drive(steps, one), asked
