"""Answers of a server, whole or streamed, as what is compared: their text, their tool calls, and whether they end."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llmkit.engines.answers import arguments, texts
from llmkit.engines.reasoning import split_reasoning
from llmkit.proxy.headers import Headers, value
from llmkit.tasks.comparing import Response

MOST_BYTES = 4_000_000
"""The longest answer that is kept to be compared."""

_LINE_ENDS = re.compile(r"\r\n|\n|\r")


def read_answer(path: bytes, headers: Headers, content: bytes) -> Response | None:
    """Returns the answer of a whole body; None where it is not whole, has several choices, or cannot be read."""
    try:
        text = _decoded(headers, content).decode("utf-8")
        is_stream = (value(headers, b"content-type") or b"").lower().startswith(b"text/event-stream")
        answers = list(_events(text)) if is_stream else [json.loads(text)]
        if path == b"/v1/responses":
            return _response(answers, is_stream)
        return _choice(answers, is_stream)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, zlib.error):
        return None


def _decoded(headers: Headers, content: bytes) -> bytes:
    encoding = (value(headers, b"content-encoding") or b"identity").lower()
    if encoding == b"identity":
        return content
    if encoding not in (b"gzip", b"deflate"):
        raise ValueError(encoding)
    reader = zlib.decompressobj(zlib.MAX_WBITS | 32)  # either, by its head
    decoded = reader.decompress(content, MOST_BYTES)
    if not reader.eof:
        raise ValueError("longer than what is kept, or cut")
    return decoded


def _events(text: str) -> Iterator[Any]:
    """Yields the data of each event. ValueError where the stream breaks off within one."""
    data: list[str] = []
    for line in _LINE_ENDS.split(text):
        if line.startswith("data:"):
            data.append(line[5:].removeprefix(" "))
        elif not line and data:
            written = "\n".join(data)
            data = []
            if written != "[DONE]":
                yield json.loads(written)
    if data:
        raise ValueError("cut")


def _choice(answers: Sequence[Any], is_stream: bool) -> Response | None:
    """Returns the one choice of a chat or a completion, from its pieces."""
    said, reason = [], None
    calls: dict[int, dict[str, str]] = {}
    for answer in answers:
        for choice in answer.get("choices") or ():
            if choice.get("index", 0) != 0:
                return None
            message = choice.get("delta" if is_stream else "message") or {}
            content = choice.get("text") or message.get("content") or message.get("refusal")
            said.append(texts(content)[0])
            for place, call in enumerate(message.get("tool_calls") or ()):
                function = call.get("function") or {}
                known = calls.setdefault(call.get("index", place), {"name": "", "arguments": ""})
                for part in known:
                    known[part] += function.get(part) or ""
            reason = choice.get("finish_reason") or reason
    if reason is None:
        return None
    made = [_call(call["name"], call["arguments"]) for _, call in sorted(calls.items())]
    return Response(split_reasoning("".join(said))[0], made, cut=reason == "length")


def _response(answers: Sequence[Any], is_stream: bool) -> Response | None:
    """Returns a response's texts and calls; of a stream its last event holds them all."""
    answer = answers[-1] if answers else {}
    if is_stream:
        if answer.get("type") not in ("response.completed", "response.incomplete"):
            return None
        answer = answer["response"]
    said, calls = [], []
    for item in answer["output"]:
        if item["type"] == "message":
            said += [part.get("text") or part.get("refusal") or "" for part in item["content"]]
        elif item["type"] == "function_call":
            calls.append(_call(item["name"], item["arguments"]))
    if answer.get("status") not in ("completed", "incomplete"):
        return None
    return Response("".join(said), calls, cut=answer["status"] == "incomplete")


def _call(name: str, written: str) -> Mapping[str, Any]:
    return {"name": name, "arguments": arguments(written, str)}
