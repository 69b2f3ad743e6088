"""Sampling rules that every engine shares."""

from __future__ import annotations

from llmkit.seeds import derive
from llmkit.types import Request


def request_seed(request: Request) -> int | None:
    """Returns the 31-bit seed a sampled request runs with; None where it is greedy.

    Without a seed of its own it gets one from its messages, so that order and batch never change a result.
    Replicates of one request get different seeds.
    """
    sampling = request.sampling
    if sampling.temperature == 0:
        return None
    if sampling.seed is not None and request.replicate == 0:
        return sampling.seed & 0x7FFFFFFF
    said = "\x1e".join(f"{m.role}:{m.content}" for m in request.messages)
    return derive(sampling.seed or 0, said, request.replicate) & 0x7FFFFFFF


def cut_at_stop(text: str, stop: tuple[str, ...]) -> tuple[str, bool]:
    """Returns `text` before the first of the stop strings, and whether there was one."""
    found = [at for s in stop if s and (at := text.find(s)) >= 0]
    return (text[: min(found)], True) if found else (text, False)
