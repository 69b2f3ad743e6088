"""A layer's weights before B as one matrix, kept between calls that compute no gradient."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class KeptFold:
    """The folded rows, (n m + n, d), and what they were made of."""

    def __init__(self, rows: Tensor, modules: Sequence[nn.Module]) -> None:
        self.rows = rows
        # Aliases of the weights: they keep the storages, so that no new one can have the address of an old one.
        owners = [m._parameters if "weight" in m._parameters else m._buffers for m in modules]  # faster than attributes
        self.made_of = [(owner, w, w.detach(), w._version) for owner in owners if (w := owner["weight"]) is not None]

    def holds(self) -> bool:
        """Returns whether the weights are still the same, as far as their versions and storages tell."""
        return all(
            owner["weight"] is weight and weight._version == version and weight.data_ptr() == alias.data_ptr()
            for owner, weight, alias, version in self.made_of
        )
