"""A PEFT method: what `llmkit finetune` trains. It is registered with PEFT, which also saves and loads its adapters."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from peft import PeftConfig
from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer
from peft.utils import register_peft_method
from torch import Tensor, nn

from llmkit.talklora.registration import add_peft_type

SHIFT = add_peft_type("SHIFT", added_by="llmkit_example")


@dataclass
class ShiftConfig(PeftConfig):
    """Settings of the method. `llmkit finetune` fills in the fields that a recipe has under the same name; others are
    set by `finetune.options`."""

    target_modules: list[str] | str | None = field(default=None, metadata={"help": "Names of linear modules."})
    exclude_modules: list[str] | str | None = field(default=None, metadata={"help": "Names to leave out."})
    modules_to_save: list[str] | None = field(default=None, metadata={"help": "Modules trained whole."})
    layers_to_transform: list[int] | None = field(default=None, metadata={"help": "Only these layer indices."})
    layers_pattern: str | None = field(default=None, metadata={"help": "Name of the list of layers."})
    factor: float = field(default=1.0, metadata={"help": "Factor on the learned vector."})

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = SHIFT
        if isinstance(self.target_modules, list):
            self.target_modules = set(self.target_modules)


class ShiftLayer(nn.Module, BaseTunerLayer):
    """A linear layer whose output is moved by a learned vector: y = W x + factor * b, with b = 0 at the start."""

    adapter_layer_names = ("shift_b",)
    other_param_names = ("factors",)

    def __init__(self, base_layer: nn.Linear) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.factors: dict[str, float] = {}
        self.shift_b = nn.ParameterDict()
        self.merged_adapters: list[str] = []
        self._disable_adapters = False

    def update_layer(self, adapter_name: str, config: ShiftConfig) -> None:
        """Adds an adapter to this layer."""
        self.factors[adapter_name] = config.factor
        self.shift_b[adapter_name] = nn.Parameter(torch.zeros(self.base_layer.out_features))
        self._move_adapter_to_device_of_base_layer(adapter_name)
        self.set_adapter(self.active_adapters)

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Maps (..., in) to (..., out)."""
        y = self.base_layer(x, *args, **kwargs)
        if not self.disable_adapters:
            for name in self.active_adapters:
                if name in self.shift_b:
                    y = y + self.factors[name] * self.shift_b[name].to(y.dtype)
        return y


class ShiftModel(BaseTuner):
    """A model whose target layers are `ShiftLayer`."""

    prefix = "shift_"
    tuner_layer_cls = ShiftLayer
    target_module_mapping: dict[str, list[str]] = {}  # noqa: RUF012  (PEFT reads a plain attribute)

    def _create_and_replace(
        self,
        config: ShiftConfig,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
        **unused: Any,
    ) -> None:
        layer = target if isinstance(target, ShiftLayer) else ShiftLayer(target)
        layer.update_layer(adapter_name, config)
        if layer is not target:
            if adapter_name not in self.active_adapters:
                layer.requires_grad_(False)
            self._replace_module(parent, target_name, layer, target)


register_peft_method(name="shift", config_cls=ShiftConfig, model_cls=ShiftModel)
