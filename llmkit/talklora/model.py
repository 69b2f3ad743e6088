"""The tuner: finds the layers, adapts them, and owns what they share."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTuner
from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING, AuxiliaryTrainingWrapper
from torch import Tensor, nn

from llmkit.talklora.config import TalkLoraConfig
from llmkit.talklora.layer import BASE, ForwardPass, TalkLoraLayer, up_projection

_SHARED = "talklora_B_"


def share_group(module_path: str, in_features: int, out_features: int) -> str:
    """The projection type of a module: all modules of one type share one B.

    >>> share_group("model.layers.3.self_attn.q_proj", 576, 576)
    'model_layers_self_attn_q_proj_576x576'
    """
    words = [word for word in module_path.split(".") if not word.isdigit()]
    return re.sub(r"\W", "_", "_".join(words)) + f"_{in_features}x{out_features}"


class TalkLoraModel(BaseTuner):
    """A model with TalkLoRA adapters. Made by `peft.get_peft_model(model, TalkLoraConfig(...))`.

    B, shared across layers, is held here as `talklora_B_<group>`, one ModuleDict of adapters for each projection type.
    """

    prefix = "talklora_"
    tuner_layer_cls = TalkLoraLayer
    target_module_mapping = TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING
    uses_shared_state = True

    def inject_adapter(self, model: nn.Module, adapter_name: str, *args: Any, **kwargs: Any) -> None:
        self._check_names()
        # PEFT restores the flags of older adapters after an injection, but only of those inside `model`.
        flags = [(p, p.requires_grad) for name, p in self._shared_parameters() if name != adapter_name]
        super().inject_adapter(model, adapter_name, *args, **kwargs)
        for parameter, flag in flags:
            parameter.requires_grad_(flag)
        if self.peft_config[adapter_name].balance_coef:
            self.watch_passes()

    def _check_names(self) -> None:
        """Where PEFT saves one adapter it leaves out every weight whose path has another's name as a word."""
        paths = [path.split(".") for path, _ in self.model.named_modules()]
        ours = ("modules_to_save", *TalkLoraLayer.adapter_layer_names)  # what stands below is called like adapters
        words = {word for path in paths if not set(path) & set(ours) for word in path} | set(ours)
        if len(self.peft_config) > 1 and (wrong := words & set(self.peft_config)):
            raise ValueError(
                f"an adapter beside others cannot be called {', '.join(sorted(wrong))}: a module has that name, and "
                "PEFT would save the other adapters without its weights"
            )

    def _create_and_replace(
        self,
        config: TalkLoraConfig,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
        **unused: Any,
    ) -> None:
        layer = target if isinstance(target, TalkLoraLayer) else TalkLoraLayer(target, self.current)
        shared_B = self._shared(config, adapter_name, current_key, layer) if config.share_B else None
        layer.update_layer(adapter_name, config, shared_B)
        if layer is not target:
            if adapter_name not in self.active_adapters:
                layer.requires_grad_(False)
            self._replace_module(parent, target_name, layer, target)

    @property
    def current(self) -> ForwardPass:
        """The forward pass under way, for load balancing and telemetry."""
        if "_current" not in self.__dict__:
            self.__dict__["_current"] = ForwardPass()
        return self.__dict__["_current"]

    def watch_passes(self) -> None:
        """From now on notes where a forward pass begins, and its attention mask."""
        if "_pass_hook" not in self.__dict__:
            hook = partial(_begin_pass, self.current)
            self.__dict__["_pass_hook"] = self.model.register_forward_pre_hook(hook, with_kwargs=True)

    def balance_loss(self) -> Tensor:
        """The load-balancing loss of the training pass just made, a scalar to add to that pass's loss.

        Summed over layers, `balance_coef` n sum_i f_i P_i, of means over the pass's tokens. So under gradient
        accumulation it is divided by the number of passes, as a mean loss is. Zero without `balance_coef` and in
        evaluation mode. RuntimeError where reentrant checkpointing lost its gradient.
        """
        losses = self.current.end()
        if not losses:
            return torch.zeros(())
        total = torch.stack([loss.to(losses[0].device) for loss in losses]).sum()
        if torch.is_grad_enabled() and not total.requires_grad and any(p.requires_grad for p in self.parameters()):
            raise RuntimeError("balance_coef needs non-reentrant gradient checkpointing: set use_reentrant=False")
        return total

    # ---- B, shared by the layers of one projection type

    def _shared(self, config: TalkLoraConfig, adapter_name: str, key: str, layer: TalkLoraLayer) -> nn.Linear:
        attribute = _SHARED + share_group(key, layer.in_features, layer.out_features)
        if attribute not in self._modules:
            setattr(self, attribute, nn.ModuleDict())
        modules = getattr(self, attribute)
        if adapter_name not in modules:
            device, dtype = layer._get_base_layer_device_and_dtype(layer.get_base_layer())
            module = up_projection(config, layer.out_features)
            if dtype is not None and not dtype.is_floating_point:
                dtype = None
            modules[adapter_name] = module if module.weight.is_meta else module.to(device, dtype)
        return modules[adapter_name]

    def _shared_modules(self) -> Iterator[nn.ModuleDict]:
        return (module for name, module in self._modules.items() if name.startswith(_SHARED))

    def _shared_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        return ((name, module.weight) for modules in self._shared_modules() for name, module in modules.items())

    def _cast_adapter_dtype(self, adapter_name: str, autocast_adapter_dtype: bool = True) -> None:
        super()._cast_adapter_dtype(adapter_name, autocast_adapter_dtype)
        if autocast_adapter_dtype:
            for name, parameter in self._shared_parameters():
                if name == adapter_name and parameter.dtype in (torch.float16, torch.bfloat16):
                    parameter.data = parameter.data.float()

    def delete_adapter(self, adapter_name: str) -> None:
        super().delete_adapter(adapter_name)
        for modules in self._shared_modules():
            if adapter_name in modules:
                del modules[adapter_name]

    # ---- several adapters in one batch

    @contextmanager
    def _enable_peft_forward_hooks(self, *args: Any, **kwargs: Any) -> Iterator[None]:
        """Passes `adapter_names`, one for each row ("__base__": none), to all that an adapter replaced."""
        names = kwargs.get("adapter_names")
        if names is None:
            yield
            return
        if self.training:
            raise ValueError("adapter_names works in evaluation mode only: call model.eval() first")
        unknown = sorted(set(names) - set(self.peft_config) - {BASE})
        if unknown:
            raise ValueError(f"unknown adapters {', '.join(unknown)}: loaded are {', '.join(self.peft_config)}")
        beams = kwargs.get("num_beams") or 1
        adapted = (TalkLoraLayer, AuxiliaryTrainingWrapper)  # the second holds `modules_to_save`
        hooks = [
            module.register_forward_pre_hook(partial(_pass_names, list(names), beams), with_kwargs=True)
            for module in self.modules()
            if isinstance(module, adapted)
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


def _begin_pass(current: ForwardPass, module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
    if any(loss.requires_grad for loss in current.end()):
        warnings.warn("balance_coef had no effect: add `model.base_model.balance_loss()` to the loss", stacklevel=2)
    mask = kwargs.get("attention_mask")
    current.begin(mask if isinstance(mask, Tensor) else None)


def _pass_names(names: list[str], beams: int, module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
    rows = args[0].shape[0]
    if rows == len(names) * beams:  # beam search repeats each row
        names = [name for name in names for _ in range(beams)]
    if rows != len(names):
        raise ValueError(f"adapter_names has {len(names)} entries for a batch of {rows} rows")
    return args, {**kwargs, "adapter_names": names}
