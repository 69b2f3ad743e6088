"""Question sets that are read from their official files or from the hub."""

from llmkit.tasks.sets import commonsense, math, reasoning

__all__ = ["commonsense", "math", "reasoning"]
