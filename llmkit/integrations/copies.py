"""Noise for the rows of another harness: one noise, checked once, then applied to one text after the other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from llmkit.conditions import Condition
from llmkit.errors import DataError, UsageError
from llmkit.perturb import Perturber
from llmkit.perturb.engine import PerturbationRecord
from llmkit.perturb.english import is_english
from llmkit.perturb.spec import spec_names

PERTURBATION = "perturbation"
"""The key of a row under which the record of its noise is."""


class Copies:
    """One noise ("typing@0.05", "ec+uic"), always the same for the same seed, id and text.

    UsageError for a name that is no noise, for several at once, and for one that a model writes.
    """

    def __init__(self, noise: str, seed: int = 7) -> None:
        if len(spec_names(noise)) != 1:
            raise UsageError(f"`{noise}` is not one noise", "make a task for each, as `typing@0.05`")
        condition = Condition.parse(noise.strip())
        if not condition.noisy:
            raise UsageError(f"`{noise}` changes nothing", "name a noise such as `typing@0.05`: llmkit perturb --list")
        self._settings: tuple[str, float | None, int] = (condition.spec, condition.rate, seed)
        self._perturber = Perturber(*self._settings)
        if self._perturber.most_calls:
            raise UsageError(
                f"`{noise}` needs a model, and inside another harness there is none to ask",
                "write a file with `llmkit perturb --model MODEL`, then use `file:PATH`",
            )

    def fit(self, texts: Iterable[str]) -> None:
        """Leaves operators for English words out where the set is not in English, with a warning."""
        if self._perturber.for_english and not is_english(texts, self._perturber.for_english):
            self._perturber = Perturber(*self._settings, english=False)

    def of(
        self, text: str, id: str, options: Sequence[str] = (), gold: str | None = None
    ) -> tuple[str, PerturbationRecord]:
        """Returns a noisy copy of a text that keeps its answer, and the record of its edits."""
        copy = self._perturber.apply(text, id, options=options, gold=gold)
        return copy.text, self._perturber.record(text, copy)


def held_in(row: Mapping[str, Any], field: str, where: str) -> Any:
    """Returns what a row has in a field. DataError where it has no such field."""
    if field not in row:
        raise DataError(f"{where} has no field `{field}`", f"it has {', '.join(map(str, row)) or 'none'}")
    return row[field]


def text_in(row: Mapping[str, Any], field: str, where: str) -> str:
    """Returns the text in a field of a row. DataError where it has no such field or something else in it."""
    held = held_in(row, field, where)
    if not isinstance(held, str):
        raise DataError(f"{where}: `{field}` is {type(held).__name__}, not a text", "name a field with text")
    return held
