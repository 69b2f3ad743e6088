"""A file of the user's own rows in the place of a recipe: `llmkit eval tickets.csv --field body`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmkit.recipe import Loaded, Override

ROWS = (".csv", ".jsonl", ".parquet")


def is_rows(source: str | None) -> bool:
    """Returns whether an argument names rows. Any other names a recipe."""
    return source is not None and source.lower().endswith(ROWS)


def defaults(source: str) -> list[Override]:
    """Returns what a file of rows stands for: every row, without answers, under the noise of typing."""
    from llmkit.recipe import Override

    keys = {
        "data.path": source,
        "data.split": "all",
        "data.answer": None,
        "data.kind": "text",
        "perturb.conditions": ["typing"],
        "perturb.rate": 0.05,
    }
    return [Override(key, value, source) for key, value in keys.items()]


def keep_a_pool(loaded: Loaded, source: str) -> list[Override]:
    """Returns the change for a run that tunes on some of the rows: only the test part of them is measured then, unless
    the user names a split."""
    from llmkit.recipe import Override

    origin = loaded.origin("data.split")
    return [Override("data.split", "test", source)] if origin and origin.source == source else []
