"""The texts of a request that its user wrote, and the request with some of them in other words."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from llmkit.proxy.positions import Path, located, replaced, written

Texts = Iterator[tuple[Path, str]]


_MOST_PARTS = 100_000
"""Commas and opening brackets of a body: reading more would keep every other request waiting for tens of
milliseconds. A picture has none, whatever its length."""
_MOST_TURNS = 1000


class Unreadable(ValueError):
    """A body that is no JSON object, or one that takes too long to be read. Its text is the reason, in a few words."""


class Turn(NamedTuple):
    """One text of a user and its place in the request."""

    path: Path
    text: str


def _chat(body: Mapping[str, Any]) -> Texts:
    """Yields the texts of the user's messages; of a message of several parts, those of its text."""
    yield from _messages(body.get("messages"), ("messages",), "text")


def _completion(body: Mapping[str, Any]) -> Texts:
    """Yields the prompt, or each of several. Prompts of token ids are no texts."""
    prompt = body.get("prompt")
    if isinstance(prompt, str):
        yield ("prompt",), prompt
    elif isinstance(prompt, list):
        yield from ((("prompt", number), text) for number, text in enumerate(prompt) if isinstance(text, str))


def _response(body: Mapping[str, Any]) -> Texts:
    """Yields the input, or the texts of the user's messages in it."""
    given = body.get("input")
    if isinstance(given, str):
        yield ("input",), given
    else:
        yield from _messages(given, ("input",), "input_text")


ENDPOINTS: Mapping[str, Callable[[Mapping[str, Any]], Texts]] = {
    "/v1/chat/completions": _chat,
    "/v1/completions": _completion,
    "/v1/responses": _response,
}
"""The paths whose requests hold a user's texts, and how to find them."""


def _messages(messages: Any, place: Path, kind: str) -> Texts:
    for number, message in enumerate(messages if isinstance(messages, list) else ()):
        if not isinstance(message, dict) or message.get("role") != "user":
            continue
        content, here = message.get("content"), (*place, number, "content")
        if isinstance(content, str):
            yield here, content
        for part_number, part in enumerate(content if isinstance(content, list) else ()):
            if isinstance(part, dict) and part.get("type") == kind and isinstance(part.get("text"), str):
                yield (*here, part_number, "text"), part["text"]


def parsed(body: bytes) -> dict[str, Any]:
    """Returns the object that a body holds. Raises Unreadable where a server may read something else, or nothing."""
    if sum(map(body.count, (b",", b"[", b"{"))) > _MOST_PARTS:
        raise Unreadable("too many parts")
    try:
        tree = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        raise Unreadable("not JSON") from None
    if not isinstance(tree, dict):
        raise Unreadable("not JSON")
    return tree


def turns(endpoint: str, tree: Mapping[str, Any]) -> list[Turn]:
    """Returns the user's texts of a request, in order. Raises Unreadable where there are too many."""
    found = [Turn(path, text) for path, text in ENDPOINTS[endpoint](tree) if text]
    if len(found) > _MOST_TURNS:
        raise Unreadable("too many parts")
    return found


def with_texts(body: bytes, changes: Mapping[Turn, str]) -> bytes:
    """Returns the body with other texts in some turns: only those JSON strings differ. Raises Unreadable where a turn
    is not found again."""
    if not changes:
        return body
    spans = located(body, {turn.path: turn for turn in changes})
    values = {}
    for turn, text in changes.items():
        span = spans.get(turn.path)
        before = b"" if span is None else body[span.start : span.end]
        if span is None or not before.startswith(b'"') or json.loads(before) != turn.text:
            raise Unreadable("not found again")
        values[span] = written(text, before)
    return replaced(body, values)
