"""`llmkit finetune`."""

from __future__ import annotations

from llmkit.cli.common import Set, Source
from llmkit.errors import UsageError


def finetune(source: Source = None, sets: Set = None) -> None:
    """Train an adapter on clean and noisy text."""
    raise UsageError(
        "finetune is not part of this version: it has no trainer yet",
        "train with PEFT or TRL, then measure the adapter: `llmkit eval --adapter DIR`",
    )
