"""llmkit: does a language model survive the text that people really write, and what can be done about it."""

__version__ = "0.1.0"
