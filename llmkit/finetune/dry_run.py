"""A preview of a training, without training: all resolved, two real batches shown, memory and time estimated."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmkit.finetune.machines import Machines
from llmkit.finetune.setup import count_parameters, encoder_for
from llmkit.parsing import JsonObject
from llmkit.recipe.schema import Recipe
from llmkit.terminal import console

_BATCHES = 2
_SHOWN_ROWS = 3  # rows printed of each batch
_ACTIVATIONS = 34  # numbers kept for backward per token, layer and unit of width (Korthikanti et al. 2022, sec. 4)


@dataclass
class Report:
    """`facts` is what `--json` prints; `batches` are rows of (token text, learnt or not)."""

    facts: JsonObject
    batches: list[list[list[tuple[str, bool]]]]

    def show(self) -> None:
        """Prints on stdout the facts, then the batches, learnt tokens in green, masked ones dim."""
        from rich.text import Text

        terminal = console(120)
        for name, value in self.facts.items():
            terminal.print(Text(f"{name.replace('_', ' '):22s} {_shown(value)}"))
        for number, rows in enumerate(self.batches, 1):
            terminal.print(Text(f"\nbatch {number}: learnt tokens green, masked ones dim", style="bold"))
            for row in rows[:_SHOWN_ROWS]:
                text = Text()
                for token, learnt in row:
                    text.append(token, style="green" if learnt else "dim")
                learnt_note = "" if terminal.is_terminal else f"   [learnt: {sum(learnt for _, learnt in row)} tokens]"
                terminal.print(text, Text(learnt_note), sep="")
            if len(rows) > _SHOWN_ROWS:
                terminal.print(Text(f"… and {len(rows) - _SHOWN_ROWS} rows more"))


def _shown(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def dry_run(recipe: Recipe, machines: Machines | None = None) -> Report:
    """Resolves the recipe as training would. Raises what training would raise."""
    from llmkit.engines.model_paths import locate
    from llmkit.finetune.data import build_data
    from llmkit.finetune.launch import check_launch, need_packages
    from llmkit.finetune.method import adapt, load_base, torch_dtype
    from llmkit.finetune.setup import trl_arguments

    need_packages()
    section, launch = recipe.finetune, recipe.finetune.launch
    check_launch(recipe, machines)
    model = locate(recipe.model.path, recipe.model.revision)
    encoder = encoder_for(recipe, model)
    data = build_data(recipe, model, encoder)
    peft_model = adapt(recipe, load_base(recipe, model, empty=True))
    trainable_count, total_count = count_parameters(peft_model)
    # Raises for settings that TRL refuses
    training_arguments = trl_arguments(recipe, Path(recipe.output.dir), data.steps)
    batch, per_pass, tokenizer = (
        section.optim.batch_size,
        training_arguments.per_device_train_batch_size,
        encoder.renderer.tokenizer,
    )
    rows_used = data.order[: data.steps * batch]
    lengths = data.train.lengths[rows_used]
    tokens, longest = int(lengths.sum()), int(lengths.max())
    seconds = 4 * total_count * tokens / _speed(torch_dtype(recipe))
    process_note = "" if launch.kind == "single" else f" x {launch.num_processes} processes"
    passes = training_arguments.gradient_accumulation_steps
    facts = {
        "model": model.name,
        "method": section.method,
        "trainable_parameters": trainable_count,
        "trainable_percent": 100 * trainable_count / total_count,
        "rows": len(rows_used),
        "rows_too_long": int(data.train.dropped[0]),
        "dev_rows": len(data.dev),
        "steps": data.steps,
        "epochs": data.steps * batch / data.epoch_rows,
        "batch": f"{batch} rows = {per_pass} x {passes} accumulated{process_note}",
        "tokens": tokens,
        "longest_row_tokens": longest,
        "memory_gib_estimate": _memory(
            peft_model.config,
            total_count,
            trainable_count,
            training_arguments.per_device_train_batch_size * longest,
            recipe,
        ),
        "minutes_estimate": seconds / 60,
        "tokens_were_cached": data.cached,
    }
    batches = [
        [_tokens(tokenizer, data.train.row(index)) for index in rows_used[start : start + batch]]
        for start in range(0, min(_BATCHES, data.steps) * batch, batch)
    ]
    return Report(facts, batches)


def _tokens(tokenizer: Any, row: dict[str, list[int]]) -> list[tuple[str, bool]]:
    return [
        (tokenizer.decode([token]), label != -100) for token, label in zip(row["input_ids"], row["labels"], strict=True)
    ]


def _memory(config: Any, total: int, trainable: int, tokens: int, recipe: Recipe) -> float:
    """Estimates memory in GiB: weights, adapter with gradient and two moments in float32, activations of one forward
    pass."""
    from llmkit.finetune.method import torch_dtype

    train = recipe.finetune.train
    bytes_per_weight = torch_dtype(recipe).itemsize
    weight_bytes = (total - trainable) * {"none": bytes_per_weight, "8bit": 1, "4bit": 0.5}[
        train.load_in
    ] + 16 * trainable
    text_config = config.get_text_config()
    layers = 1 if train.gradient_checkpointing else text_config.num_hidden_layers
    activation_bytes = (
        tokens
        * text_config.hidden_size
        * (_ACTIVATIONS * layers / 2 * bytes_per_weight + text_config.num_hidden_layers * bytes_per_weight)
    )
    logit_bytes = 3 * 4 * tokens * text_config.vocab_size if recipe.finetune.robust.objective != "augment" else 0
    return float((weight_bytes + activation_bytes + logit_bytes) / 2**30)


def _speed(dtype: Any) -> float:
    """Measures this machine's floating-point operations per second from half a second of matrix products."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    matrix = torch.randn(1024, 1024, device=device).to(dtype)
    products, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < 0.5:
        matrix @ matrix
        if device == "cuda":
            torch.cuda.synchronize()
        products += 1
    return 2 * 1024**3 * products / elapsed * 0.5  # training reaches about half of what plain products do
