"""A program for test_vllm.py: one batch in a vLLM of its own, described in JSON (see `say_elsewhere`)."""

import json
import os
import sys


def main(job: dict) -> None:
    os.environ |= {"LLMKIT_VLLM": "1", "VLLM_WORKER_MULTIPROC_METHOD": "fork"} | job["environment"]
    from vllm import LLM, SamplingParams
    from vllm.lora.request import LoRARequest

    llm = LLM(dtype="float32", max_model_len=256, block_size=32, kv_cache_memory_bytes=64 << 20, **job["llm"])
    adapters = {name: LoRARequest(name, i, path) for i, (name, path) in enumerate(job["folders"].items(), 1)}
    greedy = SamplingParams(temperature=0, max_tokens=job["new"], ignore_eos=True, logprobs=0)
    requests = [adapters.get(name) for name in job["names"]]
    said = []
    for output in llm.generate(job["prompts"], greedy, lora_request=requests, use_tqdm=False):
        ids = list(output.outputs[0].token_ids)
        logprobs = [row[token].logprob for row, token in zip(output.outputs[0].logprobs, ids, strict=True)]
        said.append((list(output.prompt_token_ids), ids, logprobs))
    print("SAID", json.dumps(said))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
