"""The parts of a recipe that two runs must agree in, so that their answers are about the same rows and the same noise.

Model, prompts, engine and instructions are no part of them: what these change is what a comparison is to show.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmkit.parsing import JsonObject
from llmkit.recipe import Recipe

_LEFT_OUT = frozenset({"data.tasks", "data.limit", "data.data_dir", "data.skip_bad_lines"})
"""Keys of `data` and `perturb` that change which rows are asked, not what a row is: rows pair by their content."""
_JUDGED = ("eval.answer", "eval.scorer", "eval.draws")


def settings(recipe: Recipe) -> JsonObject:
    """Returns the settings by dotted key, without those at their default. A file of rows counts by its name alone,
    because a checkout can be in any folder."""
    values = _values(recipe)
    defaults = _values(Recipe())
    return {key: value for key, value in values.items() if value != defaults[key]}


def _values(recipe: Recipe) -> JsonObject:
    written = recipe.model_dump(mode="json")
    values = {
        f"{section}.{name}": value
        for section in ("data", "perturb")
        for name, value in written[section].items()
        if f"{section}.{name}" not in _LEFT_OUT
    }
    values |= {key: written["eval"][key.removeprefix("eval.")] for key in _JUDGED}
    if isinstance(values["data.path"], str):
        values["data.path"] = Path(values["data.path"]).name
    return {"seed": recipe.seed, "recipe version": recipe.version, **values}


def digest(values: Mapping[str, Any]) -> str:
    """Returns 12 hex digits of settings."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def differences(stored: Mapping[str, Any], recipe: Recipe) -> list[str]:
    """Returns what a recipe has otherwise than stored settings, one "key was A and is B" for each."""
    now, defaults = settings(recipe), _values(Recipe())
    return [
        f"{key} was {_shown(before)} and is {_shown(after)}"
        for key in sorted(stored.keys() | now.keys())
        if (before := stored.get(key, defaults.get(key))) != (after := now.get(key, defaults.get(key)))
    ]


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."
