"""Compiles every kernel for GPUs that are not here, and reads registers and spills from ptxas."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from llmkit.serving import slot_kernel
from llmkit.talklora import kernels
from llmkit.talklora.config import TalkLoraConfig
from llmkit.talklora.fused import BRANCH_RANK
from llmkit.talklora.kernel_operators import branch_tile, summing, tile
from llmkit.talklora.presets import PRESETS

CAPABILITIES = (80, 90)
# (r, n). Under hydralora each expert has the whole rank r.
SIZES = {
    "talklora": ((8, 2), (16, 4), (24, 3), (32, 4), (16, 16), (32, 2), (64, 4), (64, 8), (128, 4), (256, 4)),
    "talklora-released": ((16, 4), (32, 4)),
    "moelora": ((16, 4), (32, 4)),
    "hydralora": ((8, 4), (16, 4), (16, 16), (64, 4)),
}
TYPES = {"bf16": ("bf16", "fp32"), "fp16": ("fp16", "fp32"), "fp32": ("fp32", "fp32"), "all bf16": ("bf16", "bf16")}


def cases() -> Iterator[tuple[str, int, int, str]]:
    """Yields preset, r, n and the dtype of the latents: all sizes in bfloat16, one in every dtype."""
    for preset in PRESETS:
        for r, n in SIZES[preset]:
            for dtype in TYPES if (preset, r, n) == ("talklora", 16, 4) else ("bf16",):
                yield preset, r, n, dtype


def registers(function: Any, pointers: dict[str, str | None], numbers: dict[str, str], sizes: dict[str, Any],
              capability: int) -> dict[str, int]:  # fmt: skip
    """Compiles a kernel as a launch would, with aligned pointers; returns registers of a thread, and bytes
    of spills and of shared memory."""
    options = {key: sizes[key] for key in ("num_warps", "num_stages") if key in sizes}
    constants = {key: value for key, value in sizes.items() if key not in options}
    constants |= {name: None for name, kind in pointers.items() if kind is None}
    signature = {name: f"*{kind}" for name, kind in pointers.items() if kind} | numbers
    signature |= dict.fromkeys(constants, "constexpr")
    signature = {name: signature[name] for name in function.arg_names}
    aligned = {(at,): [["tt.divisibility", 16]] for at, kind in enumerate(signature.values()) if kind.startswith("*")}
    source = ASTSource(function, signature, constexprs=constants, attrs=aligned)
    made = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    ptxas = next(Path(triton.__file__).parent.rglob("ptxas"))
    with tempfile.NamedTemporaryFile("w", suffix=".ptx") as file:
        file.write(made.asm["ptx"])
        file.flush()
        target = re.search(r"\.target (\w+)", made.asm["ptx"])[1]
        command = [ptxas, "-v", f"-arch={target}", file.name, "-o", "/dev/null"]
        log = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stderr
    spills = sum(int(size) for size in re.findall(r"(\d+) bytes spill", log))
    return {
        "registers": int(re.search(r"Used (\d+) registers", log)[1]),
        "spilled": spills,
        "shared": made.metadata.shared,
    }


def of_case(preset: str, r: int, n: int, dtype: str, capability: int) -> dict[str, dict[str, int]]:
    """Returns registers and spills of the kernels that a preset launches in training."""
    config = TalkLoraConfig.preset(preset, r=r, num_experts=n)
    of_latents, of_weights = TYPES[dtype]
    reads_latents = config.router_input == "latent"
    E = of_weights if config.transform else None
    W = of_weights if reads_latents else None
    C = of_weights if config.has_talk else None
    logits = None if reads_latents else "fp32"
    keep = "fp32" if config.gate_dropout else None
    m, shared = config.expert_rank, config.share_A
    sizes = tile(n, m, shared)
    weights = {"E": E, "W": W, "C": C, "keep": keep, "g": "fp32"}
    rows = {"T": "i32", "h_stride": "i32", "scale": "fp32"}
    inputs = {"h": of_latents, "logits": logits, **weights, "v": of_latents}
    gradients = {"h": of_latents, **weights, "v": of_latents, "dv": of_latents, "dg": None, "dh": of_latents,
                 "dlogits": logits, "partial": "fp32"}  # fmt: skip
    made = {
        "forward": registers(kernels.forward, inputs, rows | {"logits_stride": "i32"}, sizes, capability),
        "backward": registers(kernels.backward, gradients, rows, sizes, capability),
    }
    if E or W:
        sums = {"partial": "fp32", "W": W, "C": C, "dE": E, "dW": W, "dC": C}
        one = summing(n, m, shared, E is not None)
        made["sums"] = registers(kernels.sum_partial, sums, {"programs": "i32"}, one, capability)
    return made


def of_branch(preset: str, r: int, n: int, dtype: str, capability: int) -> dict[str, dict[str, int]]:
    """Returns the same for the kernel of a whole branch, for some rows and for more. Latents are the layer's input."""
    config = TalkLoraConfig.preset(preset, r=r, num_experts=n)
    of_input, of_weights = TYPES[dtype]
    pointers = {"x": of_input, "y": of_input, "A": of_weights, "E": of_weights if config.transform else None}
    pointers |= {"W": of_weights, "C": of_weights if config.has_talk else None, "B": of_weights, "out": of_input}
    numbers = {**dict.fromkeys(("T", "d", "k", "x_stride", "y_stride"), "i32"), "scale": "fp32"}
    made = {}
    for name, is_single in (("few rows", True), ("more rows", False)):
        sizes = branch_tile(n, config.expert_rank, config.share_A, is_single)
        reads = {"READS_INPUT": config.router_input == "input"}
        made[name] = registers(kernels.branch, pointers, numbers, sizes | reads, capability)
    return made


def of_slots(rank: int, capability: int) -> dict[str, int]:
    """Returns registers and spills of the gate between vLLM's shrink and expand."""
    pointers = {"latents": "fp32", "summed": None, "slots": "i64", "mask": "fp32", "owner": "i64", "has_gates": "i1",
                "out": "fp32"}  # fmt: skip
    numbers = {"rows": "i32", "tokens": "i32", "no_slot": "i32"}
    return registers(slot_kernel.gate_slots, pointers, numbers, slot_kernel.sizes(rank), capability)


def table() -> list[dict[str, Any]]:
    """Compiles everything; returns a row for each GPU, preset, size and dtype."""
    rows: list[dict[str, Any]] = []
    for capability in CAPABILITIES:
        for preset, r, n, dtype in cases():
            case = {"gpu": f"sm_{capability}", "preset": preset, "r": r, "n": n, "dtype": dtype}
            rows.append(case | {"kernels": of_case(preset, r, n, dtype, capability)})
            config = TalkLoraConfig.preset(preset, r=r, num_experts=n)
            if max(r, config.up_rank) <= BRANCH_RANK and preset != "talklora-released":  # whose branch is talklora's
                case["preset"] = f"{preset}, one launch"
                rows.append(case | {"kernels": of_branch(preset, r, n, dtype, capability)})
        for rank in (16, 64, 256):
            case = {"gpu": f"sm_{capability}", "preset": "vLLM's slots", "r": rank, "n": 0, "dtype": "fp32"}
            rows.append(case | {"kernels": {"gate": of_slots(rank, capability)}})
    return rows


if __name__ == "__main__":
    for row in table():
        print(row, flush=True)
