"""The noise of capitals_noisy.yaml."""

from llmkit.integrations.lm_eval import noisy

process_docs = noisy("question", "typing@0.2", seed=7, options="choices")
