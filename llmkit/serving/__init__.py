"""Serving: the vLLM plugin that runs TalkLoRA adapters, and `llmkit serve`."""
