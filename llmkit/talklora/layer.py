"""The adapted linear layer: y = W0 x + s sum_i g_i(x) B_i E_i A_i x (arXiv 2604.06291, eq. 4 to 7).

d: inputs, k: outputs, r: rank, n: experts, m: rank of one expert.

What runs when:

    Linear.forward    adapters disabled, or merged   the base layer alone
                      adapter_names (mixed batch)    each adapter's rows of the batch through `delta`
                      otherwise                      the base layer, and `delta` of every active adapter
    delta             gradients, or training         A, then `_gated_features`, then B
                      inference                      all before the gates is one product with `folded_rows`, then B

`_gated_features` is composed of torch operations, so that autograd to any order, torch.func and torch.compile are right
by construction. On a GPU with Triton one kernel replaces it, latents in, what B takes out, and for few tokens at
inference one kernel adds the whole branch (`fused` chooses). `folded_rows` holds A, E, C and the router as one matrix,
made when first used and again when a weight has changed; `keep_folds=False` turns it off.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, cast

import torch
from peft.tuners.tuners_utils import BaseTunerLayer, _get_in_out_features, check_adapters_to_merge
from peft.utils.quantization_utils import quantization_extra_repr, resolve_quantization_backend
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from llmkit.talklora.balancing import ForwardPass
from llmkit.talklora.config import TalkLoraConfig
from llmkit.talklora.folding import KeptFold
from llmkit.talklora.functions import latent_map, mix_gates, weigh
from llmkit.talklora.fused import Kernel, adds_in_place, branch_for, kernel_for
from llmkit.talklora.spectral import bounded
from llmkit.talklora.top_k import keep_largest
from llmkit.talklora.weights import Weight, up_projection, weight_of

if TYPE_CHECKING:
    from llmkit.talklora.weights import Parts

BASE = "__base__"  # PEFT's name, in `adapter_names`, for a row without an adapter
GateObserver = Callable[["TalkLoraLayer", Tensor], None]


class TalkLoraLayer(BaseTunerLayer):
    """The adapters of one layer: their weights, what they add to the layer's output, and merging."""

    adapter_layer_names = ("talklora_A", "talklora_B", "talklora_E", "talklora_C", "talklora_router", "shared_B")
    other_param_names = ("settings", "kept_folds")
    talklora_A: Parts[nn.Linear]
    talklora_B: Parts[nn.Linear]
    talklora_E: Parts[Weight]
    talklora_C: Parts[Weight]
    talklora_router: Parts[Weight]
    shared_B: Parts[nn.Linear]
    in_features: int
    out_features: int
    if TYPE_CHECKING:  # of nn.Module, the other base of every such layer
        training: bool
        _modules: dict[str, nn.Module | None]

    def __init__(self, base_layer: nn.Module, current: ForwardPass) -> None:
        self.base_layer = base_layer
        base_module = self.get_base_layer()
        self.quantization_backend = resolve_quantization_backend(
            base_module, get_apply_tensor_subclass=_never_requantised
        )
        if self.quantization_backend is None and not isinstance(base_module, (nn.Linear, Conv1D)):
            raise ValueError(
                f"{type(base_module).__name__} is not supported: TalkLoRA adapts linear layers and Conv1D only"
            )
        self.in_features, self.out_features = cast("tuple[int, int]", _get_in_out_features(base_module))
        self.fan_in_fan_out = isinstance(base_module, Conv1D)
        self.settings: dict[str, TalkLoraConfig] = {}
        self.kept_folds: dict[str, KeptFold] = {}
        for attribute in self.adapter_layer_names:
            setattr(self, attribute, nn.ModuleDict())
        # Modules of the tuner, shared across layers. Not registered here, or every layer would save a copy; a
        # ModuleDict nevertheless, because PEFT finds it by name and switches, counts and deletes as it does the others.
        self.__dict__["shared_B"] = self._modules.pop("shared_B")
        self.current = current
        self.observer: GateObserver | None = None
        self._disable_adapters = False
        self.merged_adapters = []

    def update_layer(self, adapter_name: str, config: TalkLoraConfig, shared_B: nn.Linear | None) -> None:
        """Adds an adapter. `shared_B`, (k, n m), belongs to the model; None gives the layer one of its own."""
        n, m, d = config.num_experts, config.expert_rank, self.in_features
        self.settings[adapter_name] = config
        self.kept_folds.pop(adapter_name, None)
        self.talklora_A[adapter_name] = nn.Linear(d, config.r, bias=False)
        if config.transform:
            self.talklora_E[adapter_name] = Weight(n, m, m)
        if config.has_talk:
            self.talklora_C[adapter_name] = Weight(n, n, trained=config.talk != "frozen")
        if config.has_router:
            self.talklora_router[adapter_name] = Weight(n, d if config.router_input == "input" else config.r)
        if shared_B is None:
            self.talklora_B[adapter_name] = up_projection(config, self.out_features)
        else:
            self.shared_B[adapter_name] = shared_B
        self.reset_parameters(adapter_name)
        self._move_adapter_to_device_of_base_layer(adapter_name)
        self.set_adapter(self.active_adapters, inference_mode=config.inference_mode)

    @torch.no_grad()
    def reset_parameters(self, adapter_name: str) -> None:
        """Draws A, E, C and W_g uniformly from +-1/sqrt(fan in), as PEFT starts LoRA's A; B is zero."""
        config = self.settings[adapter_name]
        for module in self._modules_before_B(adapter_name):
            bound = 1 / math.sqrt(module.weight.shape[-1])
            module.weight.uniform_(-bound, bound)
        if config.has_router:
            self.talklora_router[adapter_name].weight.mul_(config.router_init_scale)
        if config.talks_after:
            C = self.talklora_C[adapter_name].weight
            C.copy_(4 * torch.eye(config.num_experts))  # softmax(C) starts near the identity: 0.95 stays at n = 4

    def _modules_before_B(self, adapter_name: str) -> list[nn.Linear | Weight]:
        parts: list[Parts[nn.Linear] | Parts[Weight]]
        parts = [self.talklora_A, self.talklora_E, self.talklora_C, self.talklora_router]
        return [modules[adapter_name] for modules in parts if adapter_name in modules]

    def up(self, adapter_name: str) -> nn.Linear:
        """Returns all experts' B_i side by side, (k, n m)."""
        return self.shared_B[adapter_name] if adapter_name in self.shared_B else self.talklora_B[adapter_name]

    def weights(self, adapter_name: str) -> dict[str, Tensor | None]:
        """Returns E (n, m, m), W (the router) and C (n, n), None for what the adapter lacks."""
        parts = {"E": self.talklora_E, "W": self.talklora_router, "C": self.talklora_C}
        return {
            symbol: weight_of(modules[adapter_name]) if adapter_name in modules else None
            for symbol, modules in parts.items()
        }

    # ---- what an adapter adds

    def delta(self, x: Tensor, adapter_name: str) -> Tensor:
        """Computes one adapter's contribution to the base layer's output: (..., d) -> (..., k)."""
        return self._up(self.gated(x, adapter_name), adapter_name)

    def gated(self, x: Tensor, adapter_name: str) -> Tensor:
        """Computes what B takes, the scaled features of all experts times their gates: (..., d) -> (..., n m)."""
        config, A = self.settings[adapter_name], self.talklora_A[adapter_name]
        x = self._cast_input_dtype(x, A.weight.dtype)
        if self._may_fold(config, A.weight):
            return self._apply_gates(nn.functional.linear(x, self.folded_rows(adapter_name)), adapter_name)
        if self.training and config.dropout:
            x = nn.functional.dropout(x, config.dropout)
        h = A(x)  # (..., r)   all experts' A in one GEMM
        return self._gated_features(h, x, adapter_name).to(h.dtype)

    def _up(self, gated: Tensor, adapter_name: str) -> Tensor:
        """Multiplies by B: (..., n m) -> (..., k). Gates come before it: exact, by linearity."""
        config, up = self.settings[adapter_name], self.up(adapter_name)
        # An offloaded B has no device of its own between calls: accelerate brings it to `gated`.
        y = up(gated if up.weight.is_meta else gated.to(up.weight.device))
        return nn.functional.dropout(y, config.output_dropout) if self.training and config.output_dropout else y

    def _gated_features(self, h: Tensor, x: Tensor, adapter_name: str) -> Tensor:
        """Turns latents (..., r) into gated, scaled expert features (..., n m), in float32 or better, also under
        autocast."""
        config, wide_dtype = self.settings[adapter_name], torch.promote_types(h.dtype, torch.float32)
        W, kernel = self._input_router(adapter_name), kernel_for(config, h)
        if kernel is not None and W is None:
            return self._by_kernel(kernel, config, h, None, config.scale, **self.weights(adapter_name))
        with nullcontext() if h.is_meta else torch.autocast(h.device.type, enabled=False):
            logits = None if W is None else x.to(wide_dtype) @ W.to(wide_dtype).T
            if kernel is not None:
                return self._by_kernel(kernel, config, h, logits, config.scale, E=self.weights(adapter_name)["E"])
            h = h.to(wide_dtype)
            z = h @ self._latent_map(adapter_name, h).T
            return self._apply_gates(z if logits is None else torch.cat([z, logits], dim=-1), adapter_name)

    def _by_kernel(
        self, kernel: Kernel, config: TalkLoraConfig, h: Tensor, logits: Tensor | None, scale: float, **given: Any
    ) -> Tensor:
        """Does the same in one launch, with those of E, W and C that are given. W is not where `logits` are."""
        E, W, C = (given.get(symbol) for symbol in "EWC")
        if C is not None and config.spectral_bound is not None:
            C = bounded(C.float(), config.spectral_bound)
        n, keep = config.num_experts, None
        if self.training and config.gate_dropout:
            keep = nn.functional.dropout(h.new_ones(*h.shape[:-1], n, dtype=torch.float32), config.gate_dropout)
        v, gate = kernel(h, logits, E, W, C, keep, n, config.expert_rank, scale)
        self._note(config, gate, gate, gate)
        return v

    def _latent_map(self, adapter_name: str, like: Tensor) -> Tensor:
        """Returns the map from latents to features and, if they are read there, logits: (n m + n, r) or (n m, r)."""
        config = self.settings[adapter_name]
        small_weights = {
            symbol: None if weight is None else weight.to(like.dtype)
            for symbol, weight in self.weights(adapter_name).items()
        }
        # The scale sits in this small map: per token it would be one more tensor to keep.
        return latent_map(config, **small_weights, like=like, scale=config.feature_scale)

    def _input_router(self, adapter_name: str) -> Tensor | None:
        """Returns W_g (n, d) if the router reads the layer's input instead of its latents, else None."""
        config = self.settings[adapter_name]
        reads_input = config.has_router and config.router_input == "input"
        return weight_of(self.talklora_router[adapter_name]) if reads_input else None

    def _apply_gates(self, z: Tensor, adapter_name: str) -> Tensor:
        """Turns [features; logits] (..., n m + n) into features times their expert's gate, (..., n m)."""
        config = self.settings[adapter_name]
        if not config.has_router:
            return z  # the constant gate is part of the scale
        n = config.num_experts
        features, logits = z[..., :-n], z[..., -n:]
        if kernel := kernel_for(config, z):
            return self._by_kernel(kernel, config, features, logits, scale=1.0)
        C = weight_of(self.talklora_C[adapter_name]).to(z.dtype) if config.talks_after else None
        return weigh(features, self._token_gates(logits, C, config))

    def _token_gates(self, logits: Tensor, C: Tensor | None, config: TalkLoraConfig) -> Tensor:
        """Turns router logits (..., n) into the experts' weights (..., n); they sum to 1 except under gate dropout."""
        p = torch.softmax(logits, dim=-1)
        kept_gates = keep_largest(p, config.top_k)
        gate = mix_gates(config, kept_gates, C)
        self._note(config, p, kept_gates, gate)
        if self.training and config.gate_dropout:
            gate = nn.functional.dropout(gate, config.gate_dropout)
        return gate

    def _note(self, config: TalkLoraConfig, p: Tensor, kept_gates: Tensor, gate: Tensor) -> None:
        """Hands a pass's gates, before dropout, to the load-balancing loss and to telemetry."""
        if self.training and config.balance_coef:
            self.current.add(config.balance_coef, p, kept_gates)
        if self.observer is not None:
            self.observer(self, gate)

    # ---- the kept fold

    def _may_fold(self, config: TalkLoraConfig, A: Tensor) -> bool:
        """Returns whether all before the gates may be one kept matrix: nothing trained, differentiated, rounded or
        traced."""
        if self.training or torch.is_grad_enabled() or torch.compiler.is_compiling() or not config.keep_folds:
            return False
        if A.is_meta or A.is_inference():  # without values here, as where they are offloaded; without a version
            return False
        return A.dtype in (torch.float32, torch.float64) and not torch.is_autocast_enabled(A.device.type)

    def folded_rows(self, adapter_name: str) -> Tensor:
        """Returns [s blockdiag(E) A; W_g (C kron I) A], (n m + n, d), made once and kept until a weight changes.

        A change is seen by the weight's version or its storage; what is written in place through `.data`, which counts
        no versions, is seen after the next `train()`.
        """
        kept_fold = self.kept_folds.get(adapter_name)
        if kept_fold is not None and kept_fold.holds():
            return kept_fold.rows
        modules = self._modules_before_B(adapter_name)
        with torch.no_grad():
            A = self.talklora_A[adapter_name].weight
            folded = self._latent_map(adapter_name, A) @ A
            if (W := self._input_router(adapter_name)) is not None:
                folded = torch.cat([folded, W])
        if all(isinstance(module.weight, nn.Parameter) for module in modules if module._parameters):
            self.kept_folds[adapter_name] = KeptFold(folded, modules)  # else torch.func lent the layer other weights
        return folded

    # ---- merging

    def supports_lora_conversion(self, adapter_name: str = "default") -> bool:
        """Returns whether the adapter is one delta weight: where its gate is constant."""
        return adapter_name in self.settings and self.settings[adapter_name].constant_gate is not None

    def get_delta_weight(self, adapter_name: str) -> Tensor:
        """Returns s sum_i g_i B_i E_i A_i in the shape of the base weight. ValueError if the gate is not constant."""
        if not self.supports_lora_conversion(adapter_name):
            raise ValueError(
                f"adapter {adapter_name!r} cannot be merged: its gates depend on the input. llmkit.talklora.export has "
                "`fold_adapter` for serving (exact) and `static_lora` for a mergeable LoRA with its measured error"
            )
        A = weight_of(self.talklora_A[adapter_name])
        delta = weight_of(self.up(adapter_name)).to(A.device) @ (self._latent_map(adapter_name, A) @ A)  # (k, d)
        return delta.T if self.fan_in_fan_out else delta

    @property
    def _base_weight(self) -> nn.Parameter:
        return cast("nn.Parameter", self.get_base_layer().weight)

    def _merged_weight(self, adapter_names: list[str], check_finite: bool) -> Tensor:
        """Returns the base weight with these adapters added and changes nothing. ValueError if they cannot be
        merged."""
        if self.quantization_backend is not None:
            raise ValueError("TalkLoRA is not merged into a quantised weight: load the base in float16 or bfloat16")
        weight = self._base_weight.data
        for adapter_name in adapter_names:
            weight = weight + self.get_delta_weight(adapter_name).to(weight.device, weight.dtype)
            if check_finite and not torch.isfinite(weight).all():
                raise ValueError(f"NaNs detected in the merged weights. The adapter {adapter_name} seems to be broken")
        return weight

    def check_merge(self, adapter_names: list[str] | None, safe_merge: bool) -> None:
        """Raises what `merge` would raise, so that a model is merged as a whole or not at all."""
        requested = self.active_adapters if adapter_names is None else adapter_names
        unmerged_names = [
            adapter_name
            for adapter_name in requested
            if adapter_name in self.settings and adapter_name not in self.merged_adapters
        ]
        # Only the search for NaNs needs all of the weights.
        refused = [adapter_name for adapter_name in unmerged_names if not self.supports_lora_conversion(adapter_name)]
        if refused or (unmerged_names and (safe_merge or self.quantization_backend is not None)):
            self._merged_weight(refused or unmerged_names, check_finite=True)

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Adds adapters with constant gates (one expert, or no router) to the base weight; refuses others."""
        merged_names = [
            adapter_name
            for adapter_name in check_adapters_to_merge(self, adapter_names)
            if adapter_name in self.settings
        ]
        if merged_names:
            self._base_weight.data = self._merged_weight(merged_names, safe_merge)
            self.merged_adapters.extend(merged_names)

    def unmerge(self) -> None:
        if not self.merged:
            warnings.warn("Already unmerged. Nothing to do.", stacklevel=2)
            return
        weight = self._base_weight
        while self.merged_adapters:
            delta = self.get_delta_weight(self.merged_adapters.pop())
            weight.data = weight.data - delta.to(weight.device, weight.dtype)


class Linear(nn.Module, TalkLoraLayer):
    """A linear layer (or Conv1D, or a quantised one) with its adapters beside it."""

    def __init__(self, base_layer: nn.Module, current: ForwardPass) -> None:
        super().__init__()
        TalkLoraLayer.__init__(self, base_layer, current)

    def extra_repr(self) -> str:
        """Names what quantised the base, as PEFT's layers do."""
        return quantization_extra_repr(self)

    def forward(self, x: Tensor, *args: Any, adapter_names: list[str] | None = None, **kwargs: Any) -> Tensor:
        if adapter_names is not None and self.merged:
            raise ValueError(
                "Cannot pass `adapter_names` when there are merged adapters, please call `unmerge_adapter` first."
            )
        if self.disable_adapters and self.merged:
            self.unmerge()
        output: Tensor = self.base_layer(x, *args, **kwargs)
        if self.disable_adapters or self.merged:
            return output
        if self.quantization_backend is not None:
            output = self.quantization_backend.maybe_clone_base_result(output)
        if adapter_names is not None:
            return self._add_by_row(output, x, adapter_names)
        for adapter_name in self.active_adapters:
            if adapter_name in self.settings:
                output = self._add(output, x, adapter_name)
        return output

    def _add(self, output: Tensor, x: Tensor, adapter_name: str) -> Tensor:
        config, up, A = self.settings[adapter_name], self.up(adapter_name), self.talklora_A[adapter_name].weight
        if not self.training and self.observer is None:
            modules = [*self._modules_before_B(adapter_name), up]
            if branch := branch_for(config, x, output, modules):
                small, size = self.weights(adapter_name), (config.num_experts, config.expert_rank, config.scale)
                return branch(x, output, A, *small.values(), up.weight, *size, config.router_input == "input")
        gated = self.gated(x, adapter_name)
        if not (self.training and config.output_dropout) and adds_in_place(config, output, gated, self.base_layer, up):
            output.view(-1, self.out_features).addmm_(gated.view(-1, config.up_rank), up.weight.T)
            return output
        return output + self._up(gated, adapter_name).to(output.device, output.dtype)

    def _add_by_row(self, result: Tensor, x: Tensor, adapter_names: list[str]) -> Tensor:
        result = result.clone()
        for adapter_name in set(adapter_names) & set(self.settings):
            rows = torch.tensor(
                [row for row, row_adapter in enumerate(adapter_names) if row_adapter == adapter_name], device=x.device
            )
            result[rows] += self.delta(x[rows], adapter_name).to(result.device, result.dtype)
        return result

    def train(self, mode: bool = True) -> Linear:
        if mode:
            self.kept_folds.clear()
        return super().train(mode)

    def __repr__(self) -> str:
        return "talklora." + super().__repr__()


def _never_requantised() -> None:
    """Refuses to give what PEFT asks for beside a torchao weight, because this layer merges into no quantised
    weight."""
    raise NotImplementedError
