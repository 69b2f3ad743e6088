"""Tiny models with random weights under the names that PEFT's tests load, in a local cache of the hub's layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

HEADS: dict[str, Any] = {"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 32}
GPT: dict[str, Any] = {"n_layer": 2, "n_head": 4, "n_embd": 32, "vocab_size": 128, "n_positions": 64}
DECODER: dict[str, Any] = {
    **HEADS, "intermediate_size": 64, "vocab_size": 128, "num_key_value_heads": 2, "max_position_embeddings": 64,
}  # fmt: skip
ENCODER: dict[str, Any] = {**HEADS, "intermediate_size": 64, "vocab_size": 128, "max_position_embeddings": 64}
OPT: dict[str, Any] = {
    **HEADS, "ffn_dim": 64, "vocab_size": 128, "word_embed_proj_dim": 32, "max_position_embeddings": 64,
}  # fmt: skip
# 4-bit weights of bitsandbytes come in blocks of 64.
WIDE: dict[str, int] = {"num_hidden_layers": 12, "hidden_size": 64, "word_embed_proj_dim": 64, "ffn_dim": 128}
ENDS: dict[str, int] = {"pad_token_id": 3, "bos_token_id": 0, "eos_token_id": 2}

# Name on the hub -> class of transformers, and the fields of its configuration.
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "peft-internal-testing/tiny-random-OPTForCausalLM": ("OPTForCausalLM", OPT | ENDS),
    "peft-internal-testing/opt-125m": ("OPTForCausalLM", OPT | ENDS | WIDE),
    "peft-internal-testing/tiny-random-GPT2LMHeadModel": ("GPT2LMHeadModel", GPT | ENDS),
    "hf-internal-testing/tiny-random-gpt2": ("GPT2LMHeadModel", GPT | ENDS),
    "peft-internal-testing/tiny-random-GPTJForCausalLM": ("GPTJForCausalLM", GPT | ENDS | {"rotary_dim": 4}),
    "trl-internal-testing/tiny-random-LlamaForCausalLM": ("LlamaForCausalLM", DECODER | ENDS),
    "hf-internal-testing/tiny-random-MistralForCausalLM": ("MistralForCausalLM", DECODER | ENDS),
    "peft-internal-testing/tiny-dummy-qwen2": ("Qwen2ForCausalLM", DECODER | ENDS),
    "trl-internal-testing/tiny-Qwen3ForCausalLM": ("Qwen3ForCausalLM", DECODER | ENDS | {"head_dim": 8}),
    "hf-internal-testing/tiny-random-Gemma3ForCausalLM": ("Gemma3ForCausalLM", DECODER | ENDS | {"head_dim": 8}),
    "trl-internal-testing/tiny-LlamaForSequenceClassification-3.2": ("LlamaForSequenceClassification", DECODER | ENDS),
    "peft-internal-testing/tiny-random-BertModel": ("BertModel", ENCODER),
    "peft-internal-testing/tiny-random-RobertaModel": ("RobertaModel", ENCODER),
    "peft-internal-testing/tiny-random-DebertaModel": ("DebertaModel", ENCODER),
    "peft-internal-testing/tiny-random-DebertaV2Model": ("DebertaV2Model", ENCODER),
    "peft-internal-testing/tiny-random-BertForSequenceClassification": ("BertForSequenceClassification", ENCODER),
    "peft-internal-testing/tiny-random-RobertaForSequenceClassification": ("RobertaForSequenceClassification", ENCODER),
    "peft-internal-testing/tiny-random-BartForConditionalGeneration": (
        "BartForConditionalGeneration",
        {
            "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
            "decoder_attention_heads": 4, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "vocab_size": 128,
            "max_position_embeddings": 64, "decoder_start_token_id": 2, **ENDS,
        },
    ),
    "peft-internal-testing/tiny-random-T5ForConditionalGeneration-calibrated": (
        "T5ForConditionalGeneration",
        {
            "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "vocab_size": 128,
            "decoder_start_token_id": 0,
        },
    ),
}  # fmt: skip


def fill_cache(cache: Path) -> None:
    """Writes each model, with a tokenizer, where huggingface_hub looks for it in `cache` without a network."""
    for name, (cls, fields) in MODELS.items():
        folder = cache / f"models--{name.replace('/', '--')}"
        snapshot = folder / "snapshots" / "local"
        if (snapshot / "tokenizer.json").is_file():
            continue
        snapshot.mkdir(parents=True, exist_ok=True)
        (folder / "refs").mkdir(exist_ok=True)
        (folder / "refs" / "main").write_text("local", encoding="utf-8")
        _model(cls, fields).save_pretrained(snapshot)
        _tokenizer().save_pretrained(snapshot)
    _adapter(cache / "models--peft-internal-testing--tiny-opt-lora-revision", revision="test")


def _adapter(folder: Path, revision: str) -> None:
    """Writes the configuration of a LoRA that PEFT's tests of configurations load at a revision."""
    from peft import LoraConfig

    (folder / "refs").mkdir(parents=True, exist_ok=True)
    (folder / "refs" / revision).write_text("local", encoding="utf-8")
    LoraConfig(r=8, target_modules=["q_proj"]).save_pretrained(str(folder / "snapshots" / "local"))


def _model(name: str, fields: dict[str, Any]) -> Any:
    import torch
    import transformers

    torch.manual_seed(0)
    cls = getattr(transformers, name)
    return cls(cls.config_class(**fields))


def _tokenizer() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = ["<s>", "<unk>", "</s>", "<pad>", *(f"w{number}" for number in range(124))]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )
