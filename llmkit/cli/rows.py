"""A file of the user's own rows in the place of a recipe: `llmkit eval tickets.csv --field body`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmkit.cli.common import note

if TYPE_CHECKING:
    from llmkit.recipe import Loaded, Override
    from llmkit.recipe.schema import Recipe

ROWS = (".csv", ".jsonl", ".parquet")
_NOISE = "like:typist"
_IN_OTHER_LANGUAGES = "typing"  # on the keys of any language: `typist` knows the errors of English words only
_RATE = 0.05
_LEAST_KNOWN = 0.6  # share of words that common English has; other languages with Latin letters have .05 to .24


def is_rows(source: str | None) -> bool:
    """Returns whether an argument names rows. Any other names a recipe."""
    return source is not None and source.lower().endswith(ROWS)


def defaults(source: str) -> list[Override]:
    """Returns what a file of rows stands for: every row, without answers, under the errors of typists."""
    from llmkit.recipe import Override

    keys = {
        "data.path": source,
        "data.split": "all",
        "data.answer": None,
        "data.kind": "text",
        "perturb.conditions": [_NOISE],
        "perturb.rate": _RATE,
    }
    return [Override(key, value, source) for key, value in keys.items()]


def noise_in_their_language(loaded: Loaded, source: str) -> list[Override]:
    """Returns the change for rows that are not in English, unless the user names the noise: the default would leave
    them as they are."""
    from llmkit.recipe import Override

    origin = loaded.origin("perturb.conditions")
    if not origin or origin.source != source or _is_english(loaded.recipe, source):
        return []
    return [Override("perturb.conditions", [_IN_OTHER_LANGUAGES], source)]


def _is_english(recipe: Recipe, source: str) -> bool:
    """Returns whether rows are in English, by the language that the user names or else by their words."""
    from llmkit.perturb.english import share_known
    from llmkit.tasks import load

    if recipe.perturb.lang:
        return recipe.perturb.lang == "en"
    questions = load(recipe.data, seed=recipe.seed, noisy=recipe.perturb.fields)
    share = share_known(question.text for question in questions)
    if share is None or share >= _LEAST_KNOWN:
        return True
    note(f"{source}: {share:.0%} of the words are common English, so the noise is `{_IN_OTHER_LANGUAGES}`")
    return False


def keep_a_pool(loaded: Loaded, source: str) -> list[Override]:
    """Returns the change for a run that tunes on some of the rows: only the test part of them is measured then, unless
    the user names a split."""
    from llmkit.recipe import Override

    origin = loaded.origin("data.split")
    return [Override("data.split", "test", source)] if origin and origin.source == source else []
