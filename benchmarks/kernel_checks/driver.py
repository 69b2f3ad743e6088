"""A stand-in for Triton's CUDA driver: kernels are compiled for a GPU and launched to nowhere, on tensors of the CPU.

All of a launch's Python runs, and launches are counted; what the driver itself takes (a few microseconds) is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from unittest import mock

from triton.backends.compiler import GPUTarget
from triton.runtime import driver

from llmkit.talklora import kernel_operators


class NoGpu:
    """The part of a driver that `JITFunction.run` asks."""

    def __init__(self, capability: int = 90) -> None:
        self.launches = 0
        self.target = GPUTarget("cuda", capability, 32)
        self.utils = SimpleNamespace(
            get_device_properties=lambda device: {"max_shared_mem": 166_912}, load_binary=lambda *_: (1, 1, 0, 0, 1024)
        )

    def get_current_target(self) -> GPUTarget:
        return self.target

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0

    def launcher_cls(self, source: Any, metadata: Any) -> Any:
        return self._launch

    def _launch(self, *arguments: Any) -> None:
        self.launches += 1


@contextmanager
def launched_to_nowhere() -> Iterator[NoGpu]:
    """Has the kernels take tensors of the CPU and compute nothing; yields the driver, which counts."""
    active, stand_in = driver._active, NoGpu()
    driver.set_active(stand_in)
    try:
        with mock.patch.object(kernel_operators, "DEVICE", "cpu"):
            yield stand_in
    finally:
        driver._active = active
