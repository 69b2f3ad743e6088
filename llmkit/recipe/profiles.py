"""Profiles: named settings of a paper, as overrides that any recipe can be given."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llmkit.recipe.load import Override, load, shipped_recipes
from llmkit.registry import unknown

_PREFIX = "base/profile-"  # of the shipped recipe that holds a profile's settings


def profile_overrides(name: str) -> list[Override]:
    """Returns the keys that a profile sets. They go before all other overrides, so that a user can still change them.

    Only the keys in the profile's own file and in those that it extends are set: its defaults are no settings of the
    paper, and would undo what a recipe says.
    """
    known = [recipe.removeprefix(_PREFIX) for recipe in shipped_recipes() if recipe.startswith(_PREFIX)]
    if name not in known:
        raise unknown("profile", name, known)
    tree = load(f"{_PREFIX}{name}").tree
    settings = {key: value for key, value in tree.items() if key != "version"}
    return [Override(key, value, f"--profile {name}") for key, value in _leaves(settings, "")]


def _leaves(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Yields every value that is no section, under its dotted key."""
    if not isinstance(value, dict):
        yield key, value
        return
    for name, inner in value.items():
        yield from _leaves(inner, f"{key}.{name}" if key else name)
