"""The model with its adapter: any method of PEFT by name, and what is wrong with a name that does not fit."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, cast

from llmkit.errors import EngineError, UsageError
from llmkit.recipe.schema import FinetuneSection, Recipe
from llmkit.registry import nearest, unknown

if TYPE_CHECKING:
    import torch
    from peft import PeftConfig, PeftModel
    from torch import nn

    from llmkit.engines.model_paths import LocalModel

# What PEFT's methods call the things that a recipe names once.
_NAMES = {
    "alpha": ("alpha", "lora_alpha", "hira_alpha", "scaling"),
    "dropout": ("dropout", "lora_dropout", "hira_dropout", "module_dropout"),
    "num_experts": ("num_experts", "num_B"),
}


def peft_config(section: FinetuneSection, model: nn.Module | None = None) -> PeftConfig:
    """Creates the method's PEFT configuration. UsageError for a method, option or module that does not exist."""
    from peft import PeftType
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    from llmkit.engines.adapters import METHODS
    from llmkit.talklora import PRESETS, TalkLoraConfig

    if model is not None:
        check_targets(section.target_modules, model)
    fixed_settings: dict[str, Any] = {}
    config_class: type[PeftConfig]
    if section.method in PRESETS:
        config_class, fixed_settings = TalkLoraConfig, {**PRESETS[section.method]}
    elif section.method == "dora":
        config_class, fixed_settings = PEFT_TYPE_TO_CONFIG_MAPPING[PeftType.LORA], {"use_dora": True}
    else:
        known_methods = {
            str(kind.value).lower(): method_config for kind, method_config in PEFT_TYPE_TO_CONFIG_MAPPING.items()
        }
        if section.method not in known_methods and section.method not in METHODS:
            raise unknown("method", section.method, [*known_methods, *PRESETS, "dora", *METHODS])
        config_class = known_methods.get(section.method) or METHODS[section.method]
    accepted_options = {field.name for field in dataclasses.fields(config_class) if field.init}
    unknown_options = sorted(set(section.options) - accepted_options)
    if unknown_options:
        close_names = nearest(unknown_options[0], accepted_options)
        hint = (
            f"did you mean {' or '.join(close_names)}?"
            if close_names
            else f"known: {', '.join(sorted(accepted_options))}"
        )
        raise UsageError(f"finetune.options.{unknown_options[0]} is not a field of {config_class.__name__}", hint)
    settings = {**_common(section, accepted_options), **fixed_settings, **section.options}
    try:
        return config_class(**settings)
    except (TypeError, ValueError) as error:
        raise UsageError(f"finetune: {section.method} cannot be set up: {error}") from None


def _common(section: FinetuneSection, accepted: set[str]) -> dict[str, Any]:
    """Returns the recipe's own fields under the method's names for them, without those it lacks."""
    targets = section.target_modules
    settings: dict[str, Any] = {
        "r": section.r,
        "target_modules": targets if isinstance(targets, str) else list(targets),
        "task_type": "CAUSAL_LM",
    }
    for name, aliases in _NAMES.items():
        for alias in aliases:
            if alias in accepted:
                settings[alias] = getattr(section, name)
                break
    if "scaling" in settings:  # Lily's factor is not divided by the rank
        settings["scaling"] = section.alpha / section.r
    return {name: value for name, value in settings.items() if name in accepted}


def check_targets(targets: tuple[str, ...] | str, model: nn.Module) -> None:
    """Raises UsageError for target modules that match nothing, with the nearest names of the model."""
    if isinstance(targets, str):
        return  # PEFT says itself when a regular expression or `all-linear` matches nothing
    paths = [path for path, _ in model.named_modules() if path]
    for target in targets:
        if not any(path == target or path.endswith(f".{target}") for path in paths):
            linear_names = {
                module_path.split(".")[-1]
                for module_path, module in model.named_modules()
                if type(module).__name__ in ("Linear", "Conv1D")
            }
            close_names = nearest(target, linear_names)
            hint = (
                f"did you mean {' or '.join(close_names)}?"
                if close_names
                else f"linear layers: {', '.join(sorted(linear_names))}"
            )
            raise UsageError(f"finetune.target_modules: the model has no module `{target}`", hint)


def torch_dtype(recipe: Recipe) -> torch.dtype:
    """Returns the type of weights and activations: the recipe's, or bfloat16 on a GPU and float32 on a CPU."""
    import torch

    name = recipe.finetune.train.dtype
    if name == "auto":
        return torch.bfloat16 if torch.cuda.is_available() else torch.float32
    return cast("torch.dtype", getattr(torch, name))


def load_base(recipe: Recipe, model: LocalModel, *, empty: bool = False) -> nn.Module:
    """Loads the base model, which PEFT freezes later. `empty` builds it without weights or memory, to count its
    parameters."""
    import torch
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoModelForCausalLM

    trust_remote_code = recipe.engine.trust_remote_code
    try:
        if empty:
            config = AutoConfig.from_pretrained(model.folder, trust_remote_code=trust_remote_code)
            with torch.device("meta"):
                base = AutoModelForCausalLM.from_config(
                    config, dtype=torch_dtype(recipe), trust_remote_code=trust_remote_code
                )
        else:
            base = AutoModelForCausalLM.from_pretrained(
                model.folder,
                dtype=torch_dtype(recipe),
                trust_remote_code=trust_remote_code,
                use_safetensors=True,
                **_quantised(recipe.finetune.train.load_in),
            )
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise EngineError(
            f"{model.name} cannot be loaded: {error}", "check that it is complete and in safetensors format"
        ) from None
    return cast("nn.Module", base)


def _quantised(load_in: str) -> dict[str, Any]:
    if load_in == "none":
        return {}
    import importlib.util

    if importlib.util.find_spec("bitsandbytes") is None:
        raise UsageError(f"finetune.train.load_in {load_in} needs bitsandbytes", "pip install bitsandbytes")
    from transformers import BitsAndBytesConfig

    return {"quantization_config": BitsAndBytesConfig(load_in_8bit=load_in == "8bit", load_in_4bit=load_in == "4bit")}


def adapt(recipe: Recipe, base: nn.Module) -> PeftModel:
    """Adds a fresh adapter, seeded by the recipe, to the base model. UsageError if the method does not fit the
    model."""
    import torch
    from peft import get_peft_model

    config = peft_config(recipe.finetune, base)
    torch.manual_seed(recipe.seed)
    try:
        return cast("PeftModel", get_peft_model(base, config))
    except (ValueError, TypeError, KeyError, NotImplementedError) as error:
        raise UsageError(f"finetune: {recipe.finetune.method} does not fit this model: {error}") from None
