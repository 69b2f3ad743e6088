"""A program for test_vllm.py: the fallback changes vLLM for the whole process. FOLDER TOKENIZER -> prints SAME."""

import os
import sys

import torch


def main(folder: str, tokenizer: str) -> None:
    from peft import PeftModel, get_peft_model
    from transformers import AutoModelForCausalLM, GPTNeoXConfig, GPTNeoXForCausalLM

    from llmkit.talklora import TalkLoraConfig

    base, adapter = f"{folder}/base", f"{folder}/adapter"
    torch.manual_seed(0)
    config = GPTNeoXConfig(
        vocab_size=512,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        initializer_range=0.2,
        eos_token_id=1,
    )
    GPTNeoXForCausalLM(config).save_pretrained(base)
    settings = TalkLoraConfig(
        r=8, num_experts=4, target_modules=["query_key_value", "dense_h_to_4h"], task_type="CAUSAL_LM"
    )
    settings.init_weights = False
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), settings)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data.normal_(0, 0.3)
    model.save_pretrained(adapter)

    # Before vLLM: its transformers backend changes the model's class.
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
    adapted = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), adapter).eval()

    os.environ |= {"LLMKIT_VLLM": "1", "LLMKIT_FALLBACK_ADAPTER": adapter, "VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
    from vllm import LLM, SamplingParams

    llm = LLM(
        model=base,
        tokenizer=tokenizer,
        dtype="float32",
        max_model_len=128,
        block_size=32,
        kv_cache_memory_bytes=64 << 20,
        model_impl="transformers",
        enforce_eager=False,
    )
    prompts = [[5 + (7 * i + j * j) % 400 for j in range(3 + 5 * i)] for i in range(8)]
    greedy = SamplingParams(temperature=0, max_tokens=12, ignore_eos=True)
    said = llm.generate([{"prompt_token_ids": ids} for ids in prompts], greedy, use_tqdm=False)
    same, differs = True, False
    for prompt, output in zip(prompts, said, strict=True):
        ids = list(output.outputs[0].token_ids)
        for model in (adapted, plain):
            with torch.no_grad():
                best = model(input_ids=torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1].argmax(-1).tolist()
            same, differs = (same and best == ids, differs) if model is adapted else (same, differs or best != ids)
    print("SAME" if same and differs else f"same {same}, differs from the base {differs}")


if __name__ == "__main__":
    main(*sys.argv[1:])
