"""The second path, for models and gates that vLLM's LoRA does not cover: one adapter, built into the model itself."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from llmkit.errors import DataError
from llmkit.serving.adapter import AdapterWeights
from llmkit.talklora.functions import inference_gates


class Adapted(nn.Module):
    """A linear module with a folded TalkLoRA adapter (or a plain LoRA, n = 0) beside it.

    lora_A (r + n, d), lora_B (k, r + n): as llmkit.talklora.export gives them; C (n, n) where gates talk after the
    softmax.
    """

    down: Tensor
    up: Tensor
    C: Tensor | None

    def __init__(
        self, base: nn.Module, lora_A: Tensor, lora_B: Tensor, scale: float, n: int, settings: Any, C: Tensor | None
    ) -> None:
        super().__init__()
        self.base, self.n, self.settings = base, n, settings
        self.r = lora_A.shape[0] - n
        dtype, device = torch.get_default_dtype(), torch.get_default_device()
        # Buffers, not parameters: no checkpoint of the base model holds them.
        self.register_buffer("down", lora_A.float().to(device), persistent=False)
        self.register_buffer("up", (lora_B[:, : self.r] * scale).to(device, dtype), persistent=False)
        self.register_buffer("C", None if C is None else C.float().to(device), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        latents = nn.functional.linear(x.float(), self.down)
        h = latents[..., : self.r]
        if self.n:
            gate = inference_gates(self.settings, latents[..., self.r :], self.C)
            h = (h.unflatten(-1, (self.n, -1)) * gate.unsqueeze(-1)).flatten(-2)
        output: Tensor = self.base(x)
        return output + nn.functional.linear(h.to(self.up.dtype), self.up)


def build_in(model: nn.Module, adapter: AdapterWeights) -> set[str]:
    """Replaces each adapted module of a transformers base model by an `Adapted`; returns their paths."""
    prefix = f"{model.base_model_prefix}."
    experts = adapter.layout[1]
    adapted_paths = set()
    for module_name, (lora_A, lora_B, scale) in adapter.matrices().items():
        module_path = module_name.removeprefix(prefix)
        try:
            base_module = model.get_submodule(module_path)
        except AttributeError:
            raise DataError(
                f"{adapter.path} adapts {module_name}, which is not inside {type(model).__name__}",
                "only modules below the language-model head can be served this way",
            ) from None
        model.set_submodule(
            module_path,
            Adapted(base_module, lora_A, lora_B, scale, experts, adapter.settings, adapter.mixer(module_name)),
        )
        adapted_paths.add(module_path)
    return adapted_paths


def renamed(
    weights: Iterable[tuple[str, Tensor]], adapted_paths: set[str], prefix: str
) -> Iterator[tuple[str, Tensor]]:
    """Yields a checkpoint's weights, those of adapted modules renamed to `.base`."""
    for name, weight in weights:
        module, _, leaf = name.rpartition(".")
        yield (f"{module}.base.{leaf}" if module.removeprefix(f"{prefix}.") in adapted_paths else name), weight


Initializer = Callable[..., None]


def usable_outside(
    original_init: Initializer, changed_init: Initializer, vllm_config: Callable[[], Any]
) -> Initializer:
    """Returns an `__init__` for a transformers class that vLLM has changed for good, from `original_init` to
    `changed_init`.

    Models that transformers builds by itself later in this process, outside of any vLLM, are as they always were.
    """

    @functools.wraps(original_init)
    def init(model: Any, *args: Any, **kwargs: Any) -> None:
        if vllm_config() is not None:
            changed_init(model, *args, **kwargs)
        else:
            original_init(model, *args, **kwargs)
            model.do_not_compile = True  # read by vLLM's `__call__` of the class

    return init
