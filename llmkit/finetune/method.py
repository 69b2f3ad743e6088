"""The model with its adapter: any method of PEFT by name, and what is wrong with a name that does not fit."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from llmkit.errors import EngineError, UsageError
from llmkit.recipe.schema import FinetuneSection, Recipe
from llmkit.registry import nearest, unknown

if TYPE_CHECKING:
    from peft import PeftConfig
    from torch import nn

    from llmkit.engines.model_paths import LocalModel

# What PEFT's methods call the things that a recipe names once.
_NAMES = {
    "alpha": ("alpha", "lora_alpha", "hira_alpha", "scaling"),
    "dropout": ("dropout", "lora_dropout", "hira_dropout", "module_dropout"),
    "num_experts": ("num_experts", "num_B"),
}


def peft_config(section: FinetuneSection, model: nn.Module | None = None) -> PeftConfig:
    """The method's PEFT configuration. UsageError for a method, option or module that does not exist."""
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    from llmkit.engines.adapters import METHODS
    from llmkit.talklora import PRESETS, TalkLoraConfig

    if model is not None:
        check_targets(section.target_modules, model)
    config_class: type[PeftConfig]
    fixed: dict[str, Any] = {}
    if section.method in PRESETS:
        config_class, fixed = TalkLoraConfig, {**PRESETS[section.method]}
    elif section.method == "dora":
        config_class, fixed = PEFT_TYPE_TO_CONFIG_MAPPING["LORA"], {"use_dora": True}
    else:
        known = {str(kind.value).lower(): c for kind, c in PEFT_TYPE_TO_CONFIG_MAPPING.items()}
        if section.method not in known and section.method not in METHODS:
            raise unknown("method", section.method, [*known, *PRESETS, "dora", *METHODS])
        config_class = known.get(section.method) or METHODS[section.method]
    accepted = {field.name for field in dataclasses.fields(config_class) if field.init}
    wrong = sorted(set(section.options) - accepted)
    if wrong:
        close = nearest(wrong[0], accepted)
        hint = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(sorted(accepted))}"
        raise UsageError(f"finetune.options.{wrong[0]} is no field of {config_class.__name__}", hint)
    settings = {**_common(section, accepted), **fixed, **section.options}
    try:
        return config_class(**settings)
    except (TypeError, ValueError) as error:
        raise UsageError(f"finetune: {section.method} cannot be set up: {error}") from None


def _common(section: FinetuneSection, accepted: set[str]) -> dict[str, Any]:
    """The recipe's own fields under the names that the method knows; those it does not know are left out."""
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
    """UsageError for target modules that match nothing, with the nearest names of the model."""
    if isinstance(targets, str):
        return  # PEFT says itself when a regular expression or `all-linear` matches nothing
    paths = [path for path, _ in model.named_modules() if path]
    for target in targets:
        if not any(path == target or path.endswith(f".{target}") for path in paths):
            linear = {p.split(".")[-1] for p, m in model.named_modules() if type(m).__name__ in ("Linear", "Conv1D")}
            close = nearest(target, linear)
            hint = f"did you mean {' or '.join(close)}?" if close else f"linear layers: {', '.join(sorted(linear))}"
            raise UsageError(f"finetune.target_modules: the model has no module `{target}`", hint)


def torch_dtype(recipe: Recipe) -> Any:
    import torch

    asked = recipe.finetune.train.dtype
    if asked == "auto":
        return torch.bfloat16 if torch.cuda.is_available() else torch.float32
    return getattr(torch, asked)


def load_base(recipe: Recipe, model: LocalModel, *, empty: bool = False) -> nn.Module:
    """The base model, frozen by PEFT later. `empty` builds it without weights or memory, to count its parameters."""
    import torch
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoModelForCausalLM

    code = recipe.engine.trust_remote_code
    try:
        if empty:
            config = AutoConfig.from_pretrained(model.folder, trust_remote_code=code)
            with torch.device("meta"):
                return AutoModelForCausalLM.from_config(config, dtype=torch_dtype(recipe), trust_remote_code=code)
        return AutoModelForCausalLM.from_pretrained(
            model.folder,
            dtype=torch_dtype(recipe),
            trust_remote_code=code,
            use_safetensors=True,
            **_quantised(recipe.finetune.train.load_in),
        )
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise EngineError(f"{model.name} cannot be loaded: {error}", "is it complete, in safetensors?") from None


def _quantised(load_in: str) -> dict[str, Any]:
    if load_in == "none":
        return {}
    import importlib.util

    if importlib.util.find_spec("bitsandbytes") is None:
        raise UsageError(f"finetune.train.load_in {load_in} needs bitsandbytes", "pip install bitsandbytes")
    from transformers import BitsAndBytesConfig

    return {"quantization_config": BitsAndBytesConfig(load_in_8bit=load_in == "8bit", load_in_4bit=load_in == "4bit")}


def adapt(recipe: Recipe, base: nn.Module) -> nn.Module:
    """The base model with a fresh adapter, seeded by the recipe. UsageError where the method does not fit the model."""
    import torch
    from peft import get_peft_model

    config = peft_config(recipe.finetune, base)
    torch.manual_seed(recipe.seed)
    try:
        return get_peft_model(base, config)
    except (ValueError, TypeError, KeyError, NotImplementedError) as error:
        raise UsageError(f"finetune: {recipe.finetune.method} does not fit this model: {error}") from None
