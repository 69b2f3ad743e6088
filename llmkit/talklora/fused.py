"""The only place that chooses between a Triton kernel and torch's operations, for rank space and for a whole branch."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from llmkit.talklora.config import TalkLoraConfig
from llmkit.talklora.weights import Weight

try:
    from llmkit.talklora import kernel_operators
except ImportError:  # no Triton, or a torch before 2.6: torch's operations do everything
    kernel_operators = None  # type: ignore[assignment]

LARGEST_N, LARGEST_M, LARGEST_RANK = 16, 64, 256
"""The sizes that `make kernels` compiles without a spilled register: experts, rank of one, and of all."""
BRANCH_TOKENS, BRANCH_RANK = 64, 32
"""The tokens and the rank n m up to which a branch is one launch: its programs all make the latents again."""
_DTYPES = (torch.float32, torch.bfloat16, torch.float16)

Kernel = Callable[..., tuple[Tensor, Tensor]]


def kernel_for(config: TalkLoraConfig, latents: Tensor) -> Kernel | None:
    """Returns `kernel_operators.gated_features`, or None where torch's operations gate what comes of these latents.

    The kernel serves gates that are one softmax, on a GPU (or on a CPU under TRITON_INTERPRET=1).
    """
    if kernel_operators is None or not config.use_kernel or not config.has_router or not config.one_softmax:
        return None
    if latents.dtype not in _DTYPES or latents.device.type != kernel_operators.DEVICE:
        return None
    n, m = config.num_experts, config.expert_rank
    if n > LARGEST_N or m > LARGEST_M or n * m > LARGEST_RANK or under_functorch() or on_another_gpu(latents):
        return None
    kernel: Kernel = kernel_operators.gated_features
    return kernel


def under_functorch() -> bool:
    """Returns whether torch.func transforms what runs, of which an operator of another package knows nothing."""
    return not torch.compiler.is_compiling() and torch._C._are_functorch_transforms_active()


def on_another_gpu(latents: Tensor) -> bool:
    """Returns whether latents lie on another GPU than the current one, on which Triton launches outside a compiled
    graph."""
    if not latents.is_cuda or torch.compiler.is_compiling():
        return False
    return latents.get_device() != torch.cuda.current_device()


def adds_in_place(config: TalkLoraConfig, output: Tensor, gated: Tensor, base: nn.Module, up: nn.Linear) -> bool:
    """Returns whether B's product may add to the base layer's output in place, one launch instead of two.

    Only beside the kernel, where launches count, and without gradients, as autograd copies what changes in a view; only
    on what a plain linear layer has just made, in the same dtype; and only if B is an ordinary module, as accelerate's
    hooks would not see the product.
    """
    return (
        not torch.is_grad_enabled()
        and kernel_for(config, gated) is not None
        and type(base) is nn.Linear
        and output.dim() > 1
        and output.is_contiguous()
        and output.dtype == gated.dtype == up.weight.dtype
        and output.device == up.weight.device
        and not torch.is_autocast_enabled(output.device.type)
        and not up._forward_pre_hooks
        and not up._forward_hooks
        and "_hf_hook" not in up.__dict__
    )


Branch = Callable[..., Tensor]


def branch_for(
    config: TalkLoraConfig, x: Tensor, output: Tensor, modules: Iterable[nn.Linear | Weight]
) -> Branch | None:
    """Returns `kernel_operators.add_branch`, or None where a branch is more than one launch.

    It serves few tokens without gradients, where launches are all the time there is. `modules` own the branch's
    weights, whose hooks it would pass by.
    """
    if torch.is_grad_enabled() or config.spectral_bound is not None or kernel_for(config, x) is None:
        return None
    if max(config.up_rank, config.r) > BRANCH_RANK or not 1 <= x.numel() // x.shape[-1] <= BRANCH_TOKENS:
        return None
    if output.dtype not in _DTYPES or output.shape[:-1] != x.shape[:-1] or output.device != x.device:
        return None
    for module in modules:
        weight = module.weight
        if weight.dtype not in _DTYPES or weight.device != x.device:
            return None
        if module._forward_pre_hooks or module._forward_hooks or "_hf_hook" in module.__dict__:
            return None
    branch: Branch = kernel_operators.add_branch
    return branch
