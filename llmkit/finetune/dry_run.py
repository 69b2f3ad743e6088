"""What a training would do, without training: all resolved, two real batches shown, memory and time estimated."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmkit.finetune.setup import count_parameters, encoder_for
from llmkit.recipe.schema import Recipe
from llmkit.terminal import console

_BATCHES = 2
_SHOWN_ROWS = 3  # rows printed of each batch
_ACTIVATIONS = 34  # numbers kept for backward per token, layer and unit of width (Korthikanti et al. 2022, sec. 4)


@dataclass
class Report:
    """`facts` is what `--json` prints; `batches` are rows of (token text, learnt or not)."""

    facts: dict[str, Any]
    batches: list[list[list[tuple[str, bool]]]]

    def show(self) -> None:
        """On stdout: the facts, then the batches, learnt tokens in green, masked ones dim."""
        from rich.text import Text

        out = console(120)
        for name, value in self.facts.items():
            out.print(Text(f"{name.replace('_', ' '):22s} {_shown(value)}"))
        for number, rows in enumerate(self.batches, 1):
            out.print(Text(f"\nbatch {number}: learnt tokens green, masked ones dim", style="bold"))
            for row in rows[:_SHOWN_ROWS]:
                text = Text()
                for token, learnt in row:
                    text.append(token, style="green" if learnt else "dim")
                marked = "" if out.is_terminal else f"   [learnt: {sum(learnt for _, learnt in row)} tokens]"
                out.print(text, Text(marked), sep="")
            if len(rows) > _SHOWN_ROWS:
                out.print(Text(f"… and {len(rows) - _SHOWN_ROWS} rows more"))


def _shown(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def dry_run(recipe: Recipe) -> Report:
    """Resolves the recipe as training would. Raises what training would raise."""
    from llmkit.engines.model_paths import locate
    from llmkit.finetune.data import build
    from llmkit.finetune.launch import check as check_launch
    from llmkit.finetune.method import adapt, load_base, torch_dtype
    from llmkit.finetune.setup import arguments

    section, launch = recipe.finetune, recipe.finetune.launch
    check_launch(recipe)
    model = locate(recipe.model.path, recipe.model.revision)
    encoder = encoder_for(recipe, model)
    data = build(recipe, model, encoder)
    net = adapt(recipe, load_base(recipe, model, empty=True))
    trainable, total = count_parameters(net)
    args = arguments(recipe, Path(recipe.output.dir), data.steps)  # raises for settings that TRL refuses
    batch, per_pass, tokenizer = section.optim.batch_size, args.per_device_train_batch_size, encoder.renderer.tokenizer
    used = data.order[: data.steps * batch]
    lengths = data.train.lengths[used]
    tokens, longest = int(lengths.sum()), int(lengths.max())
    seconds = 4 * total * tokens / _speed(torch_dtype(recipe))
    several = "" if launch.kind == "single" else f" x {launch.num_processes} processes"
    facts = {
        "model": model.name,
        "method": section.method,
        "trainable_parameters": trainable,
        "trainable_percent": 100 * trainable / total,
        "rows": len(used),
        "rows_too_long": int(data.train.dropped[0]),
        "dev_rows": len(data.dev),
        "steps": data.steps,
        "epochs": data.steps * batch / data.epoch_rows,
        "batch": f"{batch} rows = {per_pass} x {args.gradient_accumulation_steps} accumulated{several}",
        "tokens": tokens,
        "longest_row_tokens": longest,
        "memory_gib_estimate": _memory(
            net.config, total, trainable, args.per_device_train_batch_size * longest, recipe
        ),
        "minutes_estimate": seconds / 60,
        "tokens_were_cached": data.cached,
    }
    batches = [
        [_tokens(tokenizer, data.train.row(index)) for index in used[start : start + batch]]
        for start in range(0, min(_BATCHES, data.steps) * batch, batch)
    ]
    return Report(facts, batches)


def _tokens(tokenizer: Any, row: dict[str, list[int]]) -> list[tuple[str, bool]]:
    return [
        (tokenizer.decode([token]), label != -100) for token, label in zip(row["input_ids"], row["labels"], strict=True)
    ]


def _memory(config: Any, total: int, trainable: int, tokens: int, recipe: Recipe) -> float:
    """Weights, adapter with gradient and two moments in float32, and activations of one forward pass. In GiB."""
    from llmkit.finetune.method import torch_dtype

    train = recipe.finetune.train
    size = torch_dtype(recipe).itemsize
    weights = (total - trainable) * {"none": size, "8bit": 1, "4bit": 0.5}[train.load_in] + 16 * trainable
    text = config.get_text_config()
    layers = 1 if train.gradient_checkpointing else text.num_hidden_layers
    kept = tokens * text.hidden_size * (_ACTIVATIONS * layers / 2 * size + text.num_hidden_layers * size)
    logits = 3 * 4 * tokens * text.vocab_size if recipe.finetune.robust.objective != "augment" else 0
    return (weights + kept + logits) / 2**30


def _speed(dtype: Any) -> float:
    """Floating-point operations a second of this machine, from half a second of matrix products."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    a = torch.randn(1024, 1024, device=device).to(dtype)
    done, began = 0, time.perf_counter()
    while (spent := time.perf_counter() - began) < 0.5:
        a @ a
        if device == "cuda":
            torch.cuda.synchronize()
        done += 1
    return 2 * 1024**3 * done / spent * 0.5  # training reaches about half of what plain products do
