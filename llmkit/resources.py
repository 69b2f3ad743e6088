"""Where llmkit's own files are (prompts, recipes, adapters; in a wheel or a checkout), and the user's cache folder."""

from __future__ import annotations

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def shipped(kind: str) -> Path:
    """The folder of shipped `prompts`, `recipes` or `adapters`: inside the package in a wheel, else beside it."""
    inside = _PACKAGE / f"_{kind}"
    return inside if inside.is_dir() else _PACKAGE.parent / kind


def cache_dir() -> Path:
    """Returns the user's cache folder: `LLMKIT_CACHE`, else the platform's usual place."""
    if given := os.environ.get("LLMKIT_CACHE"):
        return Path(given).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("llmkit", appauthor=False)
