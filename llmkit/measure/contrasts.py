"""Weighted differences of cells by question, with their intervals and tests."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Generic, Literal, NamedTuple, TypeVar

from llmkit.measure import statistics
from llmkit.measure.cells import Cells, Weights
from llmkit.measure.statistics import Mean

if TYPE_CHECKING:
    from llmkit.measure.statistics import Floats

Name = TypeVar("Name", bound=Hashable)


class Contrast(NamedTuple):
    """The name of a contrast of one run."""

    kind: Literal["mean", "drop", "gain", "area", "holdout"]
    arm: str
    condition: str
    """The operator, for the area under its curve."""
    held_out: str = ""
    """The kind of noise that tuning never saw."""


Means = dict[Contrast, Mean | None]


class Contrasts(Generic[Name]):
    """Named contrasts of cells, with their means and tests."""

    def __init__(self, cells: Cells) -> None:
        self.cells = cells
        self.columns: dict[Name, Floats] = {}
        self.bounds: list[tuple[float, float]] = []

    def add(self, name: Name, weights: Weights) -> bool:
        """Asks for a contrast; False where one of its cells is missing."""
        column = self.cells.contrast(weights)
        if column is None:
            return False
        least, greatest = (self.cells.reach * sum(pick(w, 0) for w in weights.values()) for pick in (min, max))
        self.add_column(name, column, (least, greatest))
        return True

    def add_column(self, name: Name, column: Floats, bounds: tuple[float, float]) -> None:
        """Asks for the mean of (Q,) values that lie within `bounds`."""
        self.columns[name] = column
        self.bounds.append(bounds)

    def solve(self, level: float) -> dict[Name, Mean | None]:
        """Computes every contrast's mean; None where no question has all its cells."""
        import numpy as np

        if not self.columns:
            return {}
        values = np.stack(list(self.columns.values()), axis=1)
        means = statistics.contrasts(values, self.cells.clusters, self.bounds, level)
        return dict(zip(self.columns, means, strict=True))

    def flip_p(self, names: Sequence[Name], draws: int, seed: int) -> dict[Name, float]:
        """Computes sign-flip p-values of some of the contrasts."""
        import numpy as np

        if not names:
            return {}
        # A question without a value adds 0 to its cluster's sum, whatever the sign: it takes no part in the test.
        values = np.nan_to_num(np.stack([self.columns[name] for name in names], axis=1))
        sums = np.zeros((int(self.cells.clusters.max()) + 1, len(names)))
        np.add.at(sums, self.cells.clusters, values)
        return dict(zip(names, map(float, statistics.sign_flip(sums, draws, seed)), strict=True))
