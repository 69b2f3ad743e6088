"""Operations of one adapted layer that launch a kernel on a GPU, counted on a CPU beside what its host side takes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from peft import LilyConfig, LoraConfig, get_peft_model
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from kernel_checks.driver import launched_to_nowhere
from llmkit.talklora import TalkLoraConfig

# Operations that give memory without values, or no tensor at all.
_QUIET = (
    "promote_types",
    "empty",
    "new_empty",
    "empty_like",
    "empty_strided",
    "new_empty_strided",
    "detach",
    "_unsafe_view",
    "lift_fresh",
)
D, K, R, N, TOKENS = 32, 32, 16, 4, 8


class Counter(TorchDispatchMode):
    """Counts the operations inside it, views and empty tensors left out."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not func.is_view and func.overloadpacket.__name__ not in _QUIET:
            self.count += 1
        return func(*args, **(kwargs or {}))


class OneLinear(nn.Module):
    """A model of one layer."""

    def __init__(self) -> None:
        super().__init__()
        self.q_proj = nn.Linear(D, K, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.q_proj(x)
        return y


def layers() -> dict[str, nn.Module]:
    """Returns the layer bare and under each method, by name."""
    size: dict[str, Any] = {"r": R, "target_modules": ["q_proj"]}
    talk = {**size, "num_experts": N}
    adapters = {
        "LoRA (PEFT)": LoraConfig(**size),
        "DoRA (PEFT)": LoraConfig(**size, use_dora=True),
        "Lily (PEFT)": LilyConfig(**size, num_B=N),
        "TalkLoRA, torch's operations": TalkLoraConfig(**talk, use_kernel=False),
        "TalkLoRA, kernel": TalkLoraConfig(**talk),
    }
    adapted = {name: get_peft_model(OneLinear(), config).base_model.model for name, config in adapters.items()}
    return {"no adapter": OneLinear().requires_grad_(False), **adapted}


def passes(layer: nn.Module, mixed: bool) -> dict[str, Callable[[], Any]]:
    """Returns a forward pass, the backward pass of the last one, and a forward pass without gradients."""
    x = torch.randn(TOKENS, D, requires_grad=True)
    leaves = [x, *(p for p in layer.parameters() if p.requires_grad)]
    gradient = torch.ones(TOKENS, K, dtype=torch.bfloat16 if mixed else torch.float32)
    outputs: list[Tensor] = []

    def autocast() -> AbstractContextManager[Any]:
        return torch.autocast("cpu", torch.bfloat16, enabled=mixed)

    def forward() -> None:
        with autocast():
            outputs.append(layer(x))

    def backward() -> None:
        for tensor in leaves:
            tensor.grad = None
        outputs.pop().backward(gradient)

    @torch.no_grad()
    def decode() -> None:
        with autocast():
            layer(x)

    return {"forward": forward, "backward": backward, "decoding": decode}


def counted(mixed: bool) -> dict[str, dict[str, int]]:
    """Counts each method's launches by pass, without those of the bare layer; `mixed`: under autocast."""
    counts: dict[str, dict[str, int]] = {}
    with launched_to_nowhere() as driver:
        for name, layer in layers().items():
            counts[name] = {}
            for step, run in passes(layer, mixed).items():
                layer.train(step != "decoding")
                if step == "decoding":
                    run()  # makes the folded matrix, which is kept
                before = driver.launches
                with Counter() as counter:
                    run()
                counts[name][step] = counter.count + driver.launches - before
    base = counts.pop("no adapter")
    return {name: {step: count - base[step] for step, count in row.items()} for name, row in counts.items()}


def host_microseconds(rounds: int = 40, repeats: int = 10) -> dict[str, dict[str, float]]:
    """Measures processor time in microseconds of each method's passes; medians of rounds in which methods take turns.

    Tensors are so small that arithmetic is little of it. Features that no kernel wrote may be denormal, which are slow.
    """
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    taken: dict[str, dict[str, list[float]]] = {}
    with launched_to_nowhere():
        for step, training in (("step", True), ("decoding", False)):
            runs = {}
            for name, layer in layers().items():
                parts = passes(layer.train(training), False)
                runs[name] = (parts["forward"], parts["backward"]) if training else (parts["decoding"],)
            for index in range(rounds + 2):
                for name, run in runs.items():
                    start = time.process_time()
                    for _ in range(repeats):
                        for part in run:
                            part()
                    if index > 1:
                        seconds = (time.process_time() - start) / repeats
                        taken.setdefault(name, {}).setdefault(step, []).append(1e6 * seconds)
    return {name: {step: statistics.median(values) for step, values in row.items()} for name, row in taken.items()}


def main() -> None:
    for mixed in (False, True):
        print("bfloat16 by autocast" if mixed else "float32")
        for name, row in counted(mixed).items():
            print(f"  {name:32s}", row)
    for name, row in host_microseconds().items():
        print(f"  {name:32s}", {step: round(value, 1) for step, value in row.items()})


if __name__ == "__main__":
    main()
