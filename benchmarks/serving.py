"""Tokens per second of one model served plain, with LoRA and with TalkLoRA, through vLLM and through transformers.

    python benchmarks/serving.py [--model smollm2-135m] [--dtype bfloat16] [--rounds 3] [--cpu-time] [--json FILE]

Same base, same rank, same modules. Every way runs in a process of its own. A cell holds the best of its rounds, which
other work on the machine disturbs least, and the worst in brackets. Where that does not help, --cpu-time counts
processor seconds of one thread instead of seconds on the clock. Weights are random: they do not change the work. On a
GPU, "as shipped" and "corrected" differ by llmkit's gate alone.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WAYS = {
    "none": "vLLM, no adapter",
    "lora-shipped": "vLLM's own LoRA, as shipped",
    "lora": "the same LoRA, corrected",
    "talklora": "TalkLoRA in slots",
    "fallback": "TalkLoRA built into the model",
    "transformers": "TalkLoRA, transformers + PEFT",
}
WORK = {  # name: (requests at once, prompt tokens, new tokens)
    "decode, batch 1": (1, 16, 24),
    "decode, batch 64": (64, 16, 24),
    "prefill, batch 1": (1, 256, 1),
    "prefill, batch 64": (64, 32, 1),
}
MODULES = ["q_proj", "k_proj", "v_proj", "up_proj", "down_proj"]
RANK, EXPERTS = 16, 4
TARGETS = {"lora-shipped": "3", "lora": "0.75", "transformers": "2 (batch 64)", "none": "–"}


def make_adapters(model: str, folder: Path) -> None:
    """A LoRA and a TalkLoRA adapter of the same rank, with random weights."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from llmkit.talklora import TalkLoraConfig

    configs = {
        "lora": LoraConfig(r=RANK, lora_alpha=RANK, target_modules=MODULES, task_type="CAUSAL_LM"),
        "talklora": TalkLoraConfig(
            r=RANK, num_experts=EXPERTS, alpha=RANK, target_modules=MODULES, task_type="CAUSAL_LM"
        ),
    }
    for name, config in configs.items():
        torch.manual_seed(0)
        adapted = get_peft_model(AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32), config)
        for key, weight in adapted.named_parameters():
            if "lora_B" in key or "talklora_B" in key:
                torch.nn.init.normal_(weight, 0, 0.02)
        adapted.save_pretrained(str(folder / name))


def prompts(batch: int, length: int, seed: int) -> list[list[int]]:
    draw = random.Random(seed)
    return [[draw.randrange(100, 20_000) for _ in range(length)] for _ in range(batch)]


def through_vllm(way: str, model: str, folder: Path, dtype: str):
    """A function (batch, prompt tokens, new tokens, seed) that answers, in vLLM."""
    os.environ |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "ERROR"}
    if way in ("lora", "talklora", "fallback"):
        os.environ["LLMKIT_VLLM"] = "1"
    if way == "fallback":
        os.environ["LLMKIT_FALLBACK_ADAPTER"] = str(folder / "talklora")
    from llmkit.serving.plugin import init_amx

    init_amx()  # for every way alike: without it no bfloat16 number on a machine with AMX means anything
    from vllm import LLM, SamplingParams
    from vllm.lora.request import LoRARequest
    from vllm.platforms import current_platform

    options, request = {}, None
    if way == "fallback":
        options["model_impl"] = "transformers"
    elif way != "none":
        options |= {"enable_lora": True, "max_loras": 2, "max_lora_rank": 32 if way == "talklora" else RANK}
        request = LoRARequest(way, 1, str(folder / way.removesuffix("-shipped")))
    if current_platform.is_cpu():
        options |= {"kv_cache_memory_bytes": 1 << 30, "block_size": 32, "enforce_eager": True}
    llm = LLM(
        model=model, dtype=dtype, max_model_len=1024, enable_prefix_caching=False, use_tqdm_on_load=False, **options
    )

    def answer(batch: int, length: int, new: int, seed: int) -> None:
        sampling = SamplingParams(temperature=0, max_tokens=new, ignore_eos=True, detokenize=False)
        asked = [{"prompt_token_ids": ids} for ids in prompts(batch, length, seed)]
        llm.generate(asked, sampling, lora_request=request, use_tqdm=False)

    return answer


def through_transformers(model: str, folder: Path, dtype: str):
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    import llmkit.talklora  # noqa: F401
    from llmkit.serving.plugin import init_amx

    init_amx()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    base = AutoModelForCausalLM.from_pretrained(model, dtype=getattr(torch, dtype)).to(device)
    adapted = PeftModel.from_pretrained(base, str(folder / "talklora")).eval()

    def answer(batch: int, length: int, new: int, seed: int) -> None:
        ids = torch.tensor(prompts(batch, length, seed), device=device)
        with torch.inference_mode():
            adapted.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=new,
                min_new_tokens=new,
                do_sample=False,
            )

    return answer


def measure(way: str, model: str, folder: Path, dtype: str, rounds: int, clock) -> dict[str, list[float]]:
    """Tokens per second in each round of each kind of work: new tokens for decode, prompt tokens for prefill."""
    if way == "transformers":
        answer = through_transformers(model, folder, dtype)
    else:
        answer = through_vllm(way, model, folder, dtype)
    answer(2, 16, 4, 0)
    speeds = {}
    for name, (batch, length, new) in WORK.items():
        seconds = []
        for seed in range(1, 1 + rounds):
            start = clock()
            answer(batch, length, new, seed)
            seconds.append(clock() - start)
            if sum(seconds) > 25:  # the slow ones need no more rounds to be slow
                break
        speeds[name] = [batch * (length if new == 1 else new) / spent for spent in seconds]
    return speeds


def show(title: str, rows: dict[str, list[str]]) -> None:
    """A Markdown table with one column for each kind of work."""
    print(f"\n| {title} | " + " | ".join(WORK) + " |")
    print("|---" * (title.count("|") + 1) + "|" + "---:|" * len(WORK))
    for name, cells in rows.items():
        print(f"| {name} | " + " | ".join(cells) + " |")


def _span(speeds: list[float]) -> str:
    best, worst = (f"{speed:.1f}" if speed < 100 else f"{speed:.0f}" for speed in (max(speeds), min(speeds)))
    return f"{best} ({worst})" if len(speeds) > 1 else best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--cpu-time", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.cpu_time:
        os.environ |= {"OMP_NUM_THREADS": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    clock = time.process_time if args.cpu_time else time.perf_counter
    if args.one:
        way, folder = args.one
        print("RESULT", json.dumps(measure(way, args.model, Path(folder), args.dtype, args.rounds, clock)))
        return
    from llmkit.engines import resolve_model

    model, results = resolve_model(args.model), {}
    with tempfile.TemporaryDirectory() as folder:
        make_adapters(model, Path(folder))
        for way in args.ways.split(","):
            command = [sys.executable, __file__, "--model", model, "--dtype", args.dtype, "--rounds", str(args.rounds)]
            command += ["--cpu-time"] if args.cpu_time else []
            done = subprocess.run([*command, "--one", way, folder], capture_output=True, text=True)
            line = next((line for line in done.stdout.splitlines() if line.startswith("RESULT ")), None)
            if line is None:
                sys.exit(f"{way} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
            results[way] = json.loads(line.removeprefix("RESULT "))
            print(f"{way}: {results[way]}", file=sys.stderr, flush=True)
    unit = "processor second, one thread" if args.cpu_time else "second"
    show(
        f"tokens per {unit}, {args.dtype}",
        {WAYS[way]: list(map(_span, each.values())) for way, each in results.items()},
    )
    if "talklora" in results:
        best = {way: [max(rounds) for rounds in each.values()] for way, each in results.items()}
        show(
            "TalkLoRA in slots, against | target",
            {
                f"{WAYS[way]} | {TARGETS[way]}": [
                    f"{a / b:.2f}" for a, b in zip(best["talklora"], best[way], strict=True)
                ]
                for way in TARGETS
                if way in best
            },
        )
    if args.json:
        args.json.write_text(json.dumps({"model": args.model, "dtype": args.dtype, "results": results}, indent=1))


if __name__ == "__main__":
    main()
