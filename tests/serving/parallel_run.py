"""A program for test_vllm.py: one batch over two processes. Takes JSON {model, folders, prompts, names, new}."""

import json
import os
import sys


def main(job: dict) -> None:
    os.environ |= {
        "LLMKIT_VLLM": "1",
        "VLLM_WORKER_MULTIPROC_METHOD": "fork",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    }
    from vllm import LLM, SamplingParams
    from vllm.lora.request import LoRARequest

    llm = LLM(
        model=job["model"],
        dtype="float32",
        max_model_len=256,
        block_size=32,
        kv_cache_memory_bytes=64 << 20,
        enforce_eager=True,
        enable_lora=True,
        max_loras=3,
        max_lora_rank=16,
        tensor_parallel_size=2,
    )
    requests = [
        name and LoRARequest(name, 1 + list(job["folders"]).index(name), job["folders"][name]) for name in job["names"]
    ]
    greedy = SamplingParams(temperature=0, max_tokens=job["new"], ignore_eos=True, logprobs=0)
    said = []
    for output in llm.generate(job["prompts"], greedy, lora_request=requests, use_tqdm=False):
        ids = list(output.outputs[0].token_ids)
        logprobs = [row[token].logprob for row, token in zip(output.outputs[0].logprobs, ids, strict=True)]
        said.append((list(output.prompt_token_ids), ids, logprobs))
    print("SAID", json.dumps(said))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
