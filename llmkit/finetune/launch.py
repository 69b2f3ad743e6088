"""Training on several processes: `accelerate launch` with a preset, one worker each.

ddp was run with two CPU processes (gloo). The presets fsdp2, zero2 and zero3 need GPUs; they are checked by
accelerate's own loader and were not run.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from llmkit.errors import EngineError, UsageError
from llmkit.extras import need
from llmkit.recipe.schema import Recipe

LAUNCH_PRESETS = Path(__file__).parent / "presets"

_PACKAGES = ("torch", "transformers", "peft", "datasets", "safetensors", "accelerate", "trl")


def need_packages() -> None:
    """Raises UsageError where what a training runs on is not installed."""
    need(*_PACKAGES, extra="train", what="llmkit finetune")


def preset(kind: str, gpu_count: int) -> Path:
    """Returns the accelerate configuration of a kind of launch."""
    if kind == "ddp":
        return LAUNCH_PRESETS / ("ddp.yaml" if gpu_count else "ddp-cpu.yaml")
    return LAUNCH_PRESETS / f"{kind}.yaml"


def command(recipe: Recipe, folder: Path, recipe_key: str, checkpoint: Path | None, gpus: int, port: int) -> list[str]:
    """Builds the command that starts the workers."""
    section = recipe.finetune.launch
    options = ["--config_file", str(preset(section.kind, gpus)), "--num_processes", str(section.num_processes)]
    options += ["--main_process_port", str(port)]
    if section.kind == "ddp" and not gpus:
        # Without this flag accelerate starts several processes on CPUs only under MPI, and else silently one.
        options += ["--multi_gpu"] if section.num_processes > 1 else []
        options += ["--num_cpu_threads_per_process", str(max(1, (os.cpu_count() or 1) // section.num_processes))]
    worker_command = ["--module", "llmkit.finetune.worker", str(folder), recipe_key]
    return [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        *options,
        *worker_command,
        *([str(checkpoint)] if checkpoint else []),
    ]


def check_launch(recipe: Recipe) -> None:
    """Raises UsageError if this machine cannot start what the recipe's `finetune.launch` asks for."""
    import importlib.util

    import torch

    from llmkit.finetune.setup import batches

    section, gpu_count = recipe.finetune.launch, torch.cuda.device_count()
    batches(recipe)
    if section.kind == "single":
        return
    if section.kind != "ddp" and not gpu_count:
        raise UsageError(f"launch {section.kind} needs GPUs, but none is available", "use ddp or single")
    if gpu_count and section.num_processes > gpu_count:
        raise UsageError(f"{section.num_processes} processes on {gpu_count} GPUs", "at most one process for each GPU")
    if section.kind in ("zero2", "zero3") and importlib.util.find_spec("deepspeed") is None:
        raise UsageError(f"launch {section.kind} needs DeepSpeed", "pip install deepspeed")


def launch(recipe: Recipe, folder: Path, recipe_key: str, checkpoint: Path | None, quiet: bool) -> None:
    """Starts the workers and waits, after `check`. EngineError if one fails."""
    import torch

    gpu_count = torch.cuda.device_count()
    environment = {**os.environ, "LLMKIT_QUIET": "1"} if quiet else dict(os.environ)
    if not gpu_count:
        environment.setdefault("GLOO_SOCKET_IFNAME", "lo")
    arguments = command(recipe, folder, recipe_key, checkpoint, gpu_count, _free_port())
    workers = subprocess.Popen(arguments, stdout=sys.stderr.fileno(), env=environment)
    try:
        exit_code = workers.wait()
    except BaseException:
        workers.terminate()
        workers.wait()
        raise
    if exit_code:
        raise EngineError(f"a training process ended with code {exit_code}", "its message is above")


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
