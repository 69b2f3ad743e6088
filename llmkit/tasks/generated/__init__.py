"""Question sets that are made, not read."""

from llmkit.tasks.generated import arithmetic, symbolic

__all__ = ["arithmetic", "symbolic"]
