"""Question sets that are read from their official files or from the hub."""

from llmkit.tasks.sets import math

__all__ = ["math"]
