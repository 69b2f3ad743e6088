"""The adapted linear layer. d: inputs, k: outputs, r: rank, n: experts, m: rank of one expert."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer, _get_in_out_features, check_adapters_to_merge
from peft.utils.quantization_utils import resolve_quantization_backend
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from llmkit.talklora.config import TalkLoraConfig
from llmkit.talklora.functions import Talk, balance, talk_traced, untalked

BASE = "__base__"  # PEFT's name, in `adapter_names`, for a row without an adapter
Observer = Callable[["TalkLoraLayer", Tensor], None]


class Weight(nn.Module):
    """One tensor in a module of its own, so that all adapter weights move, cast, share and save alike."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(*shape))


class FoldedRows:
    """A layer's weights before B as one matrix, `rows`, and what it was made of."""

    def __init__(self, rows: Tensor, modules: list[nn.Module]) -> None:
        self.rows = rows
        # Aliases of the weights: they keep the storages, so that no new one can have the address of an old one.
        self.made_of = [(m._parameters, m.weight, m.weight.detach(), m.weight._version) for m in modules]

    def holds(self) -> bool:
        """Whether the weights are still the same, as far as their versions and storages tell."""
        return all(
            owner["weight"] is weight and weight._version == version and weight.data_ptr() == alias.data_ptr()
            for owner, weight, alias, version in self.made_of
        )


class ForwardPass:
    """What the layers of a model share during the forward pass under way."""

    mask: Tensor | None = None  # the attention mask, (batch, positions)
    losses: list[Tensor] | None = None  # load-balancing losses of the layers passed so far; None: nobody collects them

    def begin(self, mask: Tensor | None) -> None:
        self.mask, self.losses = mask, []

    def end(self) -> list[Tensor]:
        """The losses collected. What a checkpoint computes anew during the backward pass adds none."""
        losses, self.losses = self.losses or [], None
        return losses

    def add(self, loss: Tensor) -> None:
        if self.losses is not None:
            self.losses.append(loss)

    def __getstate__(self) -> dict[str, Any]:
        return {}  # a copy of a model has no pass under way, and a tensor inside a graph cannot be copied

    def mask_of(self, gate: Tensor) -> Tensor | None:
        """1 for every real token of `gate` (..., n), as (...); None where no mask fits."""
        mask, tokens = self.mask, gate.shape[:-1]
        if mask is None or mask.dim() != 2:
            return None
        if len(tokens) == 2 and mask.shape[0] == tokens[0] and mask.shape[1] >= tokens[1]:
            return mask[:, -tokens[1] :]  # with a key-value cache the mask is longer than what is new
        return mask.reshape(tokens) if len(tokens) == 1 and mask.numel() == tokens[0] else None


def effective_talk(config: TalkLoraConfig, C: Tensor) -> Tensor:
    """C (n, n) as it is used: scaled down to `spectral_bound` where its largest singular value is above it."""
    if config.spectral_bound is None:
        return C
    norm = torch.linalg.matrix_norm(C, ord=2)
    return C * torch.clamp(config.spectral_bound / norm, max=1.0)


def latent_router(config: TalkLoraConfig, W: Tensor, C: Tensor | None) -> Tensor:
    """W_g (C kron I_m), (n, r): the router as a map of untalked latents; C vanishes in it (eq. 5 and 6)."""
    if C is None or not config.talks_before:
        return W
    return untalked(W, effective_talk(config, C))


def mixing(
    config: TalkLoraConfig, E: Tensor | None, W: Tensor | None, C: Tensor | None, like: Tensor, scale: float = 1.0
) -> Tensor:
    """[scale blockdiag(E); W_g (C kron I)], (n m + n, r): one small map from latents to expert features and logits.

    The rows of the logits are absent where the router does not read latents. `like` gives device and dtype.
    """
    n, m, r = config.num_experts, config.expert_rank, config.r
    eye = torch.eye(n, dtype=like.dtype, device=like.device)
    if E is None:
        E = torch.eye(m, dtype=like.dtype, device=like.device).expand(n, m, m)
    E = E * scale
    # With one A for all experts they stand on top of each other; otherwise each reads its own m latents.
    rows = E.reshape(n * m, m) if config.share_A else (E[:, :, None, :] * eye[:, None, :, None]).reshape(n * m, r)
    if W is None or config.router_input != "latent":
        return rows
    return torch.cat([rows, latent_router(config, W, C)])


class TalkLoraLayer(nn.Module, BaseTunerLayer):
    """A linear map with TalkLoRA adapters: y = W0 x + s sum_i g_i(x) B_i E_i A_i x (arXiv 2604.06291, eq. 4 to 7)."""

    adapter_layer_names = ("talklora_A", "talklora_B", "talklora_E", "talklora_C", "talklora_router")
    other_param_names = ("settings", "shared_B", "folded")

    def __init__(self, base_layer: nn.Module, current: ForwardPass) -> None:
        super().__init__()
        self.base_layer = base_layer
        base = self.get_base_layer()
        self.quantization_backend = resolve_quantization_backend(base)
        if self.quantization_backend is None and not isinstance(base, (nn.Linear, Conv1D)):
            raise ValueError(f"{type(base).__name__} is not supported: TalkLoRA adapts linear layers and Conv1D only")
        self.in_features, self.out_features = _get_in_out_features(base)
        self.fan_in_fan_out = isinstance(base, Conv1D)
        self.settings: dict[str, TalkLoraConfig] = {}
        # Modules shared across layers stand in lists: not registered here (no copies on disk), yet seen by deepcopy.
        self.shared_B: dict[str, list[nn.Linear]] = {}
        self.folded: dict[str, FoldedRows] = {}
        for name in self.adapter_layer_names:
            setattr(self, name, nn.ModuleDict())
        self.current = current
        self.observer: Observer | None = None
        self._disable_adapters = False
        self.merged_adapters = []

    def update_layer(self, adapter_name: str, config: TalkLoraConfig, shared_B: nn.Linear | None) -> None:
        """Adds an adapter. `shared_B`, (k, n m), belongs to the model; None gives the layer one of its own."""
        n, m, d = config.num_experts, config.expert_rank, self.in_features
        self.settings[adapter_name] = config
        self.folded.pop(adapter_name, None)
        self.talklora_A[adapter_name] = nn.Linear(d, config.r, bias=False)
        if config.transform:
            self.talklora_E[adapter_name] = Weight(n, m, m)
        if config.has_talk:
            self.talklora_C[adapter_name] = Weight(n, n)
        if config.router_input != "none":
            self.talklora_router[adapter_name] = Weight(n, d if config.router_input == "input" else config.r)
        if shared_B is None:
            self.talklora_B[adapter_name] = up_projection(config, self.out_features)
        else:
            self.shared_B[adapter_name] = [shared_B]
        self.reset_parameters(adapter_name)
        self._move_adapter_to_device_of_base_layer(adapter_name)
        self.set_adapter(self.active_adapters, inference_mode=config.inference_mode)

    @torch.no_grad()
    def reset_parameters(self, adapter_name: str) -> None:
        """A, E, C and W_g uniform in +-1/sqrt(fan in), as PEFT starts LoRA's A; B is zero."""
        config = self.settings[adapter_name]
        for name in ("talklora_A", "talklora_E", "talklora_C", "talklora_router"):
            if adapter_name in getattr(self, name):
                weight = getattr(self, name)[adapter_name].weight
                bound = 1 / math.sqrt(weight.shape[-1])
                weight.uniform_(-bound, bound)
        if config.router_input != "none":
            self.talklora_router[adapter_name].weight.mul_(config.router_init_scale)
        if config.talk == "after-softmax":
            C = self.talklora_C[adapter_name].weight
            C.copy_(4 * torch.eye(config.num_experts))  # softmax(C) starts near the identity: 0.95 stays at n = 4

    def up(self, adapter_name: str) -> nn.Linear:
        """All experts' B_i side by side, (k, n m)."""
        shared = self.shared_B.get(adapter_name)
        return shared[0] if shared else self.talklora_B[adapter_name]

    def weights(self, adapter_name: str) -> dict[str, Tensor | None]:
        """E (n, m, m), W (the router) and C (n, n), None where the adapter has none."""
        parts = {"E": self.talklora_E, "W": self.talklora_router, "C": self.talklora_C}
        return {key: part[adapter_name].weight if adapter_name in part else None for key, part in parts.items()}

    def forward(self, x: Tensor, *args: Any, adapter_names: list[str] | None = None, **kwargs: Any) -> Tensor:
        if adapter_names is not None and self.merged:
            raise ValueError("adapter_names needs adapters apart from the base: call unmerge_adapter first")
        if self.disable_adapters and self.merged:
            self.unmerge()
        result = self.base_layer(x, *args, **kwargs)
        if self.disable_adapters or self.merged:
            return result
        if self.quantization_backend is not None:
            result = self.quantization_backend.maybe_clone_base_result(result)
        if adapter_names is not None:
            return self._add_by_row(result, x, adapter_names)
        for name in self.active_adapters:
            if name in self.talklora_A:
                result = result + self.delta(x, name).to(result.device, result.dtype)
        return result

    def _add_by_row(self, result: Tensor, x: Tensor, adapter_names: list[str]) -> Tensor:
        result = result.clone()
        for name in set(adapter_names) & set(self.talklora_A):
            rows = torch.tensor([i for i, wanted in enumerate(adapter_names) if wanted == name], device=x.device)
            result[rows] += self.delta(x[rows], name).to(result.device, result.dtype)
        return result

    def delta(self, x: Tensor, adapter_name: str) -> Tensor:
        """What one adapter adds to the base layer's output: (..., d) -> (..., k)."""
        config, A, up = self.settings[adapter_name], self.talklora_A[adapter_name], self.up(adapter_name)
        x = self._cast_input_dtype(x, A.weight.dtype)
        if self._folds(A.weight):
            z = nn.functional.linear(x, self.fold(adapter_name))  # (..., n m + n)   features and logits in one GEMM
            v = self._weighted(z, adapter_name)
            return up(v.to(up.weight.device))
        if self.training and config.dropout:
            x = nn.functional.dropout(x, config.dropout)
        h = A(x)  # (..., r)   all experts' A in one GEMM
        v = self._gated(h, x, adapter_name)  # (..., n m)
        y = up(v.to(up.weight.device, h.dtype))  # (..., k)   gate before B: exact, by linearity
        return nn.functional.dropout(y, config.output_dropout) if self.training and config.output_dropout else y

    def _folds(self, A: Tensor) -> bool:
        """Whether all before B may act as one matrix: where nothing is trained, differentiated, rounded or traced."""
        if self.training or torch.is_grad_enabled() or torch.compiler.is_compiling() or A.is_inference():
            return False
        return A.dtype in (torch.float32, torch.float64) and not torch.is_autocast_enabled(A.device.type)

    def fold(self, adapter_name: str) -> Tensor:
        """[s blockdiag(E) A; W_g (C kron I) A], (n m + n, d), made once and kept until a weight changes.

        A change is seen by the weight's version or its storage; what is written in place through `.data`, which counts
        no versions, is seen after the next `train()`.
        """
        kept = self.folded.get(adapter_name)
        if kept is None or not kept.holds():
            kept = self.folded[adapter_name] = self._fold(adapter_name)
        return kept.rows

    @torch.no_grad()
    def _fold(self, adapter_name: str) -> FoldedRows:
        config, weights = self.settings[adapter_name], self.weights(adapter_name)
        A = self.talklora_A[adapter_name].weight
        scale = config.scale / config.num_experts if config.router_input == "none" else config.scale
        rows = mixing(config, **weights, like=A, scale=scale) @ A
        if config.router_input == "input":
            rows = torch.cat([rows, weights["W"]])
        parts = (self.talklora_A, self.talklora_E, self.talklora_router, self.talklora_C)
        return FoldedRows(rows, [part[adapter_name] for part in parts if adapter_name in part])

    def train(self, mode: bool = True) -> TalkLoraLayer:
        if mode:
            self.folded.clear()
        return super().train(mode)

    def _gated(self, h: Tensor, x: Tensor, adapter_name: str) -> Tensor:
        """Latents (..., r) to gated, scaled expert features (..., n m), in float32 or better, also under autocast."""
        config = self.settings[adapter_name]
        n = config.num_experts
        wide = torch.promote_types(h.dtype, torch.float32)
        with torch.autocast(h.device.type, enabled=False):
            E, W, C = (None if w is None else w.to(wide) for w in self.weights(adapter_name).values())
            # The scale sits in the small map: per token it would be one more tensor to keep.
            scale = config.scale / n if config.router_input == "none" else config.scale
            if E is not None and self._plain(config):
                talk = effective_talk(config, C) if C is not None and config.talks_before else None
                if torch.compiler.is_compiling():
                    return talk_traced(h, E, W, talk, scale)
                watch = None if self.observer is None else partial(self.observer, self)
                return Talk.apply(h, E, W, talk, scale, watch)
            z = h.to(wide) @ mixing(config, E, W, C, h.new_empty((), dtype=wide), scale).T
            if config.router_input == "input":
                z = torch.cat([z, x.to(wide) @ W.T], dim=-1)
            return self._weighted(z, adapter_name)

    def _plain(self, config: TalkLoraConfig) -> bool:
        """Whether the gate is a softmax over the latents' logits and nothing else."""
        traced = self.observer is not None and torch.compiler.is_compiling()  # Talk calls it where nothing is traced
        extra = traced or config.top_k is not None or config.talk == "after-softmax"
        trained = self.training and (config.balance_coef or config.gate_dropout)
        return config.router_input == "latent" and not (config.share_A or extra or trained)

    def _weighted(self, z: Tensor, adapter_name: str) -> Tensor:
        """[features; logits] (..., n m + n) to features weighted by their expert's gate, (..., n m)."""
        config = self.settings[adapter_name]
        if config.router_input == "none":
            return z
        n = config.num_experts
        u, logits = z.split((z.shape[-1] - n, n), dim=-1)
        C = self.talklora_C[adapter_name].weight.to(z.dtype) if config.talk == "after-softmax" else None
        gate = self.gate(logits, C, config)  # (..., n)
        return (u.unflatten(-1, (n, -1)) * gate[..., None]).flatten(-2)  # (..., n, m) in between

    def gate(self, logits: Tensor, C: Tensor | None, config: TalkLoraConfig) -> Tensor:
        """Router logits (..., n) to the experts' weights (..., n); they sum to 1, but for gate dropout."""
        p = torch.softmax(logits, dim=-1)
        kept = _kept(config, p)
        if self.training and config.balance_coef:
            self.current.add(config.balance_coef * balance(p, kept, self.current.mask_of(p)))
        gate = _mixed(config, kept, C)
        if self.observer is not None:
            self.observer(self, gate)
        if self.training and config.gate_dropout:
            gate = nn.functional.dropout(gate, config.gate_dropout)
        return gate

    def get_delta_weight(self, adapter_name: str) -> Tensor:
        """s sum_i g_i B_i E_i A_i, (k, d), where the gate is constant; else ValueError."""
        config = self.settings[adapter_name]
        if config.constant_gate is None:
            raise ValueError(
                f"adapter {adapter_name!r} cannot be merged: its gates depend on the input. llmkit.talklora.export has "
                "`fold` for serving (exact) and `static_lora` for a mergeable LoRA with its measured error"
            )
        A = self.talklora_A[adapter_name].weight
        E = self.weights(adapter_name)["E"]
        rows = mixing(config, E, None, None, like=A)  # (n m, r)
        return self.up(adapter_name).weight.to(A.device) @ (rows @ A) * (config.scale * config.constant_gate)

    def _add_to_base(self, adapter_name: str, sign: float, safe: bool) -> None:
        delta = self.get_delta_weight(adapter_name)
        base = self.get_base_layer().weight
        merged = base.data + sign * (delta.T if self.fan_in_fan_out else delta).to(base.device, base.dtype)
        if safe and not torch.isfinite(merged).all():
            raise ValueError(f"merging {adapter_name!r} gives values that are not finite")
        base.data = merged

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Adds adapters with constant gates (one expert, or no router) to the base weight; refuses others."""
        if self.quantization_backend is not None:
            raise ValueError("TalkLoRA is not merged into a quantised weight: load the base in float16 or bfloat16")
        for name in check_adapters_to_merge(self, adapter_names):
            if name in self.talklora_A:
                self._add_to_base(name, 1.0, safe_merge)
                self.merged_adapters.append(name)

    def unmerge(self) -> None:
        while self.merged_adapters:
            self._add_to_base(self.merged_adapters.pop(), -1.0, safe=False)

    # B shared across layers is not in `adapter_layer_names`, and a frozen C is: both follow the flags from here.

    def set_adapter(self, adapter_names: str | list[str], inference_mode: bool = False) -> None:
        super().set_adapter(adapter_names, inference_mode=inference_mode)
        wanted = [adapter_names] if isinstance(adapter_names, str) else adapter_names
        for name in self.settings:
            self._fix_flags(name, name in wanted and not inference_mode)

    def set_requires_grad(self, adapter_names: Any, requires_grad: bool = True) -> None:
        super().set_requires_grad(adapter_names, requires_grad)
        for name in [adapter_names] if isinstance(adapter_names, str) else adapter_names:
            if name in self.settings:
                self._fix_flags(name, requires_grad)

    def enable_adapters(self, enabled: bool) -> None:
        super().enable_adapters(enabled)
        if not enabled:
            for name in self.settings:
                self._fix_flags(name, False)

    def _fix_flags(self, adapter_name: str, trains: bool) -> None:
        for module in self.shared_B.get(adapter_name, ()):
            module.requires_grad_(trains)
        if adapter_name in self.talklora_C and self.settings[adapter_name].talk == "frozen":
            self.talklora_C[adapter_name].requires_grad_(False)

    def __repr__(self) -> str:
        return "talklora." + super().__repr__()


def up_projection(config: TalkLoraConfig, out_features: int) -> nn.Linear:
    """A new B, (k, n m): zero, so that a new adapter changes nothing (random with init_weights=False)."""
    module = nn.Linear(config.up_rank, out_features, bias=False)
    if config.init_weights:
        nn.init.zeros_(module.weight)
    return module


def gates(config: TalkLoraConfig, logits: Tensor, C: Tensor | None) -> Tensor:
    """Router logits (..., n) to the experts' weights (..., n), as they are at inference."""
    return _mixed(config, _kept(config, torch.softmax(logits, dim=-1)), C)


def _kept(config: TalkLoraConfig, p: Tensor) -> Tensor:
    """The `top_k` largest of the probabilities, renormalised."""
    if config.top_k is None or config.top_k >= config.num_experts:
        return p
    p = p * torch.zeros_like(p).scatter(-1, p.topk(config.top_k, dim=-1).indices, 1.0)
    return p / p.sum(-1, keepdim=True)


def _mixed(config: TalkLoraConfig, gate: Tensor, C: Tensor | None) -> Tensor:
    """Gates that talk after the softmax: columns of softmax(C) sum to 1, so the gates still do."""
    return gate @ torch.softmax(C, dim=0).T if config.talk == "after-softmax" else gate
