"""The parts of vLLM that vllm_internals.py uses, and a check that this version has them (tried: 0.32.0, CPU build)."""

from __future__ import annotations

import pkgutil
from typing import Any

OLDEST_VLLM = "0.32.0"  # also the newest that was tried
TOUCHED = {  # what, and its members that are used. A vLLM that lacks one of these is refused
    # which path an adapter takes
    "vllm.model_executor.models:ModelRegistry": "get_supported_archs models",
    "vllm.model_executor.models.interfaces:supports_lora": "",
    # a TalkLoRA folder is folded and loaded as a LoRA
    "vllm.lora.worker_manager:WorkerLoRAManager": "_load_adapter _adapter_manager _lora_model_cls "
    "lora_config vocab_size",
    "vllm.lora.lora_model:LoRAModel": "from_lora_tensors loras",
    "vllm.lora.peft_helper:PEFTHelper": "from_dict",
    "vllm.lora.request:LoRARequest": "lora_name lora_int_id lora_path",
    "vllm.lora.utils:get_adapter_absolute_path": "",
    "vllm.lora.utils:parse_fine_tuned_lora_name": "",
    # what the model has, and what a slot holds
    "vllm.lora.model_manager:LoRAModelManager": "activate_adapter _registered_adapters lora_index_to_id "
    "punica_wrapper_mapping modules packed_modules_mapping is_pooling_model model lora_config",
    # subclasses of vLLM's wrappers: the gate, the corrections for the CPU
    "vllm.platforms.interface:Platform": "get_punica_wrapper",
    "vllm.lora.punica_wrapper.punica_base:PunicaWrapperBase": "update_metadata token_lora_indices sampler_indices",
    "vllm.lora.punica_wrapper.punica_cpu:PunicaWrapperCPU": "add_lora_linear add_lora_logits add_lora_embedding",
    # latents are summed over ranks before the softmax
    "vllm.lora.layers:RowParallelLinearWithLoRA": "apply _get_quant_method base_layer lora_a_stacked lora_b_stacked "
    "output_slices punica_wrapper tp_size",
    "vllm.distributed:tensor_model_parallel_all_reduce": "",
    # keys of the prefix cache hold the adapter's content as it was when it was loaded
    "vllm.v1.core.kv_cache_utils:_gen_lora_extra_hash_keys": "",
    "vllm.v1.engine.core:EngineCore": "add_lora",
    # graphs compiled with llmkit are kept apart from others
    "vllm.config:VllmConfig": "compute_hash",
    # the fallback: the adapter is built in before layers are replaced, the base's weights find their modules, and
    # transformers' own classes still work outside of vLLM
    "vllm.model_executor.models.transformers.base:Base": "_create_hf_to_vllm_mapper load_weights "
    "_decorate_cls_for_torch_compile config model tp_group pp_group",
    "vllm.config:get_current_vllm_config_or_none": "",
}
TOUCHED_ON_GPU = {
    "vllm.lora.punica_wrapper.punica_gpu:PunicaWrapperGPU": "add_lora_linear add_lora_logits add_shrink add_expand "
    "prompt_mapping_meta lora_config device _token_lora_indices _sampler_indices",
    "vllm.lora.ops.triton_ops:lora_shrink": "",
    "vllm.lora.ops.triton_ops:lora_expand": "",
}


def problem() -> str | None:
    """Returns the reason why this vLLM cannot serve TalkLoRA adapters, or None. A version newer than those tried must
    have everything that llmkit uses."""
    import vllm
    from packaging.version import Version
    from vllm.platforms import current_platform

    if Version(vllm.__version__) < Version(OLDEST_VLLM):
        return f"vLLM {vllm.__version__} is older than {OLDEST_VLLM}, the first that can serve TalkLoRA"
    if not (current_platform.is_cpu() or current_platform.is_cuda_alike()):
        return f"TalkLoRA is served on CPU and GPU builds of vLLM, not on {current_platform.device_name}"
    missing_name = missing(TOUCHED if current_platform.is_cpu() else TOUCHED | TOUCHED_ON_GPU)
    return f"vLLM {vllm.__version__} no longer has {missing_name}" if missing_name else None


def missing(touched: dict[str, str]) -> str | None:
    """Returns the first of these names that this vLLM lacks."""
    for import_path, members in touched.items():
        try:
            found_object = pkgutil.resolve_name(import_path)
        except (ImportError, AttributeError):
            return import_path.replace(":", ".")
        for member in members.split():
            if not (hasattr(found_object, member) or _instances_have(found_object, member)):
                return f"{import_path.replace(':', '.')}.{member}"
    return None


def _instances_have(cls: Any, member: str) -> bool:
    """Returns whether a method of the class uses such an attribute, because what `__init__` sets exists on instances
    only."""
    methods = (value for parent in getattr(cls, "__mro__", ()) for value in vars(parent).values())
    return any(member in code.co_names for method in methods if (code := getattr(method, "__code__", None)))
