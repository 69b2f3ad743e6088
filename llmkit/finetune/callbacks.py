"""Progress of a training: a live bar on a terminal, a line now and then elsewhere, a journal of every number."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any, cast

import torch
from transformers import EarlyStoppingCallback, TrainerCallback
from transformers.trainer_callback import ExportableState

from llmkit.parsing import JsonObject
from llmkit.terminal import bar

_EVERY = 10.0  # seconds between two plain lines


def peak_memory_gib() -> float:
    """Returns the most memory held so far, in GiB: of the GPU if there is one, else of this process."""
    if torch.cuda.is_available():
        return round(torch.cuda.max_memory_allocated() / 2**30, 2)
    import resource

    bytes_per_unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * bytes_per_unit / 2**30, 2)


class Reporter(TrainerCallback, ExportableState):
    """Shows loss, tokens/s, time left and memory; appends every log line to log.jsonl.

    `earlier` is what a resumed training took up to its checkpoint, in seconds; checkpoints keep it (see `state`).
    `first_step` is the checkpoint's step, 0 for a training from the start.
    `tokens` are those since it was resumed: TRL counts from there.
    """

    def __init__(self, folder: Path, steps: int, quiet: bool) -> None:
        self.folder, self.steps, self.quiet = folder, steps, quiet
        self.loss: float | None = None
        self.dev: float | None = None
        self.tokens = 0
        self.earlier = 0.0
        self._began: float | None = None
        self._printed = 0.0
        self.first_step = 0
        self._bar: Any = None

    def state(self) -> JsonObject:
        """Returns the entry in a checkpoint's trainer_state.json: the seconds of training that led to it."""
        seconds_spent = 0.0 if self._began is None else time.monotonic() - self._began
        return {"args": {}, "attributes": {"seconds": self.earlier + seconds_spent}}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # An old checkpoint has none
        kept_state = state.stateful_callbacks.setdefault(type(self).__name__, self.state())
        self.earlier = kept_state["attributes"]["seconds"]
        self._began = time.monotonic()
        self.first_step = state.global_step
        if not self.quiet and sys.stderr.isatty():
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn

            columns = (TextColumn("train"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[state]}"))
            self._bar = bar(*columns, refresh_per_second=4)
            self._task = self._bar.add_task("train", total=self.steps, completed=state.global_step, state="")

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._show(state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: JsonObject | None = None, **kwargs: Any) -> None:
        logs = logs or {}
        self.loss = logs.get("loss", self.loss)
        self.dev = logs.get("eval_loss", self.dev)
        self.tokens = logs.get("num_tokens", self.tokens)
        if state.is_world_process_zero:
            with open(self.folder / "log.jsonl", "a", encoding="utf-8") as file:
                file.write(json.dumps({"step": state.global_step, **logs}) + "\n")

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._bar:
            self._bar.stop()
        elif not self.quiet:
            self._print(state.global_step)

    def line(self, step: int) -> str:
        """Returns the state as `step 40/90, loss 0.412, dev 0.507, 431 tokens/s, 2:10 left, 3.1 GiB`."""
        seconds = max(time.monotonic() - (self._began or 0.0), 1e-9)
        steps_done = step - self.first_step
        parts = [f"step {step}/{self.steps}"]
        parts += [f"loss {self.loss:.3f}"] if self.loss is not None else []
        parts += [f"dev {self.dev:.3f}"] if self.dev is not None else []
        parts += [f"{self.tokens / seconds:.0f} tokens/s"] if self.tokens else []
        if steps_done and step < self.steps:
            seconds_left = round((self.steps - step) * seconds / steps_done)
            parts.append(f"{seconds_left // 60}:{seconds_left % 60:02d} left")
        return ", ".join([*parts, f"{peak_memory_gib():.1f} GiB"])

    def _show(self, step: int) -> None:
        if self._bar:
            self._bar.update(self._task, completed=step, state=self.line(step).partition(", ")[2])
        elif not self.quiet and time.monotonic() - self._printed >= _EVERY:
            self._print(step)

    def _print(self, step: int) -> None:
        self._printed = time.monotonic()
        print(f"train: {self.line(step)}", file=sys.stderr, flush=True)


class Patience(EarlyStoppingCallback):
    """Early stopping that remembers, over a resume, how many evaluations brought nothing."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        cast(Any, super()).on_train_begin(args, state, control, **kwargs)
        if kept_state := state.stateful_callbacks.get(type(self).__name__):
            self.early_stopping_patience_counter = kept_state["attributes"]["early_stopping_patience_counter"]


def mean_loss(history: list[JsonObject], first_step: int, last_step: int, mean_of_part: float) -> float:
    """Computes the training loss over all steps from the loss of one part and the log of the parts before it.

    `mean_of_part` is what transformers gives, over the steps from `first_step` to `last_step`. Each logged loss is
    the mean of the steps since the one logged before it."""
    steps_counted, step_before = last_step - first_step, 0
    loss_sum = mean_of_part * steps_counted
    for row in history:
        if "loss" in row and row["step"] <= first_step:
            loss_sum += row["loss"] * (row["step"] - step_before)
            steps_counted += row["step"] - step_before
            step_before = row["step"]
    return loss_sum / max(steps_counted, 1)
