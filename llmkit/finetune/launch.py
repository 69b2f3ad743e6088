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
from llmkit.finetune.machines import Machines
from llmkit.recipe.schema import Recipe

_LOOPBACK = ("localhost", "127.0.0.1")
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


def command(
    recipe: Recipe,
    folder: Path,
    recipe_key: str,
    checkpoint: Path | None,
    gpus: int,
    port: int,
    machines: Machines | None = None,
) -> list[str]:
    """Builds the command that starts the workers of this machine."""
    section = recipe.finetune.launch
    options = ["--config_file", str(preset(section.kind, gpus)), "--num_processes", str(section.num_processes)]
    options += ["--main_process_port", str(port)]
    if machines is not None:
        options += ["--num_machines", str(machines.count), "--machine_rank", str(machines.rank)]
        options += ["--main_process_ip", machines.address, "--same_network"]
    if section.kind == "ddp" and not gpus:
        # Without this flag accelerate starts several processes on CPUs only under MPI, and else silently one.
        options += ["--multi_gpu"] if section.num_processes > 1 else []
        threads = (os.cpu_count() or 1) // processes_here(recipe, machines)
        options += ["--num_cpu_threads_per_process", str(max(1, threads))]
    worker_command = ["--module", "llmkit.finetune.worker", str(folder), recipe_key]
    return [
        sys.executable,
        "-m",
        "llmkit.finetune.agent",
        *options,
        *worker_command,
        *([str(checkpoint)] if checkpoint else []),
    ]


def processes_here(recipe: Recipe, machines: Machines | None) -> int:
    """Returns the number of processes of each machine. UsageError if a launch cannot be shared by the machines."""
    section = recipe.finetune.launch
    if machines is None:
        return section.num_processes
    if section.kind not in ("ddp", "fsdp2"):
        raise UsageError(f"--launch {section.kind} is for one machine", "several machines need --launch ddp or fsdp2")
    if section.num_processes % machines.count:
        raise UsageError(
            f"{section.num_processes} processes do not divide into {machines.count} machines",
            f"--num-processes is the number on all machines together, e.g. {machines.count}",
        )
    return section.num_processes // machines.count


def check_launch(recipe: Recipe, machines: Machines | None = None) -> None:
    """Raises UsageError if this machine cannot start what the recipe's `finetune.launch` asks for."""
    import importlib.util

    import torch

    from llmkit.finetune.setup import batches

    section, gpu_count = recipe.finetune.launch, torch.cuda.device_count()
    process_count = processes_here(recipe, machines)
    batches(recipe)
    if section.kind == "single":
        return
    if section.kind != "ddp" and not gpu_count:
        raise UsageError(f"launch {section.kind} needs GPUs, but none is available", "use ddp or single")
    if gpu_count and process_count > gpu_count:
        raise UsageError(f"{process_count} processes on {gpu_count} GPUs", "at most one process for each GPU")
    if section.kind in ("zero2", "zero3") and importlib.util.find_spec("deepspeed") is None:
        raise UsageError(f"launch {section.kind} needs DeepSpeed", "pip install deepspeed")


def launch(
    recipe: Recipe,
    folder: Path,
    recipe_key: str,
    checkpoint: Path | None,
    quiet: bool,
    machines: Machines | None = None,
) -> None:
    """Starts the workers of this machine and waits, after `check_launch`. EngineError if one fails."""
    import torch

    gpu_count = torch.cuda.device_count()
    environment = {**os.environ, "LLMKIT_QUIET": "1"} if quiet else dict(os.environ)
    if not gpu_count and (machines is None or machines.address in _LOOPBACK):
        environment.setdefault("GLOO_SOCKET_IFNAME", "lo")
    port = _free_port() if machines is None else machines.port
    arguments = command(recipe, folder, recipe_key, checkpoint, gpu_count, port, machines)
    workers = subprocess.Popen(arguments, stdout=sys.stderr.fileno(), env=environment)
    try:
        exit_code = workers.wait()
    except BaseException:
        workers.terminate()
        workers.wait()
        raise
    if exit_code:
        again = "" if machines is None else "; the same command on every machine goes on from the newest checkpoint"
        raise EngineError(f"a training process ended with code {exit_code}", f"its message is above{again}")


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
