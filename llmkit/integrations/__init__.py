"""llmkit inside other harnesses: their tasks on clean and noisy text, and their results as paired statistics.

Each module is one harness and imports it only inside functions. `docs/harnesses.md` shows how they are used.
"""
