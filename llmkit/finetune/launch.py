"""Training on several processes: `accelerate launch` with a preset, one worker each, on one or several machines.

ddp was run with two CPU processes (gloo), on one machine and as two machines. The presets fsdp2, zero2 and zero3 need
GPUs; they are checked by accelerate's own loader and were not run.
"""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from llmkit import __version__
from llmkit.errors import EngineError, UsageError
from llmkit.extras import need
from llmkit.finetune.checkpoints import is_whole
from llmkit.finetune.inputs import FILE as INPUTS
from llmkit.finetune.machines import SILENCE, Facts, Together, is_loopback, meeting, parse_address
from llmkit.parsing import JsonObject
from llmkit.recipe.schema import Recipe
from llmkit.recipe.schema.finetune import LaunchSection
from llmkit.runs import Run

LAUNCH_PRESETS = Path(__file__).parent / "presets"

_PACKAGES = ("torch", "transformers", "peft", "datasets", "safetensors", "accelerate", "trl")
_COMPARED = (*_PACKAGES, "tokenizers")  # between machines
_LOOK = 0.2  # seconds between two looks at the workers
_NEWS = 3.0  # seconds in which the loss of another machine explains the end of the workers here


def need_packages() -> None:
    """Raises UsageError where what a training runs on is not installed."""
    need(*_PACKAGES, extra="train", what="llmkit finetune")


def preset(kind: str, gpu_count: int) -> Path:
    """Returns the accelerate configuration of a kind of launch."""
    if kind == "ddp":
        return LAUNCH_PRESETS / ("ddp.yaml" if gpu_count else "ddp-cpu.yaml")
    return LAUNCH_PRESETS / f"{kind}.yaml"


def command(
    recipe: Recipe, recipe_file: Path, folder: Path, recipe_key: str, checkpoint: Path | None, gpus: int, port: int
) -> list[str]:
    """Builds the command that starts this machine's workers. `port` is that at which all workers find each other."""
    section = recipe.finetune.launch
    options = ["--config_file", str(preset(section.kind, gpus)), "--num_processes", str(section.num_processes)]
    options += ["--main_process_port", str(port)]
    if section.main_process and section.num_machines > 1:
        options += ["--num_machines", str(section.num_machines), "--machine_rank", str(section.machine_rank)]
        options += ["--main_process_ip", parse_address(section.main_process)[0], "--same_network"]
        if section.kind in ("zero2", "zero3"):  # else DeepSpeed would start the other machines itself, by ssh
            options += ["--deepspeed_multinode_launcher", "standard"]
    if section.kind == "ddp" and not gpus:
        # Without this flag accelerate starts several processes on CPUs only under MPI, and else silently one.
        options += ["--multi_gpu"] if section.num_processes > 1 else []
        here = section.num_processes // section.num_machines
        options += ["--num_cpu_threads_per_process", str(max(1, (os.cpu_count() or 1) // here))]
    worker_command = ["--module", "llmkit.finetune.worker", str(recipe_file), str(folder), recipe_key]
    return [
        sys.executable,
        "-m",
        "llmkit.finetune.launched",
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
    _check_machines(section)
    batches(recipe)
    if section.kind == "single":
        return
    processes = section.num_processes // section.num_machines
    if section.kind != "ddp" and not gpu_count:
        raise UsageError(f"launch {section.kind} needs GPUs, but none is available", "use ddp or single")
    if gpu_count and processes > gpu_count:
        raise UsageError(f"{processes} processes on {gpu_count} GPUs", "at most one process for each GPU")
    if section.kind in ("zero2", "zero3") and importlib.util.find_spec("deepspeed") is None:
        raise UsageError(f"launch {section.kind} needs DeepSpeed", "pip install deepspeed")


def _check_machines(section: LaunchSection) -> None:
    """Raises UsageError for a machine that has no place among the others."""
    count = section.num_machines
    if section.machine_rank >= count:
        raise UsageError(
            f"machine {section.machine_rank} of {count}: the numbers are 0 to {count - 1}",
            "--num-machines counts all machines, --machine-rank begins at 0",
        )
    if count == 1:
        return
    if section.kind == "single":
        raise UsageError(f"{count} machines need several processes", "--launch ddp")
    if section.main_process is None:
        raise UsageError(f"{count} machines need an address at which to meet", "--main-process HOST:PORT of machine 0")
    parse_address(section.main_process)
    if section.num_processes % count:
        raise UsageError(
            f"{section.num_processes} processes do not divide among {count} machines",
            "--num-processes counts those of all machines together",
        )


def facts(recipe: Recipe, recipe_key: str, current_inputs: Mapping[str, str | None]) -> Facts:
    """Returns what has to be the same on all machines, by the name that an error message gives it."""
    from importlib.metadata import PackageNotFoundError, version

    import torch

    section = recipe.finetune.launch
    found = {name: str(value) for name, value in current_inputs.items()}
    for package in _COMPARED:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return {
        **found,
        "the recipe": recipe_key,
        "llmkit": __version__,
        "the kind of launch": section.kind,
        "the number of machines": str(section.num_machines),
        "the number of processes": str(section.num_processes),
        "the device": "GPU" if torch.cuda.device_count() else "CPU",
    }


def launch(
    recipe: Recipe, recipe_file: Path, folder: Path, recipe_key: str, checkpoint: Path | None, quiet: bool
) -> None:
    """Starts the workers of one machine and waits, after `check_launch`. EngineError if one fails."""
    _run(command(recipe, recipe_file, folder, recipe_key, checkpoint, _gpus(), _free_port("127.0.0.1")), quiet, "lo")


def launch_together(
    recipe: Recipe,
    recipe_file: Path,
    folder: Path,
    recipe_key: str,
    checkpoint: Path | None,
    compared: Facts,
    quiet: bool,
) -> JsonObject:
    """Trains on several machines, of which this is one. Returns the content of metrics.json, which machine 0 writes.

    `checkpoint` is that of machine 0. Raises what `meeting` raises, and EngineError where a process or a machine fails.
    """
    section = recipe.finetune.launch
    number, address = section.machine_rank, str(section.main_process)
    host, _ = parse_address(address)
    plan = {"checkpoint": str(checkpoint.absolute()) if checkpoint else None}
    if number == 0:
        plan["port"] = str(_free_port(host))
    tell = (lambda text: None) if quiet else (lambda text: print(text, file=sys.stderr, flush=True))
    with meeting(number, section.num_machines, address, compared, plan, tell) as together:
        start = Path(together.plan["checkpoint"]) if together.plan["checkpoint"] else None
        if number:
            _check_shared(recipe, folder, start)
        arguments = command(recipe, recipe_file, folder, recipe_key, start, _gpus(), int(together.plan["port"]))
        _run(arguments, quiet, _interface(together.local_host), together)
        return together.finished({} if number else Run(folder).metrics or {})


def _check_shared(recipe: Recipe, folder: Path, start: Path | None) -> None:
    """Raises UsageError where this machine does not see what it has to read of machine 0's folder."""
    if start is not None and not is_whole(start):
        raise UsageError(
            f"this machine does not see the checkpoint {start}",
            "to go on, the machines need the run folder in a file system that they share, or a copy of it",
        )
    if recipe.finetune.train.patience:
        deadline = time.monotonic() + SILENCE  # a network's file system may show a new folder late
        while not (folder / INPUTS).is_file():
            if time.monotonic() > deadline:
                raise UsageError(
                    f"this machine does not see {folder}, and finetune.train.patience goes back to a checkpoint in it",
                    "share a file system for --dir, or leave finetune.train.patience",
                )
            time.sleep(0.5)


def _run(arguments: list[str], quiet: bool, interface: str | None, together: Together | None = None) -> None:
    """Runs the workers to their end. EngineError if one fails, or another machine does."""
    environment = {**os.environ, "LLMKIT_QUIET": "1"} if quiet else dict(os.environ)
    if interface and not _gpus():
        environment.setdefault("GLOO_SOCKET_IFNAME", interface)
    workers = subprocess.Popen(arguments, stdout=sys.stderr.fileno(), env=environment)
    try:
        exit_code = workers.wait() if together is None else _wait(workers, together)
    except BaseException:
        workers.terminate()
        workers.wait()
        raise
    if exit_code:
        raise EngineError(f"a training process ended with code {exit_code}", "its message is above")


def _wait(workers: subprocess.Popen[bytes], together: Together) -> int:
    """Returns the exit code of the workers. Raises what happens to another machine before they end well."""
    while True:
        with suppress(queue.Empty):
            raise together.news.get(timeout=_LOOK)
        exit_code = workers.poll()
        if exit_code == 0:
            return exit_code
        if exit_code is not None:
            # Workers fail at once where those of another machine are gone, and that is the better reason to give.
            with suppress(queue.Empty):
                raise together.news.get(timeout=_NEWS)
            return exit_code


def _gpus() -> int:
    import torch

    return torch.cuda.device_count()


def _interface(local_host: str) -> str | None:
    """Returns the name of the network interface with an address, by which gloo finds the other machines."""
    import psutil

    for name, addresses in psutil.net_if_addrs().items():
        if any(address.address.partition("%")[0] == local_host for address in addresses):
            return name
    return None


def _free_port(host: str) -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1" if is_loopback(host) else "", 0))
        return int(probe.getsockname()[1])
