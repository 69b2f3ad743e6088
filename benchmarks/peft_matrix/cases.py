"""The configurations of TalkLoRA that take the place of other methods' in PEFT's parametrised tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llmkit.talklora import TalkLoraConfig

Kwargs = dict[str, Any]


@dataclass
class OneExpertConfig(TalkLoraConfig):
    """TalkLoRA with one expert, whose gate is 1, so that PEFT's tests of merging apply to it."""

    num_experts: int = 1


# Gates of these depend on the input, and so they cannot be merged.
SWITCHES: dict[str, Kwargs] = {
    "": {},
    "without talk": {"talk": "off"},
    "frozen talk": {"talk": "frozen"},
    "talk after the softmax": {"talk": "after-softmax"},
    "input-routed": {"talk": "off", "router_input": "input"},
    "own B": {"share_B": False},
    "without E": {"transform": False},
    "shared A": {"talk": "off", "router_input": "input", "share_A": True},
    "top 2": {"r": 8, "num_experts": 4, "top_k": 2},
    "rsLoRA": {"alpha": 8, "use_rslora": True},
}
SMALL: Kwargs = {"r": 4, "num_experts": 2}
ONE: Kwargs = {"r": 4}


def custom() -> list[tuple[str, str, type, Kwargs]]:
    """Rows of `TEST_CASES` in PEFT's tests of custom models: name, model, class, settings."""
    rows = []
    for name, switch in SWITCHES.items():
        label = f"TalkLoRA {name}".strip()
        rows.append((f"Vanilla MLP {label}", "MLP", TalkLoraConfig, {"target_modules": ["lin0"], **SMALL, **switch}))
    for cls, size, label in ((TalkLoraConfig, SMALL, "TalkLoRA"), (OneExpertConfig, ONE, "TalkLoRA, one expert")):
        rows += [
            (f"MLP 1 {label}", "MLP", cls, {"target_modules": "lin0", **size}),
            (f"MLP 2 {label}", "MLP", cls, {"target_modules": ["lin1"], **size}),
            (f"MLP 3 {label}", "MLP", cls, {"target_modules": ["lin0", "lin1"], **size}),
            (f"MLP 4 {label}", "MLP", cls, {"target_modules": ["lin0"], "modules_to_save": ["lin1"], **size}),
            (f"MLP 5 {label}", "MLP", cls, {"target_modules": ["lin0"], "dropout": 0.1, **size}),
            (f"Embedding + Conv1D {label}", "EmbConv1D", cls, {"target_modules": ["conv1d"], **size}),
        ]
    return rows


def several_active() -> list[tuple[str, str, type, Kwargs, Kwargs]]:
    """Rows of `MULTIPLE_ACTIVE_ADAPTERS_TEST_CASES`: name, method, class, settings of two adapters."""
    rows = []
    for cls, size, label in ((TalkLoraConfig, SMALL, "TalkLoRA"), (OneExpertConfig, ONE, "TalkLoRA one expert")):
        first = {"target_modules": ["lin0"], "init_weights": False, **size}
        rows.append((f"{label} Same", "talklora", cls, first, dict(first)))
        rows.append((f"{label} Different", "talklora", cls, first, first | {"target_modules": ["lin1"]}))
    return rows


def transformers_models(task: str | None) -> list[tuple[type, Kwargs]]:
    """Rows of `ALL_CONFIGS` in PEFT's tests of transformers' models: class and settings."""
    settings: Kwargs = {"target_modules": None} | ({"task_type": task} if task else {})
    return [
        (TalkLoraConfig, {**settings, "r": 8, "num_experts": 4}),
        (TalkLoraConfig, {**settings, "r": 8, "num_experts": 2, "share_B": False}),
        (OneExpertConfig, {**settings, "r": 8}),
    ]


def quantised() -> list[tuple[type, Kwargs]]:
    """Rows of `TEST_CASES` in PEFT's tests of quantised models."""
    target = {"target_modules": ["q_proj", "v_proj"]}
    return [(TalkLoraConfig, {"r": 8, "num_experts": 4, **target}), (OneExpertConfig, {"r": 8, **target})]


def low_level() -> list[TalkLoraConfig]:
    """Configurations that are injected without a `PeftModel`, which only an adapter with its own B can be."""
    return [TalkLoraConfig(r=8, num_experts=4, share_B=False), OneExpertConfig(r=8, share_B=False)]


# Module of PEFT's tests -> name of a list in it -> what is put in its place.
LISTS: dict[str, dict[str, Any]] = {
    "test_custom_models": {
        "TEST_CASES": custom(),
        "MULTIPLE_ACTIVE_ADAPTERS_TEST_CASES": several_active(),
        "ALL_PEFT_CONFIG_CLASSES": [TalkLoraConfig, OneExpertConfig],
    },
    "test_config": {
        "ALL_CONFIG_CLASSES": [(TalkLoraConfig, {})],
        "LAYER_INDEXING_CONFIG_CLASSES": [(TalkLoraConfig, {})],
    },
    "test_decoder_models": {"ALL_CONFIGS": transformers_models("CAUSAL_LM")},
    "test_encoder_decoder_models": {"ALL_CONFIGS": transformers_models("SEQ_2_SEQ_LM")},
    "test_feature_extraction_models": {"ALL_CONFIGS": transformers_models("FEATURE_EXTRACTION")},
    "test_seq_classifier": {"ALL_CONFIGS": transformers_models("SEQ_CLS")},
    "test_token_classification_qa": {
        "TOKEN_CLS_CONFIGS": transformers_models("TOKEN_CLS"),
        "QA_CONFIGS": transformers_models("QUESTION_ANS"),
    },
    "test_low_level_api": {},
    "test_quantization": {"TEST_CASES": quantised()},
}

# Tests whose parameters are written in the decorator: name -> parameter -> values, and the words before their numbers.
INLINE: dict[str, dict[str, Any]] = {
    "test_inject_from_state_dict_and_from_config_target_same_layers": {"config": low_level()},
    "test_inject_adapter_in_model_rejects_shared_state_tuners": {
        "config_cls, config_kwargs": [(TalkLoraConfig, {"r": 4, "num_experts": 2})]
    },
}
