from __future__ import annotations

from typing import Any

import pytest
import torch

from llmkit.talklora import kernel_operators


@pytest.fixture(autouse=True)
def calls(monkeypatch):
    """Counts the calls of the kernels: a test that none of them served would show nothing."""
    assert kernel_operators.INTERPRETED, "set TRITON_INTERPRET=1"
    torch.manual_seed(0)
    counted: list[str] = []
    for name in ("_forward", "_backward", "_branch"):
        original = getattr(kernel_operators, name)

        def spy(*arguments: Any, name: str = name, original: Any = original) -> Any:
            counted.append(name)
            return original(*arguments)

        monkeypatch.setattr(kernel_operators, name, spy)
    yield counted
    assert counted
