"""Folders of llmkit's own files (prompts, recipes, adapters, examples; in a wheel or a checkout) and of the user's
cache."""

from __future__ import annotations

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def shipped(kind: str) -> Path:
    """Returns the folder of shipped `prompts`, `recipes`, `adapters` or `examples`: inside the package in a wheel, else
    beside it."""
    packaged_folder = _PACKAGE / f"_{kind}"
    return packaged_folder if packaged_folder.is_dir() else _PACKAGE.parent / kind


def repair_file(path: str | Path) -> Path:
    """Returns the repair.json that a path, or the name of a shipped adapter, stands for; a file of the user's own comes
    first. It may not exist."""
    beside_adapter = shipped("adapters") / path / "repair.json"
    return beside_adapter if not Path(path).exists() and beside_adapter.is_file() else Path(path)


def cache_dir() -> Path:
    """Returns the user's cache folder: `LLMKIT_CACHE`, else the platform's usual place."""
    if chosen_folder := os.environ.get("LLMKIT_CACHE"):
        return Path(chosen_folder).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("llmkit", appauthor=False)
