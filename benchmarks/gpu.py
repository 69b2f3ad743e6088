"""All that a GPU can tell about TalkLoRA's kernels, in one command of at most eight minutes.

    PYTHONPATH=. python benchmarks/gpu.py              # on a GPU: torch, transformers, peft, triton and this checkout
    PYTHONPATH=. python benchmarks/gpu.py --plan       # what would be run, and for how long at most
    PYTHONPATH=. python benchmarks/gpu.py --smallest   # one tiny part of each kind, on a CPU too

Weights are random. Methods take turns round by round, so read the ratios. A part that fails is reported and the next
one runs; none begins that may not end in time (`--minutes`). Everything is printed, and kept in `--out`.
"""

from __future__ import annotations

import argparse
import copy
import gc
import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import talklora
import torch
from peft import LilyConfig, LoraConfig, get_peft_model
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaDecoderLayer

from llmkit.talklora import TalkLoraConfig
from llmkit.talklora.functions import plain_gated_features
from llmkit.talklora.fused import kernel_for

ON_GPU = torch.cuda.is_available()
DEVICE = "cuda" if ON_GPU else "cpu"
DTYPE = torch.bfloat16 if ON_GPU else torch.float32
N = 4
KERNEL, EAGER, LORA = "TalkLoRA, kernel", "TalkLoRA, torch's operations", "LoRA (PEFT)"
TARGETS = {"step, compiled or graphed": 1.05, "step, eager": 1.10, "decoding": 1.10}  # times LoRA's
ONE_LAUNCH, LAUNCH_TARGET = "one launch (released)", 3.0  # times an empty launch
Rows = dict[str, dict[str, float]]


class Part(NamedTuple):
    """One measurement: its name, the seconds that it may take, and what it runs."""

    name: str
    seconds: int
    run: Callable[[], Rows]


def methods(r: int) -> dict[str, Any]:
    """Returns the settings of each method by its name, LoRA's first."""
    size: dict[str, Any] = {"r": r, "target_modules": talklora.TARGETS}
    talk = {**size, "num_experts": N, "alpha": r}
    return {
        LORA: LoraConfig(**size, lora_alpha=r),
        KERNEL: TalkLoraConfig(**talk),
        EAGER: TalkLoraConfig(**talk, use_kernel=False),
        "Lily (PEFT)": LilyConfig(**size, num_B=N),
        "DoRA (PEFT)": LoraConfig(**size, lora_alpha=r, use_dora=True),
    }


def mixed(cache: bool = True) -> AbstractContextManager[Any]:
    return torch.autocast(DEVICE, dtype=torch.bfloat16, enabled=ON_GPU, cache_enabled=cache)


def graphed(run: Callable[[], Any]) -> Callable[[], Any]:
    """Captures `run` as a CUDA graph; returns its replay."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


def step(size: dict[str, Any], r: int, batch: int, length: int, mode: str, rounds: int) -> Rows:
    """Forward, backward and AdamW of a whole Llama; `mode` is eager, compiled (its decoder layers) or graphed."""
    with torch.device(DEVICE):
        torch.set_default_dtype(DTYPE)
        base = LlamaForCausalLM(LlamaConfig(**size, use_cache=False))
        torch.set_default_dtype(torch.float32)
        ids = torch.randint(0, base.config.vocab_size, (batch, length))
    weights = {id(p): p for p in base.parameters()}  # one base for all: what deepcopy finds here is not copied
    steps: dict[str, Callable[[], Any]] = {}
    rows: Rows = {}
    for name, config in methods(r).items():
        if mode != "eager" and name not in (LORA, KERNEL, EAGER):
            continue
        model = get_peft_model(copy.deepcopy(base, dict(weights)), config).train()
        for layer in model.modules() if mode == "compiled" else ():
            if isinstance(layer, LlamaDecoderLayer):
                layer.compile(fullgraph=True)
        trained = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=1e-4, capturable=mode == "graphed")

        def run(model: nn.Module = model, optimizer: torch.optim.Optimizer = optimizer) -> None:
            optimizer.zero_grad(set_to_none=True)
            with mixed(cache=mode != "graphed"):
                loss = model(input_ids=ids, labels=ids).loss
            loss.backward()
            optimizer.step()

        run()
        before = torch.cuda.memory_allocated() if ON_GPU else 0
        if ON_GPU:
            torch.cuda.reset_peak_memory_stats()
        run()
        rows[name] = {"peak_MiB": (torch.cuda.max_memory_allocated() - before) / 2**20 if ON_GPU else 0.0}
        steps[name] = graphed(run) if mode == "graphed" else run
    return talklora.compare(steps, rows, rounds, time.perf_counter)


def decoding(sizes: dict[str, tuple[int, int]], r: int, batch: int, mode: str, rounds: int) -> Rows:
    """One token a row through five adapted projections and their base layers, without gradients."""
    steps: dict[str, Callable[[], Any]] = {}
    rows: Rows = {}
    for name, config in methods(r).items():
        layers: list[tuple[nn.Module, Tensor]] = []
        for projection, (d, k) in sizes.items():
            base = nn.ModuleDict({f"{projection}_proj": nn.Linear(d, k, bias=False, device=DEVICE, dtype=DTYPE)})
            adapted = get_peft_model(base, copy.copy(config), autocast_adapter_dtype=False).to(DEVICE, DTYPE).eval()
            layer = next(m for path, m in adapted.named_modules() if path.endswith(f"{projection}_proj"))
            layers.append((layer, torch.randn(batch, 1, d, device=DEVICE, dtype=DTYPE)))

        @torch.no_grad()
        def run(layers: list[tuple[nn.Module, Tensor]] = layers) -> None:
            for layer, x in layers:
                layer(x)

        run()
        rows[name] = {}
        steps[name] = graphed(run) if mode == "graphed" else run
    return talklora.compare(steps, rows, rounds, time.perf_counter)


def exactness(r: int, n: int, tokens: int) -> Rows:
    """Relative errors of the kernel's values and gradients to float64, by dtype of the latents."""
    rows: Rows = {}
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        config = TalkLoraConfig(r=r, num_experts=n)
        make = {"device": DEVICE, "dtype": torch.float64}
        h = torch.randn(tokens, r, **make).to(dtype)
        weights = [torch.randn(s, **make) for s in ((n, r // n, r // n), (n, r), (n, n))]
        gradient = torch.randn(tokens, r, **make).to(dtype)
        kernel = kernel_for(config, h) or plain_gated_features
        results = []
        for function, kind in ((kernel, dtype), (plain_gated_features, torch.float64)):
            small = torch.float32 if kind != torch.float64 else kind
            one = [h.to(kind).requires_grad_(), *(w.float().to(small).requires_grad_() for w in weights)]
            if function is plain_gated_features and kind != torch.float64:
                one[0] = h.float().requires_grad_()
            v, _ = function(one[0], None, *one[1:], None, n, r // n, 1.0)
            results.append([v, *torch.autograd.grad(v, one, gradient.to(v.dtype))])
        names = ("v", "dh", "dE", "dW", "dC")
        rows[str(dtype)] = {
            name: ((a.double() - b).norm() / b.norm()).item() for name, a, b in zip(names, *results, strict=True)
        }
    return rows


def launches(r: int) -> Rows:
    """Kernels of one adapted layer that the profiler sees, forward and backward."""
    from torch.profiler import ProfilerActivity, profile

    rows: Rows = {}
    for name, config in methods(r).items():
        base = nn.ModuleDict({"q_proj": nn.Linear(512, 512, bias=False, device=DEVICE)})
        layer = get_peft_model(base, config).base_model.model["q_proj"].train()
        x = torch.randn(64, 512, device=DEVICE, requires_grad=True)
        gradient = torch.randn(64, 512, device=DEVICE)
        layer(x).backward(gradient)
        rows[name] = {}
        y = None
        for part in ("forward", "backward"):
            layer.zero_grad(set_to_none=True)
            with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if ON_GPU else [])]) as seen:
                y = layer(x) if part == "forward" else y.backward(gradient)
                talklora.sync()
            on_device = [e for e in seen.events() if e.device_type == torch.autograd.DeviceType.CUDA]
            rows[name][part] = float(len(on_device))
    return rows


def kernel_times(r: int, tokens: int) -> Rows:
    """Microseconds of the kernels in a CUDA graph for several sizes of programs, beside an empty one and torch's."""
    from unittest import mock

    from llmkit.talklora import kernel_operators

    m = r // N
    h = torch.randn(tokens, r, device="cuda", dtype=torch.bfloat16)
    E, W, C = (torch.randn(s, device="cuda") for s in ((N, m, m), (N, r), (N, N)))
    dv, one = torch.randn_like(h), torch.zeros(1, device="cuda")

    def microseconds(run: Callable[[], Any]) -> float:
        return 1e6 * talklora.seconds_on_gpu(run)

    rows: Rows = {"an empty launch": {"forward_us": microseconds(one.zero_)}}
    with torch.no_grad():
        wide = h.float()
        eager = microseconds(lambda: plain_gated_features(wide, None, E, W, C, None, N, m, 1.0))
    rows["torch's operations"] = {"forward_us": eager}
    usual, launched = kernel_operators.tile(N, m, False), kernel_operators._launched
    inputs = (h, None, E, W, C, None, N, m, 1.0)
    for BT in (16, 32, 64):
        for warps in (2, 4, 8):
            sizes = {**usual, "BT": BT, "num_warps": warps}
            with mock.patch.object(kernel_operators, "tile", lambda n, m, shared, sizes=sizes: sizes):
                v, g = kernel_operators._forward(launched, *inputs)
                both = {
                    "forward_us": microseconds(lambda: kernel_operators._forward(launched, *inputs)),
                    "backward_us": microseconds(
                        lambda v=v, g=g: kernel_operators._backward(launched, dv, None, *inputs[:6], v, g, *inputs[6:])
                    ),
                }
            rows[f"BT {BT}, {warps} warps" + (" (released)" if sizes == usual else "")] = both
    return rows


def branch_times(r: int, tokens: int) -> Rows:
    """Microseconds of LLaMA-3-8B's five branches without gradients in a CUDA graph, by one launch each and by three.

    `times_launch` is to five empty launches. Compiled anew for every width BK of outputs that a program has.
    """
    from unittest import mock

    from llmkit.talklora import kernel_operators

    m, make = r // N, {"device": DEVICE, "dtype": torch.bfloat16}
    E, W, C = (torch.randn(s, **make) for s in ((N, m, m), (N, r), (N, N)))
    branches = [
        (torch.randn(tokens, d, **make), torch.randn(tokens, k, **make), torch.randn(r, d, **make),
         torch.randn(k, r, **make))
        for d, k in talklora.SIZES["llama3"].values()
    ]  # fmt: skip
    one = torch.zeros(1, device=DEVICE)

    def in_three() -> None:
        for x, y, A, B in branches:
            v, _ = kernel_operators._forward(kernel_operators._launched, x @ A.T, None, E, W, C, None, N, m, 1.0)
            torch.addmm(y, v, B.T)

    def in_one() -> None:
        for x, y, A, B in branches:
            kernel_operators.add_branch(x, y, A, E, W, C, B, N, m, 1.0, False)

    runs: dict[str, Callable[[], Any]] = {
        "five empty launches": lambda: [one.zero_() for _ in branches],
        "three launches": in_three,
        ONE_LAUNCH: in_one,
    }
    with torch.no_grad():
        taken = {name: 1e6 * talklora.seconds_on_gpu(run) for name, run in runs.items()}
        usual = kernel_operators.branch_tile(N, m, False, tokens <= kernel_operators.SINGLE_ROWS)
        for BK in sorted({64, 128, 256} - {usual["BK"]}):
            sizes = {**usual, "BK": BK}
            with mock.patch.object(kernel_operators, "branch_tile", lambda *_, sizes=sizes: sizes):
                taken[f"one launch, BK {BK}"] = 1e6 * talklora.seconds_on_gpu(in_one)
    floor = taken["five empty launches"]
    return {name: {"us": us, "times_launch": us / floor} for name, us in taken.items()}


def plan() -> list[Part]:
    """Returns what is run on a GPU: what decides most comes first."""
    parts = [Part(f"exactness, r={r}, n={n}", 10, lambda r=r, n=n: exactness(r, n, 333)) for r, n in
             ((16, 4), (32, 4), (32, 2), (64, 4), (256, 4))]  # fmt: skip
    parts.append(Part("launches of a layer, r=16", 5, lambda: launches(16)))
    parts += [Part(f"kernels, r={r}, 4096 tokens", 12, lambda r=r: kernel_times(r, 4096)) for r in (16, 32)]
    parts += [Part(f"branch without gradients, r=32, {t} tokens", 13, lambda t=t: branch_times(32, t)) for t in (1, 64)]
    for size, seconds in (("smollm2", 20), ("llama3", 30)):
        for mode in ("eager", "graphed", "compiled"):
            for r, batch, length in ((16, 8, 256), (32, 2, 2048)) if mode == "eager" else ((32, 8, 256),):
                name, model = f"step, {mode}, {size}, r={r}, {batch} x {length}", talklora.MODELS[size]
                limit = seconds + 40 * (mode == "compiled")
                parts.append(Part(name, limit, lambda model=model, r=r, b=batch, n=length, mode=mode:
                                  step(model, r, b, n, mode, 4)))  # fmt: skip
    for batch in (1, 32, 256):
        for mode in ("eager", "graphed"):
            parts.append(Part(f"decoding, {mode}, llama3, r=32, {batch} rows", 8, lambda b=batch, mode=mode:
                              decoding(talklora.SIZES["llama3"], 32, b, mode, 40)))  # fmt: skip
    parts += [Part(f"folded kernels, llama3, r=32, {t} tokens", 15, lambda t=t: talklora.floor("llama3", 32, t))
              for t in (1, 64, 8192)]  # fmt: skip
    return parts


def smallest() -> list[Part]:
    """Returns a tiny part of each kind that runs on a CPU as well."""
    model = talklora.MODELS["narrow"] | {"num_hidden_layers": 2}
    narrow = {"q": (32, 32), "up": (32, 48)}
    return [
        Part("exactness, r=16, n=4", 10, lambda: exactness(16, 4, 7)),
        Part("step, eager, narrow, r=16, 1 x 4", 20, lambda: step(model, 16, 1, 4, "eager", 1)),
        Part("decoding, eager, narrow, r=16, 2 rows", 8, lambda: decoding(narrow, 16, 2, "eager", 1)),
    ]


def verdict(name: str, rows: Rows) -> str | None:
    """Returns how a part's ratio to LoRA, or to an empty launch, lies to its target, or None where it has none."""
    if ONE_LAUNCH in rows:
        ratio = rows[ONE_LAUNCH]["times_launch"]
        met = "met" if ratio <= LAUNCH_TARGET else "MISSED"
        return f"{met}: {ratio:.2f} times an empty launch, target {LAUNCH_TARGET:.2f}"
    kind = (
        "decoding" if name.startswith("decoding") else "step, eager" if "eager" in name else "step, compiled or graphed"
    )
    if not name.startswith(("step", "decoding")) or KERNEL not in rows:
        return None
    ratio, target = rows[KERNEL]["times_LoRA"], TARGETS[kind]
    return f"{'met' if ratio <= target else 'MISSED'}: {ratio:.2f} times LoRA's, target {target:.2f}"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plan", action="store_true", help="print the parts, and run none")
    parser.add_argument("--smallest", action="store_true", help="one tiny part of each kind")
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--only", default="", help="parts whose names begin so")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/gpu.json"))
    args = parser.parse_args(arguments)
    parts = [part for part in (smallest() if args.smallest else plan()) if part.name.startswith(args.only)]
    if args.plan:
        for part in parts:
            print(f"{part.seconds:4d} s  {part.name}")
        print(f"{sum(part.seconds for part in parts):4d} s  at most, of {60 * args.minutes:.0f}")
        return
    if not ON_GPU and not args.smallest:
        raise SystemExit("error: no GPU here\nhint: --plan shows what would be run, --smallest runs anywhere")
    end = time.monotonic() + 60 * args.minutes
    device = torch.cuda.get_device_name() if ON_GPU else "CPU"
    kept = {"date": time.strftime("%Y-%m-%d"), "device": device, "torch": torch.__version__, "parts": {}}
    print(f"{kept['date']}, {device}, torch {torch.__version__}")
    for part in parts:
        print(f"\n{part.name}", flush=True)
        if time.monotonic() + part.seconds > end:
            print("  not run: no time left")
            continue
        torch.manual_seed(0)
        try:
            rows = part.run()
        except Exception as error:  # what one part cannot do must not cost the others their time on a GPU
            print(f"  failed: {type(error).__name__}: {error}")
            kept["parts"][part.name] = {"failed": str(error)}
            continue
        finally:
            gc.collect()
            if ON_GPU:
                torch.cuda.empty_cache()
        kept["parts"][part.name] = rows
        for name, row in rows.items():
            print(f"  {name:32s}" + "".join(f"  {column} {value:.4g}" for column, value in row.items()))
        if ON_GPU and (line := verdict(part.name, rows)):
            print(f"  {line}")
        args.out.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
