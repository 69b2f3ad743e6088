"""Reads the answers of OpenAI-compatible servers in the forms that they really take."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any, TypeGuard

from llmkit.parsing import parse_json
from llmkit.types import ToolCall, Usage

_LONGEST_WORDS = 500  # characters kept of what a server says of a failure
_LONGEST_READ = 4000  # characters looked at to find them
_THOUGHTS = ("thinking", "reasoning", "thought")
_ARGUMENTS = ("arguments", "args", "input", "parameters")  # of a tool call, by its provider
_FILTERS = ("content_filter", "content_policy_violation", "responsibleaipolicyviolation")


def first_choice(answer: Any) -> Any:
    """Returns the choice that holds the reply. Raises ValueError where there is none that can be read."""
    choices = getattr(answer, "choices", None)
    if not isinstance(choices, list) or not choices:
        raise ValueError(f"the answer has no choices{_quoted(answer)}")
    return choices[0]


def said_in_chat(choice: Any) -> tuple[str, str]:
    """Returns the text and the reasoning of a chat choice. Raises ValueError where it has neither, without a filter to
    explain it."""
    message = getattr(choice, "message", None)
    if not hasattr(message, "content"):
        if finish_reason(choice) == "content_filter":
            return "", ""
        raise ValueError("the answer has no message")
    text, inline = texts(getattr(message, "content", None))
    thought = getattr(message, "reasoning_content", None) or getattr(message, "reasoning", None)
    if not isinstance(thought, str | list | dict):  # what the answer does not need cannot spoil it
        thought = None
    # a refusal is an answer: it stands in a field of its own, where the content is empty
    return text or texts(getattr(message, "refusal", None))[0], "\n".join(p for p in (*texts(thought), inline) if p)


def texts(content: Any, thinking: bool = False) -> tuple[str, str]:
    """Returns text and reasoning in a message's content: a string, nothing, or a list of parts, as reasoning servers
    send.

    TypeError for anything else: it is not an empty answer, which would count as a wrong one.

    >>> texts([{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "4"}])
    ('4', 'hm')
    """
    if isinstance(content, str):
        return ("", content) if thinking else (content, "")
    if isinstance(content, list):
        parts = [texts(part, thinking) for part in content]
        return "".join(text for text, _ in parts), "".join(thought for _, thought in parts)
    if isinstance(content, dict):
        thinking = thinking or any(word in str(content.get("type", "")) for word in _THOUGHTS)
        inner = next((content[key] for key in ("text", "content", *_THOUGHTS, "summary") if content.get(key)), None)
        return texts(inner, thinking)
    if content is not None:
        raise TypeError(f"{type(content).__name__} is no content of a message")
    return "", ""


def tool_calls(choice: Any, clean: Callable[[str], str]) -> tuple[ToolCall, ...]:
    """Returns the tools that a chat choice calls, in order, with what `clean` leaves of their arguments."""
    calls = getattr(getattr(choice, "message", None), "tool_calls", None)
    functions = [getattr(call, "function", None) for call in calls] if isinstance(calls, list) else []
    return tuple(
        ToolCall(name, arguments(getattr(function, "arguments", None), clean))
        for function in functions
        if isinstance(name := getattr(function, "name", None), str)
    )


def named_call(call: Any, clean: Callable[[str], str]) -> ToolCall:
    """Returns a tool call in whichever provider's form it has. Raises ValueError for what is none.

    >>> named_call({"function": {"name": "refund", "arguments": '{"order": 7}'}}, str)
    ToolCall(name='refund', arguments={'order': 7})
    """
    inner = call.get("function", call) if isinstance(call, dict) else None
    name = inner.get("name") if isinstance(inner, dict) else None
    if not isinstance(inner, dict) or not isinstance(name, str):
        raise ValueError(one_line(json.dumps(call, ensure_ascii=False)))
    written = next((inner[key] for key in _ARGUMENTS if key in inner), None)
    return ToolCall(clean(name), None if written is None else arguments(written, clean))


def arguments(written: Any, clean: Callable[[str], str]) -> Any:
    """Returns the arguments of a tool call: the JSON value that a model wrote, else its text as it is."""
    text = clean(written if isinstance(written, str) else json.dumps(written))
    try:
        return parse_json(text)
    except ValueError:
        return text


def finish_reason(choice: Any) -> str:
    """Returns why the reply ended; `stop` where the server does not say."""
    reason = getattr(choice, "finish_reason", None)
    return reason if isinstance(reason, str) and reason else "stop"


def usage_of(answer: Any) -> Usage:
    """Returns the tokens that a server counted."""
    usage = getattr(answer, "usage", None)
    details = getattr(usage, "prompt_tokens_details", None)
    counts = (getattr(usage, "prompt_tokens", 0), getattr(usage, "completion_tokens", 0))
    return Usage.reported(*counts, getattr(details, "cached_tokens", 0))


def first_tokens(choice: Any) -> dict[str, float]:
    """Returns the likeliest first tokens of a chat choice with their log-probabilities, in nats; empty where it has
    none."""
    content = getattr(getattr(choice, "logprobs", None), "content", None)
    if not isinstance(content, list) or not content:
        return {}
    tokens = getattr(content[0], "top_logprobs", None) or []
    pairs = [(getattr(t, "token", None), getattr(t, "logprob", None)) for t in tokens]
    return {token: round(p, 4) for token, p in pairs if isinstance(token, str) and is_number(p)}


def is_number(value: Any) -> TypeGuard[float]:
    """Returns whether a JSON value is a finite number."""
    return isinstance(value, int | float) and math.isfinite(value)


def is_filtered(body: Any) -> bool:
    """Returns whether the JSON of an error is a provider's content filter at work: the question was asked, and the
    answer is a refusal."""
    body = body if isinstance(body, dict) else {}
    inner = body.get("innererror")
    names = [body.get("code"), body.get("type"), inner.get("code") if isinstance(inner, dict) else None]
    return any(isinstance(name, str) and name.lower() in _FILTERS for name in names)


def words_of(body: Any, otherwise: str) -> str:
    """Returns what a server said of a failure, in one line; `otherwise` where it says nothing."""
    said = (body.get("message") or body.get("detail")) if isinstance(body, dict) else body
    return one_line(str(said or otherwise))


def one_line(text: str) -> str:
    """Returns text without tags and line breaks, cut to what a message has room for."""
    plain = re.sub(r"<(?:(?:script|style)\b.*?</|[^>]{0,200}>)", " ", text[:_LONGEST_READ], flags=re.DOTALL)
    return " ".join(plain.split())[:_LONGEST_WORDS]


def _quoted(answer: Any) -> str:
    return f": {one_line(answer)}" if isinstance(answer, str) and answer.strip() else ""
