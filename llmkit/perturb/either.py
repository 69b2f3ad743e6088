"""Noise from a file where it has some for a question, and an operator's elsewhere: `file:PATH|ec`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random

from llmkit.perturb.base import Operator, TextEdit
from llmkit.perturb.languages import Language
from llmkit.perturb.text import PlainChange, Source


class Either(TextEdit):
    """Takes a text's noise from the first operator, or from the second where the first has none for it."""

    level = "file"
    adds_numbers = True

    def __init__(self, first: Operator | None, second: Operator) -> None:
        self.first, self.second = first, second
        self.name, self.default_rate = second.name, second.default_rate
        self.nothing, self.changes_numbers = second.nothing, second.changes_numbers

    def as_paper(self) -> Either:
        return Either(self.first, self.second.as_paper())

    def in_language(self, language: Language) -> Operator | None:
        """Returns the same for another language: the file alone where the second operator does not serve it."""
        second = self.second.in_language(language)
        return Either(self.first, second) if second else self.first

    def wanted(self, source: Source, rate: float) -> int:
        return len(self._given(source, Random(0))) or self.second.wanted(source, rate)

    def wanted_as_paper(self, source: Source) -> int:
        return len(self._given(source, Random(0))) or self.second.wanted_as_paper(source)

    def changes(self, source: Source, wanted: int, rng: Random) -> Sequence[PlainChange]:
        return self._given(source, rng) or self.second.changes(source, wanted, rng)

    def _given(self, source: Source, rng: Random) -> Sequence[PlainChange]:
        return self.first.changes(source, 1, rng) if self.first else ()


def located(path: str, data_dir: str | None) -> Path:
    """Returns the path as given, or inside the data folder if it exists only there."""
    import os

    given_path, data_folder = Path(path).expanduser(), data_dir or os.environ.get("LLMKIT_DATA_DIR")
    path_in_folder = Path(data_folder).expanduser() / given_path if data_folder else given_path
    return (
        path_in_folder
        if not given_path.is_absolute() and not given_path.exists() and path_in_folder.exists()
        else given_path
    )
