"""A training on a GPU, in bfloat16, with the adapter in float32."""

from __future__ import annotations

import math

import pytest
import torch
from safetensors.torch import load_file

from llmkit.finetune import finetune

pytestmark = [pytest.mark.gpu, pytest.mark.tiny]


@pytest.mark.parametrize("objective", ["augment", "consistency"])
def test_a_training_in_bfloat16_ends_with_an_adapter(make, objective):
    overrides = {
        "finetune__train__dtype": "auto",
        "finetune__train__gradient_checkpointing": True,
        "finetune__robust__objective": objective,
        "finetune__robust__share": 0.5,
    }
    result = finetune(make(**overrides), quiet=True)
    assert result.metrics["steps"] == 4
    assert math.isfinite(result.metrics["dev_loss"])
    assert 0 < result.metrics["peak_memory_gib"] < 4
    weights = load_file(result.adapter / "adapter_model.safetensors")
    assert {w.dtype for w in weights.values()} == {torch.float32}
    assert any(w.abs().max() > 0 for name, w in weights.items() if "talklora_B" in name)
