"""Every place where llmkit touches the inside of vLLM. What it needs to find there is listed in touched.py."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any, cast

from llmkit.engines.adapter_config import peft_type
from llmkit.engines.vllm_engine import FALLBACK_ADAPTER, allowed_rank
from llmkit.errors import EngineError
from llmkit.extras import lasting
from llmkit.serving.touched import OLDEST_VLLM, problem

if TYPE_CHECKING:
    from torch import Tensor

    from llmkit.serving.slots import Reduce, SlotRows

_installed = False


def _replace(owner: Any, **members: Any) -> None:
    """Puts llmkit's functions in the place of a class's or a module's own."""
    for name, member in members.items():
        setattr(owner, name, member)


def install() -> None:
    """Puts everything in place, once per process. A vLLM that does not fit starts unchanged and refuses TalkLoRA."""
    global _installed
    if _installed:
        return
    _installed = True
    reason = problem()
    if reason:
        if os.environ.get(FALLBACK_ADAPTER):
            raise EngineError(reason, "use the transformers engine")
        _refuse_talklora(reason)
        return
    _load_folded()
    _note_slots()
    _own_wrapper()
    _sum_latents()
    _key_by_content()
    _compile_apart()
    _build_in()


def _refuse_talklora(reason: str) -> None:
    try:
        from vllm.lora.worker_manager import WorkerLoRAManager

        load_original = WorkerLoRAManager._load_adapter
    except (ImportError, AttributeError):
        return

    @functools.wraps(load_original)
    def refuse(self: Any, lora_request: Any) -> Any:
        if peft_type(lora_request.lora_path) == "TALKLORA":
            raise EngineError(reason, "use the transformers engine, or export the adapter to plain LoRA")
        return load_original(self, lora_request)

    _replace(WorkerLoRAManager, _load_adapter=refuse)


def _load_folded() -> None:
    from vllm.lora.lora_model import LoRAModel
    from vllm.lora.peft_helper import PEFTHelper
    from vllm.lora.utils import get_adapter_absolute_path, parse_fine_tuned_lora_name
    from vllm.lora.worker_manager import WorkerLoRAManager

    from llmkit.serving.adapter import AdapterWeights

    load_original = WorkerLoRAManager._load_adapter

    @functools.wraps(load_original)
    def load_adapter(self: WorkerLoRAManager, lora_request: Any) -> LoRAModel:
        path = get_adapter_absolute_path(lora_request.lora_path)
        manager, config = self._adapter_manager, self.lora_config
        if manager.is_pooling_model:  # its heads and names are a matter of their own
            return load_original(self, lora_request)
        mapper = getattr(manager.model, "hf_to_vllm_mapper", None)
        mapper = mapper.get_rename_mapper() if mapper is not None else None
        adapter = AdapterWeights.read(path)
        adapter.check(
            _sizes(manager),
            lambda name: parse_fine_tuned_lora_name(f"base_model.model.{name}.lora_A.weight", mapper)[0],
        )
        if adapter.type == "LORA":
            return load_original(self, lora_request)
        adapter.check_slot(config.max_lora_rank, allowed_rank(adapter.rank))
        if config.fully_sharded_loras:
            raise EngineError("TalkLoRA does not run with fully sharded LoRA", "leave out --fully-sharded-loras")
        peft_helper = PEFTHelper.from_dict(
            {"r": adapter.rank, "lora_alpha": adapter.rank * adapter.scale, "target_modules": sorted(adapter.sizes)}
        )
        lora_model = self._lora_model_cls.from_lora_tensors(
            lora_model_id=lora_request.lora_int_id,
            tensors=adapter.tensors(),
            peft_helper=peft_helper,
            device="cpu",
            dtype=cast(Any, config.lora_dtype),
            model_vocab_size=self.vocab_size,
            weights_mapper=mapper,
            skip_prefixes=getattr(manager.model, "lora_skip_prefixes", None),
        )
        lora_model.is_3d_lora_weight = False
        _replace(lora_model, llmkit_layout=adapter.layout)
        return lora_model

    _replace(WorkerLoRAManager, _load_adapter=load_adapter)


def _sizes(manager: Any) -> dict[str, tuple[int, int] | None]:
    """Returns inputs and outputs of every module that takes an adapter, fused ones by their pieces; None if unknown."""
    sizes: dict[str, tuple[int, int] | None] = {"lm_head": None}
    for name, module in manager.modules.items():
        base_layer: Any = getattr(module, "base_layer", None)
        parent_path, _, leaf_name = name.rpartition(".")
        piece_names = manager.packed_modules_mapping.get(leaf_name, [leaf_name])
        output_sizes: list[Any] = [getattr(base_layer, "output_size", None)]
        if len(piece_names) > 1 and hasattr(base_layer, "total_num_kv_heads"):
            heads = (base_layer.total_num_heads, base_layer.total_num_kv_heads, base_layer.total_num_kv_heads)
            output_sizes = [count * base_layer.head_size for count in heads]
        elif len(piece_names) > 1:
            output_sizes = list(getattr(base_layer, "output_sizes", []))
        sizes_known = hasattr(base_layer, "input_size") and len(piece_names) == len(output_sizes)
        for i, piece in enumerate(piece_names):
            size = (base_layer.input_size, output_sizes[i]) if sizes_known else None
            sizes[f"{parent_path}.{piece}".lstrip(".")] = size
    return sizes


def run_server() -> None:
    """Runs vLLM's OpenAI-compatible server with the options in sys.argv until it ends."""
    try:
        with lasting():
            from vllm.entrypoints.launchers.api_server.entry import main
    except ImportError as error:
        raise EngineError(f"vLLM's server was not found: {error}", f"install vLLM {OLDEST_VLLM}") from error
    main()


def _note_slots() -> None:
    from vllm.lora.model_manager import LoRAModelManager

    activate_original = LoRAModelManager.activate_adapter

    @functools.wraps(activate_original)
    def activate_adapter(self: LoRAModelManager, lora_id: int) -> bool:
        was_activated = activate_original(self, lora_id)
        if was_activated:
            lora = self._registered_adapters[lora_id]
            layout = getattr(lora, "llmkit_layout", None) or (_widest(lora, self.lora_config.max_lora_rank), 0)
            wrappers: set[Any] = set(self.punica_wrapper_mapping.values())
            for wrapper in wrappers:
                wrapper.note_slot(self.lora_index_to_id.index(lora_id), *layout)
        return was_activated

    _replace(LoRAModelManager, activate_adapter=activate_adapter)


def _widest(lora_model: Any, largest_rank: int) -> int:
    """Returns the largest rank among a plain LoRA's modules; fused ones hold a list of matrices."""
    ranks = [largest_rank]
    for weights in lora_model.loras.values():
        matrices = weights.lora_a if isinstance(weights.lora_a, list) else [weights.lora_a]
        ranks += [matrix.shape[-2] for matrix in matrices if matrix is not None]
    return max(ranks[1:], default=largest_rank)


def _own_wrapper() -> None:
    from vllm.platforms import current_platform

    _replace(type(current_platform), get_punica_wrapper=classmethod(lambda cls: f"{__name__}.punica_wrapper"))


def punica_wrapper(*args: Any, **kwargs: Any) -> Any:
    """Creates vLLM's LoRA wrapper for this platform, with gates; on the CPU also with dense products."""
    from vllm.platforms import current_platform

    return (_cpu_wrapper() if current_platform.is_cpu() else _gpu_wrapper())(*args, **kwargs)


@functools.cache
def _cpu_wrapper() -> type:
    from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU

    from llmkit.serving.slots import DenseSlots, rows_by_slot

    class DensePunicaCPU(PunicaWrapperCPU):
        """One pair of dense products per slot present, where vLLM gathers a copy of the weights for every token.

        Also corrects index -1 (no adapter), which vLLM's CPU operations read as "the last slot".
        """

        def __init__(self, *args: Any, lora_config: Any, **kwargs: Any) -> None:
            super().__init__(*args, lora_config=lora_config, **kwargs)
            self.slots = DenseSlots(lora_config.max_loras, lora_config.max_lora_rank)
            self.note_slot = self.slots.set
            self.tokens: SlotRows = []  # slots present and their tokens
            self.sampled: SlotRows = []  # slots present and their rows among the logits

        def update_metadata(self, *args: Any, **kwargs: Any) -> None:
            super().update_metadata(*args, **kwargs)
            self.tokens = rows_by_slot(self.token_lora_indices)
            self.sampled = rows_by_slot(self.sampler_indices)

        def add_lora_linear(
            self,
            y: Tensor,
            x: Tensor,
            lora_a_stacked: tuple[Tensor, ...],
            lora_b_stacked: tuple[Tensor, ...],
            scale: float,
            output_slices: tuple[int, ...],
            *,
            reduce: Reduce | None = None,
            **kwargs: Any,
        ) -> None:
            self.slots.add_linear(self.tokens, y, x, lora_a_stacked, lora_b_stacked, output_slices, reduce)

        def add_lora_logits(
            self, y: Tensor, x: Tensor, lora_a_stacked: Tensor, lora_b_stacked: Tensor, scale: float, **kwargs: Any
        ) -> None:
            # vLLM copies vocabulary x rank weights for every request here, even where no adapter touches the head.
            width = min(lora_b_stacked.size(-2), y.size(-1))  # the two may be padded differently
            self.slots.add_linear(self.sampled, y, x, (lora_a_stacked,), (lora_b_stacked,), (width,))

        def add_lora_embedding(
            self, y: Tensor, x: Tensor, lora_b_stacked: Tensor, add_inputs: bool = True, **kwargs: Any
        ) -> None:
            self.slots.add_embedding(self.tokens, y, x, lora_b_stacked)

    return DensePunicaCPU


@functools.cache
def _gpu_wrapper() -> type:
    import torch
    from vllm.lora.ops.triton_ops import lora_expand, lora_shrink
    from vllm.lora.punica_wrapper.punica_gpu import PunicaWrapperGPU

    from llmkit.serving.slots import SlotGates

    class GatedPunicaGPU(PunicaWrapperGPU):  # type: ignore[misc]  # vLLM calls it final
        """vLLM's shrink and expand kernels with the gate between them. Torch operations of fixed shape only."""

        def __init__(self, *args: Any, lora_config: Any, **kwargs: Any) -> None:
            super().__init__(*args, lora_config=lora_config, **kwargs)
            self.gates = SlotGates(lora_config.max_loras, lora_config.max_lora_rank, self.device)
            self.note_slot = self.gates.set
            self._token_lora_indices.fill_(-1)  # padding rows of a captured graph must hold valid slots
            self._sampler_indices.fill_(-1)

        def add_lora_linear(
            self,
            y: Tensor,
            x: Tensor,
            lora_a_stacked: tuple[Tensor, ...],
            lora_b_stacked: tuple[Tensor, ...],
            scale: float,
            output_slices: tuple[int, ...],
            *,
            reduce: Reduce | None = None,
            **kwargs: Any,
        ) -> None:
            add_inputs = kwargs.pop("add_inputs", True)
            shape = (len(output_slices), x.size(0), lora_b_stacked[0].size(-1))
            latents = torch.empty(shape, dtype=torch.float32, device=x.device)
            self.add_shrink(latents, x, lora_a_stacked, scale, **kwargs)
            slot = self._token_lora_indices[: x.size(0)]
            latents = self.gates.apply(latents, slot, reduce(latents.clone()) if reduce else None)
            self.add_expand(y, latents, lora_b_stacked, output_slices, add_inputs=add_inputs, **kwargs)

        def add_lora_logits(
            self, y: Tensor, x: Tensor, lora_a_stacked: Tensor, lora_b_stacked: Tensor, scale: float, **kwargs: Any
        ) -> None:
            latents = torch.empty((1, x.size(0), lora_b_stacked.size(-1)), dtype=torch.float32, device=x.device)
            kernel_meta = self.prompt_mapping_meta.meta_args(x.size(0), self.lora_config.specialize_active_lora)
            lora_shrink(x, [lora_a_stacked], latents, *kernel_meta, scale)
            latents = self.gates.apply(latents, self._sampler_indices[: x.size(0)])
            lora_expand(latents, [lora_b_stacked], y, *kernel_meta, add_inputs=True)

    return GatedPunicaGPU


def _sum_latents() -> None:
    from vllm.distributed import tensor_model_parallel_all_reduce
    from vllm.lora.layers import RowParallelLinearWithLoRA

    apply_original = RowParallelLinearWithLoRA.apply

    @functools.wraps(apply_original)
    def apply(self: RowParallelLinearWithLoRA, x: Any, bias: Any = None) -> Any:
        if self.tp_size == 1:
            return apply_original(self, x, bias)
        output = self._get_quant_method().apply(self.base_layer, x, bias)
        self.punica_wrapper.add_lora_linear(
            output.flatten(0, -2),
            x.flatten(0, -2),
            self.lora_a_stacked,
            self.lora_b_stacked,
            1.0,
            self.output_slices,
            reduce=tensor_model_parallel_all_reduce,
        )
        return output

    _replace(RowParallelLinearWithLoRA, apply=apply)


def _key_by_content() -> None:
    from vllm.v1.core import kv_cache_utils
    from vllm.v1.engine.core import EngineCore

    from llmkit.serving.adapter import fingerprint

    keys_original, add_original = kv_cache_utils._gen_lora_extra_hash_keys, EngineCore.add_lora
    content_by_id: dict[int, str] = {}

    @functools.wraps(add_original)
    def add_lora(self: EngineCore, lora_request: Any) -> bool:
        was_added = add_original(self, lora_request)
        content_by_id[lora_request.lora_int_id] = fingerprint(lora_request.lora_path)
        return was_added

    @functools.wraps(keys_original)
    def extra_keys(request: Any) -> list[Any]:
        adapter = request.lora_request
        if not adapter:
            return keys_original(request)
        if adapter.lora_int_id not in content_by_id:
            content_by_id[adapter.lora_int_id] = fingerprint(adapter.lora_path)
        return [("lora", adapter.lora_name, f"{adapter.lora_path}#{content_by_id[adapter.lora_int_id]}")]

    _replace(EngineCore, add_lora=add_lora)
    _replace(kv_cache_utils, _gen_lora_extra_hash_keys=extra_keys)


def _compile_apart() -> None:
    """Adds llmkit and a built-in adapter to the keys of vLLM's compiled graphs on disk, which would not tell them
    apart."""
    import hashlib

    from vllm.config import VllmConfig

    from llmkit.serving.adapter import fingerprint

    hash_original = VllmConfig.compute_hash

    @functools.wraps(hash_original)
    def compute_hash(self: VllmConfig, *args: Any, **kwargs: Any) -> str:
        folder, vllm_hash = os.environ.get(FALLBACK_ADAPTER), hash_original(self, *args, **kwargs)
        built_in = fingerprint(folder) if folder else ""
        return hashlib.sha256(f"{vllm_hash} llmkit {built_in}".encode()).hexdigest()[: len(vllm_hash)]

    _replace(VllmConfig, compute_hash=compute_hash)


def _build_in() -> None:
    """Has every model of vLLM's transformers backend take in the adapter that the environment names, if it does."""
    from vllm.config import get_current_vllm_config_or_none
    from vllm.model_executor.models.transformers.base import Base

    from llmkit.serving.adapter import AdapterWeights, linears
    from llmkit.serving.fallback import build_in, renamed, usable_outside

    base: Any = Base
    mapper_original, load_original = base._create_hf_to_vllm_mapper, base.load_weights
    decorate_original = base._decorate_cls_for_torch_compile

    @functools.wraps(mapper_original)
    def build_in_first(self: Any) -> None:
        self.llmkit_adapted = set()
        if folder := os.environ.get(FALLBACK_ADAPTER):
            if self.tp_group.world_size > 1 or self.pp_group.world_size > 1:
                raise EngineError("an adapter built into the model runs in one process", "leave out parallelism")
            adapter = AdapterWeights.read(folder)
            adapter.check(linears(self.config))
            self.llmkit_adapted = build_in(self.model, adapter)
        mapper_original(self)

    @functools.wraps(load_original)
    def load_weights(self: Any, weights: Any) -> set[str]:
        loaded: set[str] = load_original(self, renamed(weights, self.llmkit_adapted, self.model.base_model_prefix))
        return loaded

    @functools.wraps(decorate_original)
    def decorate_for_vllm(self: Any, cls: Any, *args: Any, **kwargs: Any) -> None:
        init_before = cls.__init__
        decorate_original(self, cls, *args, **kwargs)
        if cls.__init__ is not init_before:  # else it was decorated before
            cls.__init__ = usable_outside(init_before, cls.__init__, get_current_vllm_config_or_none)

    _replace(Base, _create_hf_to_vllm_mapper=build_in_first, load_weights=load_weights)
    _replace(Base, _decorate_cls_for_torch_compile=decorate_for_vllm)
