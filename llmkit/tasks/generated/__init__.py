"""Question sets that are made, not read."""

from llmkit.tasks.generated import arithmetic

__all__ = ["arithmetic"]
