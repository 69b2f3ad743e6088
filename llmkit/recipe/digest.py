"""A short name for what a run computes: equal digests, equal results."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from llmkit.recipe.schema import Recipe, Section
from llmkit.recipe.schema.base import Later, Neutral


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
            name: _identity(getattr(value, name))
            for name, info in type(value).model_fields.items()
            if not any(isinstance(m, Neutral) for m in info.metadata)
            and not (any(isinstance(m, Later) for m in info.metadata) and getattr(value, name) == info.default)
        }
    if isinstance(value, dict):
        return {key: _identity(v) for key, v in value.items()}
    if isinstance(value, tuple | list):
        return [_identity(v) for v in value]
    return value
