"""Per-row sampling and stopping for transformers' `generate`, so that one batch can hold different requests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from transformers import LogitsProcessor, StoppingCriteria

from llmkit.types import Sampling


class RowSampler(LogitsProcessor):
    """Draws each sampled row's next token from the row's own generator and leaves it as the only choice.

    Rows with temperature 0 pass unchanged, so a greedy `generate` does the rest and no row depends on another.
    """

    def __init__(self, rows: list[tuple[Sampling, int | None]]) -> None:
        self.rows = [
            (sampling, None if seed is None else torch.Generator().manual_seed(seed)) for sampling, seed in rows
        ]

    def keep(self, rows: list[int]) -> None:
        """Goes on with these rows only."""
        self.rows = [self.rows[i] for i in rows]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        for i, (sampling, generator) in enumerate(self.rows):
            if generator is None:
                continue
            p = torch.softmax(scores[i].float().cpu() / sampling.temperature, dim=-1)
            if sampling.top_p < 1:
                ordered, order = p.sort(descending=True)
                ordered[(ordered.cumsum(0) - ordered) > sampling.top_p] = 0  # the token that crosses top_p stays
                p = torch.zeros_like(p).scatter(0, order, ordered)
            token = int(torch.multinomial(p, 1, generator=generator))
            scores[i] = float("-inf")
            scores[i, token] = 0.0
        return scores


class RowStop(StoppingCriteria):
    """Ends a row at its own token limit or at one of its stop strings."""

    def __init__(self, rows: list[tuple[tuple[str, ...], int]], width: int, decode: Callable[..., str]) -> None:
        self.rows = rows
        self.width = width
        self.decode = decode

    def keep(self, rows: list[int]) -> None:
        """Goes on with these rows only."""
        self.rows = [self.rows[i] for i in rows]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor | None, **kwargs: Any) -> torch.Tensor:
        done = [
            input_ids.shape[1] - self.width >= limit
            or any(s in self.decode(input_ids[i, self.width :], skip_special_tokens=True) for s in stop)
            for i, (stop, limit) in enumerate(self.rows)
        ]
        return torch.tensor(done, device=input_ids.device)
