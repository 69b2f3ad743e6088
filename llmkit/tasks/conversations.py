"""The texts of a row that noise falls on: its fields, and the user turns of a logged conversation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from llmkit.errors import DataError
from llmkit.types import Part

FIELD = "messages"  # the field that holds a conversation where no other is named
_ROLES = ("system", "user", "assistant", "tool")
_FORM = "a conversation is a list of {role, content}, with one turn of the user at least"


def parts_of(field: str, value: Any) -> list[Part]:
    """Returns the texts of a field: itself, or the user turns where it is a conversation. DataError where it is
    neither."""
    if value is None:
        return [Part(field, None, "")]
    if isinstance(value, str):
        return [Part(field, None, value.strip())]
    if not isinstance(value, list):
        raise DataError(f"the field `{field}` is no text but {json.dumps(value, default=str)[:60]}")
    for number, turn in enumerate(value, 1):
        _refuse_turn(turn, f"the field `{field}`: turn {number}")
    parts = [Part(field, number, turn["content"]) for number, turn in enumerate(value) if turn["role"] == "user"]
    if not any(part.text.strip() for part in parts):
        raise DataError(f"the field `{field}` is a conversation in which the user says nothing", _FORM)
    return parts


def _refuse_turn(turn: Any, name: str) -> None:
    if not isinstance(turn, Mapping):
        raise DataError(f"{name} is no map but {json.dumps(turn, default=str)[:60]}", _FORM)
    role, content = turn.get("role"), turn.get("content")
    if role not in _ROLES:
        told = "has no role" if role is None else f"has the role {json.dumps(role, default=str)[:40]}"
        raise DataError(f"{name} {told}: it is {', '.join(_ROLES[:-1])} or {_ROLES[-1]}", _FORM)
    # A turn of the assistant that calls tools says nothing.
    silent = role == "assistant" and content is None and "tool_calls" in turn
    if not isinstance(content, str) and not silent:
        raise DataError(f"{name} has no text as its content but {json.dumps(content, default=str)[:60]}", _FORM)
