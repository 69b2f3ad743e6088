"""Adapters with random weights, so that every one of them changes what a model says."""

import shutil

import pytest

QKVUD = ["q_proj", "k_proj", "v_proj", "up_proj", "down_proj"]


@pytest.fixture(scope="session")
def make_adapter():
    """make_adapter(base folder, PEFT configuration, new folder, seed) saves an adapter and returns its folder."""
    import torch
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM

    def make(base, config, folder, seed=0, size=0.3):
        torch.manual_seed(seed)
        model = get_peft_model(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), config)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "lora_B" in name or "talklora_B" in name or "lora_embedding_A" in name:
                    parameter.normal_(0, size)
                elif "router" in name:
                    parameter.normal_(0, 2)  # gates far from even
        model.save_pretrained(str(folder))
        return folder

    return make


@pytest.fixture(scope="session")
def configs():
    from peft import LoraConfig

    from llmkit.talklora import TalkLoraConfig

    return {
        "talk-a": TalkLoraConfig(r=8, num_experts=4, alpha=8, target_modules=QKVUD, task_type="CAUSAL_LM"),
        "talk-b": TalkLoraConfig.preset(
            "moelora",
            r=12,
            num_experts=3,
            alpha=24,
            target_modules=["q_proj", "o_proj", "gate_proj"],
            task_type="CAUSAL_LM",
        ),
        "plain": LoraConfig(r=8, lora_alpha=16, target_modules=QKVUD, task_type="CAUSAL_LM"),
    }


@pytest.fixture(scope="session")
def tiny_adapters(tiny_llama, make_adapter, configs, tmp_path_factory):
    """Folders of two TalkLoRA adapters and a plain LoRA for `tiny_llama`, by name. To damage one: `own_adapter`."""
    folder = tmp_path_factory.mktemp("adapters")
    return {
        name: str(make_adapter(tiny_llama, config, folder / name, seed=1 + i))
        for i, (name, config) in enumerate(configs.items())
    }


@pytest.fixture
def own_adapter(tiny_adapters, tmp_path):
    """A copy of `talk-a` that a test may damage."""
    return shutil.copytree(tiny_adapters["talk-a"], tmp_path / "own")
