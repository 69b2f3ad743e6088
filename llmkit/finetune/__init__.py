"""Supervised fine-tuning with any PEFT method, on clean and noisy text."""

from llmkit.finetune.run import Result, finetune

__all__ = ["Result", "finetune"]
