"""Ways out of the adapter: exact folding for serving, and a static LoRA with its measured error."""

from __future__ import annotations

import dataclasses
import json
import warnings
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from peft import LoraConfig
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from llmkit.talklora.config import TalkLoraConfig
from llmkit.talklora.functions import latent_map
from llmkit.talklora.layer import TalkLoraLayer
from llmkit.talklora.model import TalkLoraModel
from llmkit.talklora.registration import NAME
from llmkit.talklora.sharing import ROOT, find_shared
from llmkit.talklora.telemetry import Telemetry


class FoldedLayer(NamedTuple):
    """A layer without C and E: u, logits = split(lora_A x); y = scale * lora_B [u * repeat(softmax(logits), m); 0].

    lora_A (n m + n, d): first the experts' rows, blockdiag(E) A, then the router's, W_g (C kron I) A.
    lora_B (k, n m + n): [B_1 ... B_n | 0], the last n columns zero.
    """

    lora_A: Tensor
    lora_B: Tensor
    scale: float


def fold_adapter(
    config: TalkLoraConfig, state_dict: Mapping[str, Tensor], any_gates: bool = False
) -> dict[str, FoldedLayer]:
    """Folds every adapted module of a saved adapter, by its path in the base model, into the exact form for inference.

    `state_dict` has the keys of `adapter_model.safetensors`. ValueError if weights are missing, or where gates are
    not one softmax of the router's logits (top_k, talk="after-softmax"); with `any_gates` these fold too, for a caller
    that turns logits into gates by `functions.inference_gates`.
    """
    if not (config.one_softmax or any_gates):
        raise ValueError(
            "only adapters whose gates are one dense softmax fold: this one has top_k or talk='after-softmax'"
        )
    suffix = ".talklora_A.weight"
    paths = [
        tensor_key.removeprefix(ROOT).removesuffix(suffix) for tensor_key in state_dict if tensor_key.endswith(suffix)
    ]
    if not paths:
        raise ValueError("no TalkLoRA weights in this state dict: its keys end in .talklora_A.weight")
    return {module_path: _fold_layer(config, state_dict, module_path) for module_path in paths}


@torch.no_grad()
def _fold_layer(config: TalkLoraConfig, state_dict: Mapping[str, Tensor], path: str) -> FoldedLayer:
    def get(name: str, wanted: bool) -> Tensor | None:
        tensor_key = f"{ROOT}{path}.talklora_{name}.weight"
        if wanted and tensor_key not in state_dict:
            raise ValueError(f"{tensor_key} is missing")
        return state_dict[tensor_key].to(wide_dtype) if wanted else None

    A = state_dict[f"{ROOT}{path}.talklora_A.weight"]
    dtype, wide_dtype = A.dtype, torch.promote_types(A.dtype, torch.float32)
    n = config.num_experts
    W = get("router", config.has_router)
    folded_rows = latent_map(
        config, get("E", config.transform), W, get("C", config.has_talk), like=A.to(wide_dtype)
    ) @ A.to(wide_dtype)
    if W is None:
        # Equal logits: every gate is 1/n
        folded_rows = torch.cat([folded_rows, folded_rows.new_zeros(n, folded_rows.shape[1])])
    elif config.router_input == "input":
        folded_rows = torch.cat([folded_rows, W])
    B = find_shared(state_dict, path, A.shape[1]) if config.share_B else state_dict[f"{ROOT}{path}.talklora_B.weight"]
    B = torch.cat([B, B.new_zeros(B.shape[0], n)], dim=1)
    return FoldedLayer(folded_rows.to(dtype).contiguous(), B.contiguous(), config.scale)


class AdapterError(ValueError):
    """A folder that is not a TalkLoRA adapter, or not a whole one."""


def read_adapter(folder: str | Path) -> tuple[TalkLoraConfig, dict[str, Tensor]]:
    """Reads settings and weights of a saved adapter. Refuses pickles, broken files and other methods with
    AdapterError."""
    folder = Path(folder)
    settings, weights = folder / "adapter_config.json", folder / "adapter_model.safetensors"
    if not settings.is_file():
        raise AdapterError(f"{folder} has no adapter_config.json: it is not a PEFT adapter")
    if not weights.is_file():
        has_pickle = (folder / "adapter_model.bin").exists()
        raise AdapterError(
            f"{folder} has no adapter_model.safetensors"
            + (": adapter_model.bin is a pickle, which can run code, and is not read" if has_pickle else "")
        )
    try:
        fields = json.loads(settings.read_text(encoding="utf-8"))
        state_dict = load_file(weights)
    except Exception as error:
        raise AdapterError(f"{folder} is damaged: {error}") from error
    if fields.get("peft_type") != NAME:
        raise AdapterError(f"{folder} is a {fields.get('peft_type')} adapter, not {NAME}")
    known_fields = {config_field.name for config_field in dataclasses.fields(TalkLoraConfig)}
    return TalkLoraConfig(
        **{field_name: value for field_name, value in fields.items() if field_name in known_fields}
    ), state_dict


@torch.no_grad()
def static_lora(
    model: nn.Module, batches: Iterable[Mapping[str, Tensor]], folder: str | Path, adapter_name: str = "default"
) -> dict[str, float]:
    """Writes a plain, mergeable LoRA whose gates are the means over `batches`; returns its relative error by module.

    The error is ||y_static - y|| / ||y|| of the adapter's own output over all real tokens of the batches: what is lost
    by gates that no longer see the input. It is warned of, and written to `static_lora.json` beside the weights.
    """
    tuner = next(module for module in model.modules() if isinstance(module, TalkLoraModel))
    layers = {
        module_path: module
        for module_path, module in tuner.model.named_modules()
        if isinstance(module, TalkLoraLayer) and adapter_name in module.settings
    }
    config = cast("TalkLoraConfig", tuner.peft_config[adapter_name])
    batches = list(batches)
    was_training = model.training
    model.eval()
    with Telemetry(model, adapter_name) as telemetry:
        for batch in batches:
            model(**batch)
    mean_gates = {
        module_path: layer_report["load"]
        for module_path, layer_report in telemetry.report().items()
        if "load" in layer_report
    }
    static_weights = {
        module_path: _static(layer, mean_gates.get(module_path), adapter_name) for module_path, layer in layers.items()
    }
    errors = _static_errors(model, layers, static_weights, batches, adapter_name)
    model.train(was_training)
    _write_lora(Path(folder), static_weights, config, errors)
    mean_error = sum(errors.values()) / len(errors)
    warnings.warn(
        f"gates replaced by their means: the adapter's output changes by {mean_error:.0%} "
        f"(mean over {len(errors)} modules)",
        stacklevel=2,
    )
    return errors


def _static(layer: TalkLoraLayer, load: list[float] | None, name: str) -> tuple[Tensor, Tensor]:
    """Returns lora_A (n m, d) = s diag(mean gate) blockdiag(E) A and lora_B (k, n m)."""
    config, A, E = layer.settings[name], layer.talklora_A[name].weight, layer.weights(name)["E"]
    gate = torch.tensor(load or [1 / config.num_experts] * config.num_experts, dtype=A.dtype, device=A.device)
    rows = latent_map(config, E, None, None, like=A) @ A
    return config.scale * gate.repeat_interleave(config.expert_rank)[:, None] * rows, layer.up(name).weight


def _static_errors(
    model: nn.Module,
    layers: dict[str, TalkLoraLayer],
    static: dict[str, tuple[Tensor, Tensor]],
    batches: list[Mapping[str, Tensor]],
    name: str,
) -> dict[str, float]:
    squared_sums = {module_path: [0.0, 0.0] for module_path in layers}

    def measure(path: str, layer: TalkLoraLayer, args: tuple[Any, ...], output: Tensor) -> None:
        x = args[0].to(static[path][0].dtype)
        exact, approximate = layer.delta(x, name), x @ static[path][0].T @ static[path][1].T
        keep = layer.current.mask_of(exact)
        if keep is not None:
            exact, approximate = exact * keep[..., None], approximate * keep[..., None]
        squared_sums[path][0] += (approximate - exact).square().sum().item()
        squared_sums[path][1] += exact.square().sum().item()

    hooks = [
        cast("nn.Module", layer).register_forward_hook(partial(measure, module_path))
        for module_path, layer in layers.items()
    ]
    for batch in batches:
        model(**batch)
    for hook in hooks:
        hook.remove()
    return {module_path: (error / size) ** 0.5 if size else 0.0 for module_path, (error, size) in squared_sums.items()}


def _write_lora(
    folder: Path, static: dict[str, tuple[Tensor, Tensor]], config: TalkLoraConfig, errors: dict[str, float]
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for module_path, (A, B) in static.items():
        tensors[f"{ROOT}{module_path}.lora_A.weight"] = A.detach().cpu().contiguous()
        # Shared B, once for each layer
        tensors[f"{ROOT}{module_path}.lora_B.weight"] = B.detach().cpu().clone().contiguous()
    save_file(tensors, folder / "adapter_model.safetensors")
    LoraConfig(
        r=config.up_rank,
        lora_alpha=config.up_rank,
        target_modules=sorted(static),
        task_type=config.task_type,
        base_model_name_or_path=config.base_model_name_or_path,
        inference_mode=True,
    ).save_pretrained(str(folder))
    (folder / "static_lora.json").write_text(json.dumps({"relative_error": errors}, indent=1) + "\n", encoding="utf-8")
