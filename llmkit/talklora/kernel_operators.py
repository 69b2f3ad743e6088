"""The kernels as two operators of torch, `llmkit::gated_features` and its gradient, so that torch.compile, CUDA graphs
and vLLM see one operation.

Shapes: h (..., r) latents, or (..., m) where A is shared; logits (..., n) of a router that does not read h;
E (n, m, m); W (n, r); C (n, n), bounded already; keep (..., n) factors on the gates, from dropout. Without E the
experts pass their latents on. Returns v (..., n m) in h's dtype, and the gates before `keep`, (..., n), in float32.
"""

# No `from __future__ import annotations`: torch makes the operators' schemas of these annotations.

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import torch
import triton
from torch import Tensor
from torch.library import custom_op, triton_op, wrap_triton
from triton.runtime.interpreter import InterpretedFunction

from llmkit.talklora import kernels
from llmkit.talklora.functions import plain_gated_features

INTERPRETED = isinstance(kernels.forward, InterpretedFunction)
"""True under TRITON_INTERPRET=1: the kernels run as Python on a CPU, and torch cannot look into them."""

DEVICE = "cpu" if INTERPRETED else "cuda"
"""The kind of device whose tensors the kernels take."""

SINGLE_ROWS = 4
"""Up to so many rows each has programs of its own in the kernel of a whole branch; more share them by sixteen."""

_operator: Callable[..., Callable[[Callable[..., Any]], Any]] = custom_op if INTERPRETED else triton_op


@lru_cache
def tile(n: int, m: int, shared: bool) -> dict[str, int]:
    """Returns the sizes that a kernel is compiled for; where m is large a program has fewer rows and more threads."""
    padded = {"NP": triton.next_power_of_2(n), "MP": triton.next_power_of_2(m)}
    launch = {"num_warps": 8 if m > 32 else 4, "num_stages": 1}
    return {"n": n, "m": m, "SHARED": shared, **padded, "BT": 32 if m <= 4 else 16, **launch}


@lru_cache
def summing(n: int, m: int, shared: bool, has_E: bool) -> dict[str, int]:
    """Returns the sizes for the kernel that sums the programs' shares of dE, dW and dC."""
    sizes = {key: value for key, value in tile(n, m, shared).items() if key != "BT"}
    chunks = triton.cdiv(n * m * m, 256) if has_E else 0
    in_router = sizes["NP"] * (1 if shared else sizes["NP"]) * sizes["MP"]
    return {**sizes, "CHUNK": 256, "CHUNKS": chunks, "TOGETHER": max(1, min(16, 4096 // in_router))}


def _rows(x: Tensor) -> Tensor:
    """Returns x (..., c) as (T, c) with adjacent columns."""
    x = x.flatten(0, -2) if x.dim() > 1 else x[None]
    return x if x.stride(-1) == 1 else x.contiguous()


@lru_cache
def branch_tile(n: int, m: int, shared: bool, is_single: bool) -> dict[str, int]:
    """Returns the sizes of the kernel of a whole branch; `is_single`: a program for each row, without `tl.dot`."""
    least = 1 if is_single else 16
    padded = {
        name: max(least, triton.next_power_of_2(size))
        for name, size in (("NP", n), ("RP", m if shared else n * m), ("FP", n * m))
    }
    if is_single:
        launch = {"BT": 1, "BD": min(1024, 16384 // padded["RP"]), "BK": 128, "num_warps": 8, "num_stages": 1}
    else:
        launch = {"BT": 16, "BD": 32, "BK": 64, "num_warps": 4, "num_stages": 2}
    return {"n": n, "m": m, "SHARED": shared, **padded, **launch}


Launcher = Callable[[Any], Any]  # makes of a kernel what is subscripted by a grid and called


def _launched(kernel: Any) -> Any:
    return kernel


def _forward(
    launcher: Launcher,
    h: Tensor,
    logits: Tensor | None,
    E: Tensor | None,
    W: Tensor | None,
    C: Tensor | None,
    keep: Tensor | None,
    n: int,
    m: int,
    scale: float,
) -> tuple[Tensor, Tensor]:
    v, gates = _empty(h, n, m)
    h_rows, logit_rows = _rows(h), None if logits is None else _rows(logits)
    sizes = tile(n, m, h.shape[-1] == m)
    tokens = h_rows.shape[0]
    # A grid without programs is an error; a program without rows writes nothing.
    grid = (max(1, triton.cdiv(tokens, sizes["BT"])),)
    launcher(kernels.forward)[grid](
        h_rows, logit_rows, _packed(E), _packed(W), _packed(C), _packed(keep), v, gates, tokens, h_rows.stride(0),
        0 if logit_rows is None else logit_rows.stride(0), scale, **sizes,
    )  # fmt: skip
    return v, gates


def _empty(h: Tensor, n: int, m: int) -> tuple[Tensor, Tensor]:
    return h.new_empty(*h.shape[:-1], n * m), h.new_empty(*h.shape[:-1], n, dtype=torch.float32)


def _packed(x: Tensor | None) -> Tensor | None:
    return None if x is None else x.contiguous()


def _backward(
    launcher: Launcher,
    dv: Tensor,
    dgates: Tensor | None,
    h: Tensor,
    logits: Tensor | None,
    E: Tensor | None,
    W: Tensor | None,
    C: Tensor | None,
    keep: Tensor | None,
    v: Tensor,
    gates: Tensor,
    n: int,
    m: int,
    scale: float,
) -> list[Tensor | None]:
    shared = h.shape[-1] == m
    sizes, h_rows = tile(n, m, shared), _rows(h)
    tokens = h_rows.shape[0]
    programs = max(1, triton.cdiv(tokens, sizes["BT"]))
    gradients = [None if x is None else _like(x) for x in (h, logits, E, W, C)]
    dh, dlogits, dE, dW, dC = gradients
    shares = (0 if E is None else E.numel()) + (0 if W is None else W.numel())
    partial = h.new_empty(programs, shares, dtype=torch.float32)
    E, W, C = _packed(E), _packed(W), _packed(C)
    launcher(kernels.backward)[(programs,)](
        h_rows, E, W, C, _packed(keep), v, gates, dv.contiguous(), _packed(dgates), dh, dlogits, partial, tokens,
        h_rows.stride(0), scale, **sizes,
    )  # fmt: skip
    if shares:
        sums = summing(n, m, shared, E is not None)
        grid = (sums["CHUNKS"] + (W is not None),)
        launcher(kernels.sum_partial)[grid](partial, W, C, dE, dW, dC, programs, **sums)
    return gradients


def _like(x: Tensor) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


# ---- the gradient, from the same inputs whether torch's operators or the function below runs the kernels


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    *tensors, n, m, scale = inputs
    ctx.save_for_backward(*tensors, *output)
    ctx.sizes = n, m, scale
    ctx.set_materialize_grads(False)


def _gradients(ctx: Any, run: Callable[..., Any], dv: Tensor | None, dgates: Tensor | None) -> tuple[Any, ...]:
    """Returns the gradients of all nine inputs, None for those without; `run` is `_backward` or its operator."""
    h, logits, E, W, C, keep, v, gates = ctx.saved_tensors
    if torch.is_grad_enabled():  # create_graph: the derivative is to be differentiated itself
        return (*_differentiable((h, logits, E, W, C), keep, ctx.sizes, (dv, dgates)), None, None, None, None)
    if dv is None:
        dv = torch.zeros_like(v)
    gradients = run(dv, dgates, h, logits, E, W, C, keep, v, gates, *ctx.sizes)
    return (*gradients, None, None, None, None)


def _differentiable(
    inputs: tuple[Tensor | None, ...], keep: Tensor | None, sizes: tuple[int, int, float], given: tuple[Any, Any]
) -> list[Tensor | None]:
    """Computes the gradients of h, logits, E, W and C by torch's operations."""
    h, logits, E, W, C = inputs
    assert h is not None
    outputs = plain_gated_features(h, logits, E, W, C, keep, *sizes)
    pairs = [(output, gradient) for output, gradient in zip(outputs, given, strict=True) if gradient is not None]
    needed = [x for x in inputs if x is not None and x.requires_grad]
    gradients = iter(
        torch.autograd.grad([one for one, _ in pairs], needed, [one for _, one in pairs], create_graph=True)
    )
    return [next(gradients) if x is not None and x.requires_grad else None for x in inputs]


class _Function(torch.autograd.Function):
    """The kernels without torch's dispatcher, whose Python takes several times as long as a launch."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Any:
        output = _forward(_launched, *inputs)
        _save(ctx, inputs, output)
        return output

    @staticmethod
    def backward(ctx: Any, *given: Any) -> Any:
        return _gradients(ctx, partial(_backward, _launched), *given)


# ---- torch's operators


@_operator("llmkit::gated_features", mutates_args=())
def forward_operator(
    h: Tensor,
    logits: Tensor | None,
    E: Tensor | None,
    W: Tensor | None,
    C: Tensor | None,
    keep: Tensor | None,
    n: int,
    m: int,
    scale: float,
) -> tuple[Tensor, Tensor]:
    return _forward(wrap_triton, h, logits, E, W, C, keep, n, m, scale)


@_operator("llmkit::gated_features_backward", mutates_args=())
def backward_operator(
    dv: Tensor,
    dgates: Tensor | None,
    h: Tensor,
    logits: Tensor | None,
    E: Tensor | None,
    W: Tensor | None,
    C: Tensor | None,
    keep: Tensor | None,
    v: Tensor,
    gates: Tensor,
    n: int,
    m: int,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    dh, dlogits, dE, dW, dC = _backward(wrap_triton, dv, dgates, h, logits, E, W, C, keep, v, gates, n, m, scale)
    return _filled(h, dh), _filled(h, dlogits), _filled(h, dE), _filled(h, dW), _filled(h, dC)


def _filled(h: Tensor, gradient: Tensor | None) -> Tensor:
    """Returns a gradient as an operator can: no numbers for what is absent."""
    return h.new_empty(0) if gradient is None else gradient


def _fake_gradients(dv: Tensor, dgates: Any, h: Tensor, logits: Any, E: Any, W: Any, C: Any, *rest: Any) -> Any:
    return tuple(_filled(h, None if x is None else _like(x)) for x in (h, logits, E, W, C))


def _by_operators(dv: Tensor, dgates: Tensor | None, *inputs: Any) -> list[Tensor | None]:
    made = backward_operator(dv, dgates, *inputs)
    return [None if x is None else gradient for x, gradient in zip(inputs, made, strict=False)]


forward_operator.register_fake(lambda h, logits, E, W, C, keep, n, m, scale: _empty(h, n, m))
backward_operator.register_fake(_fake_gradients)
forward_operator.register_autograd(lambda ctx, *given: _gradients(ctx, _by_operators, *given), setup_context=_save)


def gated_features(
    h: Tensor,
    logits: Tensor | None,
    E: Tensor | None,
    W: Tensor | None,
    C: Tensor | None,
    keep: Tensor | None,
    n: int,
    m: int,
    scale: float,
) -> tuple[Tensor, Tensor]:
    """Computes v (..., n m) and the gates (..., n) in one launch."""
    if torch.compiler.is_compiling():
        output: tuple[Tensor, Tensor] = forward_operator(h, logits, E, W, C, keep, n, m, scale)
    elif torch.is_grad_enabled():
        output = _Function.apply(h, logits, E, W, C, keep, n, m, scale)  # type: ignore[no-untyped-call]
    else:
        output = _forward(_launched, h, logits, E, W, C, keep, n, m, scale)
    return output


# ---- a whole branch without gradients


def _branch(
    launcher: Launcher,
    x: Tensor,
    y: Tensor,
    A: Tensor,
    E: Tensor | None,
    W: Tensor,
    C: Tensor | None,
    B: Tensor,
    n: int,
    m: int,
    scale: float,
    reads_input: bool,
) -> Tensor:
    x_rows, y_rows = _rows(x), _rows(y)
    sum_of_both = torch.empty_like(y, memory_format=torch.contiguous_format)
    (tokens, d), k = x_rows.shape, y.shape[-1]
    sizes = branch_tile(n, m, A.shape[0] == m, tokens <= SINGLE_ROWS)
    launcher(kernels.branch)[(triton.cdiv(tokens, sizes["BT"]), triton.cdiv(k, sizes["BK"]))](
        x_rows, y_rows, _packed(A), _packed(E), _packed(W), _packed(C), _packed(B), sum_of_both, tokens, d, k,
        x_rows.stride(0), y_rows.stride(0), scale, READS_INPUT=reads_input, **sizes,
    )  # fmt: skip
    return sum_of_both


@_operator("llmkit::add_branch", mutates_args=())
def branch_operator(
    x: Tensor,
    y: Tensor,
    A: Tensor,
    E: Tensor | None,
    W: Tensor,
    C: Tensor | None,
    B: Tensor,
    n: int,
    m: int,
    scale: float,
    reads_input: bool,
) -> Tensor:
    return _branch(wrap_triton, x, y, A, E, W, C, B, n, m, scale, reads_input)


branch_operator.register_fake(lambda x, y, *rest: torch.empty_like(y, memory_format=torch.contiguous_format))


def add_branch(
    x: Tensor,
    y: Tensor,
    A: Tensor,
    E: Tensor | None,
    W: Tensor,
    C: Tensor | None,
    B: Tensor,
    n: int,
    m: int,
    scale: float,
    reads_input: bool,
) -> Tensor:
    """Computes y (..., k) plus what an adapter makes of x (..., d) in one launch, without gradients.

    A (r, d), B (k, n m). W is (n, d) if the router reads the input, else (n, r).
    """
    if torch.compiler.is_compiling():
        result: Tensor = branch_operator(x, y, A, E, W, C, B, n, m, scale, reads_input)
        return result
    return _branch(_launched, x, y, A, E, W, C, B, n, m, scale, reads_input)
