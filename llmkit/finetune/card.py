"""The model card beside an adapter: what it is, how it was made, what came out."""

from __future__ import annotations

from typing import Any

from llmkit import __version__
from llmkit.parsing import JsonObject
from llmkit.recipe import to_yaml, without_secrets
from llmkit.recipe.schema import Recipe

_SHOWN = (
    ("steps", "optimiser steps"),
    ("epochs", "epochs"),
    ("trainable_parameters", "trainable parameters"),
    ("train_loss", "mean training loss"),
    ("dev_loss", "dev loss at the end"),
    ("dev_loss_best", "best dev loss"),
    ("dev_token_accuracy", "dev tokens predicted right"),
    ("tokens_per_second", "tokens per second"),
    ("peak_memory_gib", "peak memory, GiB"),
)


def card(recipe: Recipe, metrics: JsonObject) -> str:
    """Writes the text of README.md with the metadata that hubs read, the results and the whole recipe."""
    method, base_model = recipe.finetune.method, metrics["base_model"]
    result_rows = [f"| {title} | {_number(metrics[key])} |" for key, title in _SHOWN if metrics.get(key) is not None]
    registration = "import llmkit.talklora  # registers the method\n" if metrics.get("routing") is not None else ""
    return "\n".join(
        [
            "---",
            f"base_model: {base_model}",
            "library_name: peft",
            "pipeline_tag: text-generation",
            f"tags: [llmkit, {method}]",
            "---",
            "",
            f"# {method} adapter for {base_model}",
            "",
            f"Trained with llmkit {__version__}. Dev rows were never trained on; test rows were not read.",
            "",
            "| | |",
            "|---|---|",
            *result_rows,
            "",
            "```python",
            f"{registration}from peft import AutoPeftModelForCausalLM",
            "",
            'model = AutoPeftModelForCausalLM.from_pretrained("PATH_OF_THIS_FOLDER")',
            "```",
            "",
            "To measure it on clean and noisy questions: `llmkit eval RECIPE --adapter PATH_OF_THIS_FOLDER`.",
            "",
            "## Recipe",
            "",
            "```yaml",
            without_secrets(to_yaml(recipe)).rstrip(),
            "```",
            "",
        ]
    )


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"
