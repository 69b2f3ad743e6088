from __future__ import annotations

import pytest
from helpers.training import small

from llmkit.recipe import load


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("LLMKIT_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(autouse=True)
def _one_thread():
    """Sums in one order: losses can be compared to the last bit."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def make(tiny_llama, tmp_path):
    """A recipe for the tiny model, small enough to train in seconds; dotted keys override."""

    def build(**overrides):
        settings = small(tiny_llama, tmp_path / "runs")
        return load(None, {**settings, **{key.replace("__", "."): value for key, value in overrides.items()}})

    return build
