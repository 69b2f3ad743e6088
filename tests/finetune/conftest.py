from __future__ import annotations

import pytest

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
        settings = {
            "model.path": tiny_llama,
            "data.task": "arithmetic",
            "data.levels": [1],
            "data.size": 40,
            "finetune.r": 8,
            "finetune.alpha": 8.0,
            "finetune.optim.batch_size": 4,
            "finetune.optim.max_steps": 4,
            "finetune.optim.lr": 0.01,
            "finetune.data.max_length": 512,
            "finetune.data.dev_limit": 4,
            "finetune.train.dtype": "float32",
            "finetune.train.log_every": 1,
            "output.dir": str(tmp_path / "runs"),
        }
        return load(None, {**settings, **{key.replace("__", "."): value for key, value in overrides.items()}})

    return build
