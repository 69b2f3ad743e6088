"""A layer's weights before B as one matrix, kept between calls that compute no gradient."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class KeptFold:
    """The folded rows, (n m + n, d), and what they were made of."""

    def __init__(self, rows: Tensor, modules: Sequence[nn.Module]) -> None:
        self.rows = rows
        # Aliases of the weights: they keep the storages, so that no new one can have the address of an old one.
        # Looked up here because that is faster than attributes.
        weight_owners = [
            module._parameters if "weight" in module._parameters else module._buffers for module in modules
        ]
        self.made_of = [
            (owner, weight, weight.detach(), weight._version)
            for owner in weight_owners
            if (weight := owner["weight"]) is not None
        ]

    def holds(self) -> bool:
        """Returns whether the weights are still the same, judged by their versions and storages."""
        return all(
            owner["weight"] is weight and weight._version == version and weight.data_ptr() == alias.data_ptr()
            for owner, weight, alias, version in self.made_of
        )
