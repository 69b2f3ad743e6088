"""The tuner: finds the layers, adapts them, and owns what they share."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import torch
from peft import PeftConfig
from peft.tuners.tuners_utils import BaseTuner, onload_layer
from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING, AuxiliaryTrainingWrapper
from torch import Tensor, nn

from llmkit.talklora.balancing import ForwardPass, unwatch, watch
from llmkit.talklora.config import TalkLoraConfig
from llmkit.talklora.layer import BASE, Linear, TalkLoraLayer
from llmkit.talklora.sharing import B_SUFFIX, ROOT, is_old, old_key, share_group
from llmkit.talklora.weights import up_projection

if TYPE_CHECKING:
    from llmkit.talklora.weights import Parts


class TalkLoraModel(BaseTuner):
    """A model with TalkLoRA adapters. Made by `peft.get_peft_model(model, TalkLoraConfig(...))`.

    B, shared across layers, is held here as `talklora_B.<adapter>.<group>` (see `sharing`).
    """

    prefix = "talklora_"
    tuner_layer_cls = TalkLoraLayer
    target_module_mapping = cast("dict[str, list[str]]", TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING)
    talklora_B: Parts[Parts[nn.Linear]]
    _loaded_B: dict[str, dict[str, Tensor]]

    def __init__(self, model: nn.Module, peft_config: Any, adapter_name: str, *args: Any, **kwargs: Any) -> None:
        # `get_peft_model` hands over configurations by name; `inject_adapter_in_model` passes a single one and
        # discards this object afterwards, and with it a shared B.
        if isinstance(peft_config, PeftConfig) and cast("TalkLoraConfig", peft_config).share_B:
            raise ValueError(
                "`inject_adapter_in_model` does not support TALKLORA with share_B=True, because B is shared state that "
                "the tuner owns, which it does not return: use `get_peft_model`, or share_B=False"
            )
        super().__init__(model, peft_config, adapter_name, *args, **kwargs)

    def inject_adapter(self, model: nn.Module, adapter_name: str, *args: Any, **kwargs: Any) -> None:
        self._warn_of_names()
        if "talklora_B" not in self._modules:
            self.talklora_B = cast("Parts[Parts[nn.Linear]]", nn.ModuleDict())
            self._loaded_B = {}
        # PEFT restores the flags of older adapters after an injection, but only of those inside `model`.
        earlier_flags = [
            (parameter, parameter.requires_grad)
            for other_name, parameter in self._shared_parameters()
            if other_name != adapter_name
        ]
        super().inject_adapter(model, adapter_name, *args, **kwargs)
        for parameter, requires_grad in earlier_flags:
            parameter.requires_grad_(requires_grad)
        if self._config(adapter_name).balance_coef:
            self.watch_passes()

    def _config(self, adapter_name: str) -> TalkLoraConfig:
        return cast("TalkLoraConfig", self.peft_config[adapter_name])

    def _create_and_replace(
        self,
        peft_config: PeftConfig,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
        parameter_name: str | None = None,
    ) -> None:
        settings = cast("TalkLoraConfig", peft_config)
        layer = target if isinstance(target, TalkLoraLayer) else Linear(target, self.current)
        shared_B = self._shared(settings, adapter_name, current_key, layer) if settings.share_B else None
        layer.update_layer(adapter_name, settings, shared_B)
        if layer is not target:
            if adapter_name not in self.active_adapters:
                layer.requires_grad_(False)
            self._replace_module(parent, target_name, layer, target)

    def _layers(self, adapter_name: str) -> dict[str, TalkLoraLayer]:
        """Lists every layer with this adapter, by its path in the base model."""
        return {
            module_path.replace("_fsdp_wrapped_module.", "").replace("_orig_mod.", ""): module
            for module_path, module in self.model.named_modules()
            if isinstance(module, TalkLoraLayer) and adapter_name in module.settings
        }

    # ---- names of adapters: where PEFT saves one, it leaves out every weight whose path has another's name as a word

    def _warn_of_names(self) -> None:
        split_paths = [module_path.split(".") for module_path, _ in self.model.named_modules()]
        # Whatever is below these is named after adapters.
        adapter_words = (
            "modules_to_save",
            *TalkLoraLayer.adapter_layer_names,
        )
        module_words = {
            word for module_path in split_paths if not set(module_path) & set(adapter_words) for word in module_path
        }
        module_words |= set(adapter_words)
        if len(self.peft_config) > 1 and (clashing_names := sorted(module_words & set(self.peft_config))):
            warnings.warn(
                f"an adapter is called {', '.join(clashing_names)}, as a module of this model is: the others cannot be "
                "saved beside it, because PEFT would leave out what is in that module",
                stacklevel=2,
            )

    @classmethod
    def _get_adapter_state_dict(
        cls,
        model: nn.Module,
        config: PeftConfig,
        adapter_name: str,
        state_dict: dict[str, Tensor],
        unwanted_adapter_names: list[str],
    ) -> dict[str, Tensor]:
        module_words = {
            word
            for module_path, module in model.named_modules()
            if isinstance(module, AuxiliaryTrainingWrapper)
            or (isinstance(module, TalkLoraLayer) and adapter_name in module.settings)
            for word in (*module_path.split("."), *TalkLoraLayer.adapter_layer_names)
        }
        if clashing_names := sorted(module_words & set(unwanted_adapter_names)):
            raise ValueError(
                f"adapter {adapter_name!r} cannot be saved beside one called {', '.join(clashing_names)}: a module has "
                "that name, and PEFT would leave out its weights. Delete that adapter, or load it under another name"
            )
        saved_tensors = super()._get_adapter_state_dict(model, config, adapter_name, state_dict, unwanted_adapter_names)
        keys_in_file = _places_of_shared(model, adapter_name)
        return {keys_in_file.get(tensor_key, tensor_key): tensor for tensor_key, tensor in saved_tensors.items()}

    @classmethod
    def _remap_adapter_state_dict_for_load(
        cls, model: nn.Module, config: PeftConfig, adapter_name: str, state_dict: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        settings = cast("TalkLoraConfig", config)
        if not settings.has_router:  # files of before held a router and C that one expert never used
            unused_suffixes = (".talklora_router.weight", ".talklora_C.weight")
            state_dict = {
                tensor_key: tensor
                for tensor_key, tensor in state_dict.items()
                if not tensor_key.endswith(unused_suffixes)
            }
        if settings.share_B:
            state_dict = _shared_to_model(model, adapter_name, state_dict)
        return super()._remap_adapter_state_dict_for_load(model, config, adapter_name, state_dict)

    # ---- the forward pass under way, for load balancing and telemetry

    @property
    def current(self) -> ForwardPass:
        if "_current" not in self.__dict__:
            self.__dict__["_current"] = ForwardPass()
        return cast("ForwardPass", self.__dict__["_current"])

    def watch_passes(self) -> None:
        """Starts to record the beginning and the attention mask of each forward pass."""
        watch(self.model, self.current)

    def unwatch_passes(self) -> None:
        """Ends `watch_passes`, unless an adapter balances its load."""
        if not any(self._config(name).balance_coef for name in self.peft_config):
            unwatch(self.model)

    def balance_loss(self) -> Tensor:
        """Returns the load-balancing loss of the training pass just made, a scalar to add to that pass's loss.

        Summed over layers, `balance_coef` n sum_i f_i P_i, of means over the pass's tokens. So under gradient
        accumulation it is divided by the number of passes, as a mean loss is. Zero without `balance_coef` and in
        evaluation mode. RuntimeError if reentrant checkpointing lost its gradient.
        """
        losses = self.current.end()
        if not losses:
            return torch.zeros(())
        total = torch.stack([loss.to(losses[0].device) for loss in losses]).sum()
        if torch.is_grad_enabled() and not total.requires_grad and any(p.requires_grad for p in self.parameters()):
            raise RuntimeError("balance_coef needs non-reentrant gradient checkpointing: set use_reentrant=False")
        return total

    # ---- B, shared by the layers of one projection type

    def _shared(self, config: TalkLoraConfig, adapter_name: str, path: str, layer: TalkLoraLayer) -> nn.Linear:
        if adapter_name not in self.talklora_B:
            self.talklora_B[adapter_name] = nn.ModuleDict()
        groups, group_name = self.talklora_B[adapter_name], share_group(path, layer.in_features, layer.out_features)
        if group_name not in groups:
            groups[group_name] = up_projection(config, layer.out_features)
        return groups[group_name]

    def _shared_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        for adapter_name, groups in self.talklora_B.items():
            for module in groups.values():
                yield adapter_name, cast("nn.Parameter", module.weight)

    def _cast_adapter_dtype(self, adapter_name: str, autocast_adapter_dtype: bool = True) -> None:
        self._keep_in_memory(adapter_name)  # here, because it is what PEFT calls last when it loads an adapter
        super()._cast_adapter_dtype(adapter_name, autocast_adapter_dtype)
        if not autocast_adapter_dtype:
            return
        # What PEFT does not visit: the shared B, and buffers, which is what a frozen C is.
        frozen_buffers = [
            buffer for layer in self._layers(adapter_name).values() for buffer in layer.talklora_C.buffers()
        ]
        for tensor in (
            *(parameter for owner_name, parameter in self._shared_parameters() if owner_name == adapter_name),
            *frozen_buffers,
        ):
            if tensor.dtype in (torch.float16, torch.bfloat16):
                tensor.data = tensor.data.float()

    def _keep_in_memory(self, adapter_name: str) -> None:
        """Offloads a shared B to memory if accelerate was set up to read it from the disk.

        PEFT writes to disk only what belongs to a layer, so a shared B could not be read again.
        """
        for group, tensor in self._loaded_B.pop(adapter_name, {}).items():
            module = self.talklora_B[adapter_name][group]
            hook = module.__dict__.get("_hf_hook")
            if module.weight.is_meta and hook is not None and "weight" not in hook.weights_map:
                hook.weights_map = {"weight": tensor.cpu()}

    def delete_adapter(self, adapter_name: str) -> None:
        super().delete_adapter(adapter_name)
        if adapter_name in self.talklora_B:
            del self.talklora_B[adapter_name]
        self.unwatch_passes()

    # ---- merging: all layers or none

    def merge_adapter(self, adapter_names: list[str] | None = None, safe_merge: bool = False) -> None:
        self._check_merge(adapter_names, safe_merge)
        super().merge_adapter(adapter_names, safe_merge)

    def _unload_and_optionally_merge(
        self,
        merge: bool = True,
        progressbar: bool = False,
        safe_merge: bool = False,
        adapter_names: list[str] | None = None,
    ) -> Any:
        if merge:
            self._check_merge(adapter_names, safe_merge)
        # PEFT returns the base model here and types it as None.
        base_model: nn.Module = cast(Any, super())._unload_and_optionally_merge(
            merge, progressbar, safe_merge, adapter_names
        )
        unwatch(base_model)
        return base_model

    def _check_merge(self, adapter_names: list[str] | None, safe_merge: bool) -> None:
        for layer in self.model.modules():
            if isinstance(layer, TalkLoraLayer):
                with onload_layer(layer) if safe_merge else nullcontext():  # only NaNs need the weights
                    layer.check_merge(adapter_names, safe_merge)

    def supports_lora_conversion(self, adapter_name: str = "default") -> bool:
        # PEFT passes no name on
        checked_names = [adapter_name] if adapter_name in self.peft_config else self.active_adapters
        return all(self._config(checked_name).constant_gate is not None for checked_name in checked_names)

    # ---- several adapters in one batch

    @contextmanager
    def _enable_peft_forward_hooks(self, *args: Any, **kwargs: Any) -> Iterator[None]:
        """Passes `adapter_names`, one for each row ("__base__": none), to all that an adapter replaced."""
        row_adapters = kwargs.get("adapter_names")
        if row_adapters is None:
            yield
            return
        if self.training:
            raise ValueError("Cannot pass `adapter_names` when the model is in training mode.")
        unknown_names = sorted(set(row_adapters) - set(self.peft_config) - {BASE})
        if unknown_names:
            raise ValueError(
                f"Trying to infer with non-existing adapter(s): {', '.join(unknown_names)} (loaded: "
                f"{', '.join(self.peft_config)})"
            )
        beams = kwargs.get("num_beams") or 1
        adapted_types = (TalkLoraLayer, AuxiliaryTrainingWrapper)  # the second holds `modules_to_save`
        hooks = [
            module.register_forward_pre_hook(partial(_pass_names, list(row_adapters), beams), with_kwargs=True)
            for module in self.modules()
            if isinstance(module, adapted_types)
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


def _pass_names(
    names: list[str], beams: int, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    row_count = args[0].shape[0]
    if row_count == len(names) * beams:  # beam search repeats each row
        names = [name for name in names for _ in range(beams)]
    if row_count != len(names):
        raise ValueError(
            "Length of `adapter_names` should be the same as the number of inputs, but got "
            f"{len(names)} and {row_count} respectively."
        )
    return args, {**kwargs, "adapter_names": names}


# ---- the shared B in a file: below the first layer that uses it


def _tuner_of(model: nn.Module) -> tuple[str, TalkLoraModel | None]:
    """Finds the tuner inside a model, and its path with a dot. None if adapters were injected without one."""
    for module_path, module in model.named_modules():
        if isinstance(module, TalkLoraModel):
            return f"{module_path}." if module_path else "", module
    return "", None


def _places_of_shared(model: nn.Module, adapter_name: str) -> dict[str, str]:
    """Maps the key of each shared B in the model to its key in a file, below the first layer that uses it."""
    tuner_path, tuner = _tuner_of(model)
    if tuner is None or adapter_name not in tuner.talklora_B:
        return {}
    group_of_module = {id(module): group_name for group_name, module in tuner.talklora_B[adapter_name].items()}
    keys_in_file: dict[str, str] = {}
    for module_path, layer in tuner._layers(adapter_name).items():
        group_name = group_of_module[id(layer.up(adapter_name))]
        model_key = f"{tuner_path}talklora_B.{adapter_name}.{group_name}.weight"
        keys_in_file.setdefault(model_key, f"{tuner_path}model.{module_path}.talklora_B.{adapter_name}.weight")
    return keys_in_file


def _shared_to_model(model: nn.Module, adapter_name: str, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Renames every shared B of a file's tensors to its key in the model."""
    tuner_path, tuner = _tuner_of(model)
    if tuner is None or adapter_name not in tuner.talklora_B:
        return dict(state_dict)
    layers, groups = tuner._layers(adapter_name), tuner.talklora_B[adapter_name]
    group_of_module = {id(module): group_name for group_name, module in groups.items()}
    renamed = {
        file_key: tensor
        for file_key, tensor in state_dict.items()
        if not (file_key.endswith(B_SUFFIX) or is_old(file_key))
    }
    for file_key in state_dict.keys() - renamed.keys():
        module_path = file_key.removeprefix(ROOT).removesuffix(B_SUFFIX)
        if module_path in layers:
            group_name = group_of_module[id(layers[module_path].up(adapter_name))]
        elif (
            A := state_dict.get(f"{ROOT}{module_path}.talklora_A.weight")
        ) is not None:  # that layer is not in this model
            group_name = share_group(module_path, A.shape[1], state_dict[file_key].shape[0])
        else:
            continue
        renamed[f"{tuner_path}talklora_B.{adapter_name}.{group_name}.weight" if group_name in groups else file_key] = (
            state_dict[file_key]
        )
    for module_path, layer in layers.items():
        model_key = f"{tuner_path}talklora_B.{adapter_name}.{group_of_module[id(layer.up(adapter_name))]}.weight"
        if model_key not in renamed and (
            old_file_key := old_key(state_dict, module_path, layer.in_features, layer.out_features)
        ):
            # A copy, because in an old file one B may belong to two groups of today.
            renamed[model_key] = state_dict[old_file_key].clone()
    loaded_tensors = tuner._loaded_B[adapter_name] = {}
    for group_name, module in groups.items():
        if (tensor := renamed.get(f"{tuner_path}talklora_B.{adapter_name}.{group_name}.weight")) is not None:
            loaded_tensors[group_name] = tensor
            if module.weight.is_meta:  # as the weights of a base on the disk are, beside which PEFT would copy nothing
                module.weight = nn.Parameter(torch.empty_like(tensor), requires_grad=module.weight.requires_grad)
    return renamed
