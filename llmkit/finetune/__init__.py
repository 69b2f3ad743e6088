"""Supervised fine-tuning with any PEFT method, on clean and noisy text."""

from llmkit.finetune.run import FinetuneResult, finetune

__all__ = ["FinetuneResult", "finetune"]
