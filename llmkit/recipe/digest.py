"""A short name for what a run computes: equal digests, equal results."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pydantic.fields import FieldInfo

from llmkit.recipe.schema import Recipe, Section
from llmkit.recipe.schema.base import Content, Later, Neutral
from llmkit.resources import repair_file


def digest(recipe: Recipe, *sections: str) -> str:
    """Returns 12 hex digits of version, seed and the named `sections` (all by default).

    Where results go and how many requests are in flight never change it: `output` and every `Neutral` field stay out,
    and a `Later` field while it has its default.
    """
    # The names of finished runs hang on every byte of `text`: tests/recipe/test_digest.py holds some of them.
    names = sections or [n for n in Recipe.model_fields if n not in ("version", "seed")]
    # `prompts` came after runs were named: those without any keep theirs.
    content = {name: _identity(value) for name in names if name != "output" and (value := getattr(recipe, name)) != ()}
    text = json.dumps(
        {"version": recipe.version, "seed": recipe.seed, **content}, sort_keys=True, separators=(",", ":")
    )
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _identity(value: Any) -> Any:
    """Returns a value without the parts that change no answer."""
    if isinstance(value, Section):
        return {
            name: _identity(_content(getattr(value, name)) if _is(Content, info) else getattr(value, name))
            for name, info in type(value).model_fields.items()
            if not _is(Neutral, info) and not (_is(Later, info) and getattr(value, name) == info.default)
        }
    if isinstance(value, dict):
        return {key: _identity(v) for key, v in value.items()}
    if isinstance(value, tuple | list):
        return [_identity(v) for v in value]
    return value


def _is(mark: type, info: FieldInfo) -> bool:
    return any(isinstance(one, mark) for one in info.metadata)


def _content(path: str | None) -> str | None:
    """Returns a digest of a repair; its name where it cannot be read, which whoever uses it will report."""
    try:
        return path and hashlib.sha256(repair_file(path).read_bytes()).hexdigest()
    except OSError:
        return path
