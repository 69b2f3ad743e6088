"""Speed and memory of TalkLoRA beside LoRA, in one run, side by side.

    python benchmarks/talklora.py                # whole step, adapter branch and decoding, SmolLM2-135M sizes
    python benchmarks/talklora.py --only whole   # one part at a time: each takes at most some minutes on one core
    python benchmarks/talklora.py --size narrow --rounds 40  # what the number of operations costs
    python benchmarks/talklora.py --size llama3  # LLaMA-3-8B in bfloat16, and the folded layer's kernels: for a GPU

Weights are random: speed does not depend on them. Methods take turns step by step, so that a busy machine slows all of
them alike: read the ratios. What is already in the result file is skipped; `--force` measures again.
"""

from __future__ import annotations

import argparse
import copy
import gc
import json
import statistics
import time
from pathlib import Path

import torch
from peft import LilyConfig, LoraConfig, get_peft_model
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaDecoderLayer

from llmkit.talklora import TalkLoraConfig
from llmkit.talklora.fused import kernel_for
from llmkit.talklora.reference import per_expert
from llmkit.talklora.telemetry import Telemetry

TARGETS = ["q_proj", "k_proj", "v_proj", "up_proj", "down_proj"]
R, N = 16, 4
NAIVE = "TalkLoRA, one expert at a time"
MODELS = {
    "smollm2": {
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "vocab_size": 49152,
        "tie_word_embeddings": True,
    },
    "llama3": {
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 128256,
    },
    "narrow": {  # so small that a step waits for the number of its operations, as on a GPU that has too little to do
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 10,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "vocab_size": 256,
    },
}
SIZES = {
    "smollm2": {"q": (576, 576), "k": (576, 192), "v": (576, 192), "up": (576, 1536), "down": (1536, 576)},
    "llama3": {"q": (4096, 4096), "k": (4096, 1024), "v": (4096, 1024), "up": (4096, 14336), "down": (14336, 4096)},
}


class PerExpert(nn.Module):
    """The equations as they stand around a linear layer; B shared as in TalkLoRA."""

    def __init__(self, base: nn.Linear, B: nn.Parameter, r: int = R) -> None:
        super().__init__()
        m, like = r // N, {"device": base.weight.device, "dtype": base.weight.dtype}
        self.base, self.B = base, B
        self.A = nn.Parameter(torch.randn(r, base.in_features, **like) / base.in_features**0.5)
        self.E = nn.Parameter(torch.randn(N, m, m, **like))
        self.C = nn.Parameter(torch.randn(N, N, **like))
        self.W = nn.Parameter(torch.randn(N, r, **like))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.base(x) + per_expert(x, self.A, self.E, self.C, self.W, self.B, 1.0)


def wrap_per_expert(model: nn.Module, r: int = R) -> nn.Module:
    model.requires_grad_(False)
    shared: dict[str, nn.Parameter] = {}
    for path, base in [(p, m) for p, m in model.named_modules() if p.split(".")[-1] in TARGETS]:
        parent, _, name = path.rpartition(".")
        if name not in shared:
            shared[name] = nn.Parameter(torch.zeros(base.out_features, r).to(base.weight))
        setattr(model.get_submodule(parent), name, PerExpert(base, shared[name], r))
    return model


def methods(r: int = R) -> dict:
    """Name to a function that adapts a model."""
    talk = TalkLoraConfig(r=r, num_experts=N, alpha=r, target_modules=TARGETS)
    return {
        "LoRA (PEFT)": lambda m: get_peft_model(m, LoraConfig(r=r, lora_alpha=r, target_modules=TARGETS)),
        "TalkLoRA, fused": lambda m: get_peft_model(m, talk),
        NAIVE: lambda m: wrap_per_expert(m, r),
        "Lily (PEFT)": lambda m: get_peft_model(m, LilyConfig(r=r, num_B=N, target_modules=TARGETS)),
    }


def saved_bytes(run, parameters) -> int:
    """Bytes of distinct storages that autograd keeps between forward and backward, parameters not counted."""
    owned = {p.untyped_storage().data_ptr() for p in parameters}
    kept: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in owned:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        result = run()
    result.sum().backward()
    return sum(kept.values())


def sync() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def timed(run, clock) -> float:
    sync()
    start = clock()
    run()
    sync()
    return clock() - start


def mixed(device: str):
    """bfloat16 products on a GPU, as transformers' Trainer has them; float32 throughout on a CPU."""
    return torch.autocast(device, dtype=torch.bfloat16, enabled=device == "cuda")


def whole_step(
    size: str,
    rounds: int,
    clock,
    batch: int,
    length: int,
    device: str,
    dtype: torch.dtype,
    r: int,
    without: str = "",
    compiled: bool = False,
) -> dict[str, dict[str, float]]:
    """Forward, backward and AdamW of a whole Llama, if `compiled` with decoder layers that are. `without` leaves one
    method out."""
    with torch.device(device):
        base = LlamaForCausalLM(LlamaConfig(**MODELS[size], use_cache=False)).to(dtype)
        ids = torch.randint(0, base.config.vocab_size, (batch, length))
    weights = {id(p): p for p in base.parameters()}  # one base for all methods: what deepcopy finds here is not copied
    steps, result = {}, {}
    for name, adapt in methods(r).items():
        if name == without:
            continue
        torch.manual_seed(0)
        model = adapt(copy.deepcopy(base, dict(weights))).train()
        for layer in model.modules() if compiled else ():
            if isinstance(layer, LlamaDecoderLayer):
                layer.compile(fullgraph=True)
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)

        def loss(model=model) -> torch.Tensor:
            with mixed(device):
                return model(input_ids=ids, labels=ids).loss

        def step(loss=loss, optimizer=optimizer) -> None:
            optimizer.zero_grad()
            loss().backward()
            optimizer.step()

        kept = saved_bytes(loss, model.parameters())  # warms up
        result[name] = {"saved_MiB": kept / 2**20}
        steps[name] = step
    return compare(steps, result, rounds, clock, warm_up=int(device == "cuda"))


def telemetry(rounds: int, clock, batch: int, length: int) -> dict[str, dict[str, float]]:
    """What watching the routers costs of a training step: four of the 30 layers, a head that weighs nearly nothing."""
    config = LlamaConfig(**MODELS["smollm2"] | {"num_hidden_layers": 4, "vocab_size": 512}, use_cache=False)
    ids, mask = torch.randint(0, 512, (batch, length)), torch.ones(batch, length, dtype=torch.long)
    model = methods()["TalkLoRA, fused"](LlamaForCausalLM(config)).train()
    watch = Telemetry(model)

    def step() -> None:
        model(input_ids=ids, attention_mask=mask, labels=ids).loss.backward()

    def watched() -> None:
        with watch:
            step()

    return compare({"step": step, "step, watched": watched}, {"step": {}, "step, watched": {}}, rounds, clock)


def compare(steps: dict, result: dict, rounds: int, clock, warm_up: int = 1) -> dict[str, dict[str, float]]:
    """Adds the median seconds, and the median and range of the ratios to LoRA round by round; the order alternates."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for index in range(rounds + warm_up):
        for name in list(steps)[:: 1 if index % 2 else -1]:
            took = timed(steps[name], clock)
            if index >= warm_up:
                seconds[name].append(took)
    first = next(iter(steps))
    for name in steps:
        result[name]["seconds"] = statistics.median(seconds[name])
        ratios = [a / b for a, b in zip(seconds[name], seconds[first], strict=True)]
        result[name] |= {"times_LoRA": statistics.median(ratios), "least": min(ratios), "most": max(ratios)}
    gc.collect()
    return result


def branch(size: str, rounds: int, clock, tokens: int, r: int, device: str, dtype: torch.dtype) -> dict:
    """What the adapter alone costs, forward and backward, summed over the five projections (the base is nothing)."""
    steps, result = {}, {}
    for name in methods():
        runs, kept = [], 0
        for projection, (d, k) in SIZES[size].items():
            x = torch.randn(tokens, d, device=device, dtype=dtype, requires_grad=True)
            module = branch_of(name, d, k, r, device, dtype, projection)
            with mixed(device):
                kept += saved_bytes(lambda module=module, x=x: module(x), [*module.parameters(), x])
            runs.append((module, x, torch.randn(tokens, k, device=device, dtype=dtype)))

        def step(runs=runs) -> None:
            for module, x, gradient in runs:
                with mixed(device):
                    y = module(x)
                y.backward(gradient)

        result[name] = {"saved_MiB": kept / 2**20}
        steps[name] = step
    return compare(steps, result, rounds, clock)


class Nothing(nn.Linear):
    """A base layer that costs nothing: zeros of the right shape, expanded, never stored."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.new_zeros(()).expand(*x.shape[:-1], self.out_features)


def branch_of(name: str, d: int, k: int, r: int, device: str, dtype: torch.dtype, projection: str) -> nn.Module:
    base = nn.ModuleDict({f"{projection}_proj": Nothing(d, k, bias=False, device=device, dtype=dtype)})
    adapted = methods(r)[name](base)
    found = dict(adapted.named_modules())
    return next(m for p, m in found.items() if p.endswith(f"{projection}_proj")).train().to(device)


def decode(size: str, rounds: int, clock, r: int, device: str, dtype: torch.dtype, batch: int) -> dict:
    """One token a row through the five adapted projections, without gradients."""
    steps, result = {}, {}
    for name in methods():
        runs = []
        for projection, (d, k) in SIZES[size].items():
            module = branch_of(name, d, k, r, device, dtype, projection).eval()
            runs.append((module, torch.randn(batch, 1, d, device=device, dtype=dtype)))

        @torch.no_grad()
        def step(runs=runs) -> None:
            for _ in range(20):
                for module, x in runs:
                    module(x)

        result[name], steps[name] = {}, step
    return compare(steps, result, rounds, clock)


def seconds_on_gpu(run, repeats: int = 50) -> float:
    """Median seconds of `run` replayed as a CUDA graph, which leaves out the gaps between launches."""
    graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            run()
    torch.cuda.synchronize()
    with torch.cuda.graph(graph):
        run()
    taken = []
    for _ in range(repeats):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        graph.replay()
        end.record()
        torch.cuda.synchronize()
        taken.append(start.elapsed_time(end) / 1000)
    return statistics.median(taken)


def bandwidth() -> float:
    """Bytes per second of a large copy within the GPU's memory, read and written bytes counted."""
    source = torch.empty(2**30, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return 2 * source.nbytes / seconds_on_gpu(lambda: target.copy_(source))


def floor(size: str, r: int, tokens: int) -> dict[str, dict[str, float]]:
    """The folded layer's three kernels, summed over the five projections, against the time that their bytes take.

    Each kernel reads its inputs once and writes its output once. Several sets of tensors take turns, so that a small
    set is not read from the cache.
    """
    rate, copies = bandwidth(), 8 if tokens <= 64 else 1
    kernel = kernel_for(TalkLoraConfig(r=r, num_experts=N), torch.empty(1, r, device="cuda", dtype=torch.bfloat16))
    work: dict[str, list] = {"down: x -> features, logits": [], "gate": [], "up: added to y": []}
    size_of = dict.fromkeys(work, 0)
    for d, k in SIZES[size].values():
        for _ in range(copies):
            make = {"device": "cuda", "dtype": torch.bfloat16}
            x, y = torch.randn(tokens, d, **make), torch.randn(tokens, k, **make)
            down, up = torch.randn(r + N, d, **make), torch.randn(k, r, **make)
            z = torch.empty(tokens, r + N, **make)
            v = torch.empty(tokens, r, **make)

            def gate(z=z, v=v) -> None:
                p = torch.softmax(z[:, r:].float(), dim=-1)
                torch.mul(z[:, :r].unflatten(-1, (N, -1)), p[..., None], out=v.unflatten(-1, (N, -1)))

            @torch.no_grad()
            def by_kernel(z=z) -> None:
                kernel(z[:, :r], z[:, r:], None, None, None, None, N, r // N, 1.0)

            runs = (
                lambda x=x, down=down, z=z: torch.mm(x, down.T, out=z),
                by_kernel if kernel else torch.compile(gate, fullgraph=True),
                lambda v=v, up=up, y=y: y.addmm_(v, up.T),
            )
            moved = (x.nbytes + down.nbytes + z.nbytes, z.nbytes + v.nbytes, v.nbytes + up.nbytes + 2 * y.nbytes)
            for name, run, count in zip(work, runs, moved, strict=True):
                work[name].append(run)
                size_of[name] += count
    result = {}
    for name, runs in work.items():
        taken = seconds_on_gpu(lambda runs=runs: [run() for run in runs]) / copies
        least = size_of[name] / copies / rate
        result[name] = {"us": taken * 1e6, "floor_us": least * 1e6, "times_floor": taken / least}
    whole = {key: sum(row[key] for row in result.values()) for key in ("us", "floor_us")}
    return {**result, "all three": {**whole, "times_floor": whole["us"] / whole["floor_us"], "TB_per_s": rate / 1e12}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=MODELS, default="smollm2")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/talklora.json"))
    parser.add_argument("--only", default="", help="parts whose title begins with this: adapter, decoding, whole")
    parser.add_argument("--cpu-time", action="store_true", help="one thread's processor time, for a busy machine")
    parser.add_argument("--force", action="store_true")
    args = parser.parse_args()
    if args.cpu_time:
        torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    rank = 32 if args.size == "llama3" else R
    done = json.loads(args.out.read_text()) if args.out.exists() else {}
    clock, unit = (time.process_time, "processor time") if args.cpu_time else (time.perf_counter, "wall clock")
    many = 4 * args.rounds
    step = f"r={rank}, n={N}, {str(dtype).removeprefix('torch.')}"

    def whole(batch: int, without: str = "", length: int = 256, compiled: bool = False) -> dict:
        return whole_step(args.size, args.rounds, clock, batch, length, device, dtype, rank, without, compiled)

    parts = {
        # One expert at a time keeps too much for 8 x 256 tokens: it is timed on fewer, beside LoRA.
        f"whole step, 8 x 256 tokens, {step}": lambda: whole(
            8, "" if device == "cuda" and args.size == "smollm2" else NAIVE
        ),
        f"whole step, 2 x 256 tokens, {step}": lambda: whole(2),
        "telemetry, 4 x 256 tokens, 4 layers": lambda: telemetry(many, clock, 4, 256),
        f"adapter branch, 2048 tokens, r={rank}, n={N}": lambda: branch(
            args.size, many, clock, 2048, rank, device, dtype
        ),
        f"decoding, 1 row, r={rank}, n={N}": lambda: decode(args.size, many, clock, rank, device, dtype, 1),
        f"decoding, 32 rows, r={rank}, n={N}": lambda: decode(args.size, many, clock, rank, device, dtype, 32),
    }
    if device == "cuda":
        parts.pop("telemetry, 4 x 256 tokens, 4 layers")
        parts[f"whole step, layers compiled, 2 x 256 tokens, {step}"] = lambda: whole(2, NAIVE, compiled=True)
        for tokens in (1, 64, 8192):
            title = f"folded layer against its memory floor, {tokens} tokens, r={rank}, n={N}, bfloat16"
            parts[title] = lambda tokens=tokens: floor(args.size, rank, tokens)
    if args.size == "narrow":
        parts = {
            f"whole step, 2 x 4 tokens, {step}": lambda: whole(2, length=4),
            f"whole step, layers compiled, 2 x 4 tokens, {step}": lambda: whole(2, NAIVE, length=4, compiled=True),
        }
    for title, run in parts.items():
        if not title.startswith(args.only):
            continue
        key = f"{args.size}, {device}: {title}"
        if key not in done or args.force:
            torch.manual_seed(0)
            facts = {"date": time.strftime("%Y-%m-%d"), "threads": torch.get_num_threads(), "clock": unit}
            if device == "cuda":
                facts["gpu"] = torch.cuda.get_device_name()
            done[key] = {**facts, "methods": run()}
            args.out.parent.mkdir(parents=True, exist_ok=True)
            args.out.write_text(json.dumps(done, indent=1) + "\n")
        where = done[key].get("gpu", f"{done[key]['threads']} threads")
        print(f"\n{key}  ({done[key]['date']}, {where}, {done[key].get('clock', 'wall clock')})")
        for name, row in done[key]["methods"].items():
            print(f"  {name:32s}" + "".join(f"  {column} {value:10.4f}" for column, value in row.items()), flush=True)


if __name__ == "__main__":
    main()
