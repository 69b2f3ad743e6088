"""Text generation behind one protocol: vLLM in process, any OpenAI-compatible server, transformers; response cache."""

from __future__ import annotations

from llmkit.engines.base import Engine, EngineClass, EngineIdentity, Key, Served
from llmkit.engines.cache import CacheInfo, ResponseCache, cache_key, decode_reply, encode_reply, fields_read
from llmkit.engines.http_engine import HttpEngine
from llmkit.engines.model_paths import resolve_model
from llmkit.engines.openai_engine import OpenAIEngine
from llmkit.engines.python_engine import PythonEngine
from llmkit.engines.transformers_engine import TransformersEngine
from llmkit.engines.vllm_engine import VllmEngine
from llmkit.recipe.schema import EngineSection, ModelSection
from llmkit.registry import Registry

__all__ = [
    "ENGINES",
    "CacheInfo",
    "Engine",
    "EngineClass",
    "EngineIdentity",
    "Key",
    "ResponseCache",
    "Served",
    "cache_key",
    "decode_reply",
    "encode_reply",
    "engine_class",
    "fields_read",
    "is_application",
    "kind_name",
    "may_cache",
    "open_engine",
    "resolve_model",
]

ENGINES: Registry[EngineClass] = Registry("engine", "llmkit.engines")

# `auto` asks them in this order. The last one takes every model, so engines of other packages are chosen by name only.
_OWN: tuple[EngineClass, ...] = (OpenAIEngine, HttpEngine, PythonEngine, VllmEngine, TransformersEngine)
for _engine in _OWN:
    ENGINES.add(_engine.kind)(_engine)


def engine_class(model: ModelSection, section: EngineSection) -> EngineClass:
    """Returns the engine that a recipe names, or that `auto` stands for: a server if `base_url` is given, else vLLM if
    it is installed and has a place for the adapter, else transformers. UsageError for an unknown name.
    """
    if section.kind != "auto":
        return ENGINES[kind_name(section.kind)]
    return next(ENGINES[kind] for kind in ENGINES if ENGINES[kind].takes(model, section))


def kind_name(kind: str) -> str:
    """Returns the name in `ENGINES` of what a recipe or a flag says: `python` for `python:module:function`."""
    return PythonEngine.kind if kind.startswith(f"{PythonEngine.kind}:") else kind


def is_application(section: EngineSection) -> bool:
    """Returns whether a whole application answers and no model: it needs no name of one."""
    return bool(getattr(engine_class(ModelSection(), section), "is_application", False))


def may_cache(section: EngineSection) -> bool:
    """Returns whether answers may go into the response cache: those of an application only where it is declared
    deterministic."""
    return section.deterministic or not is_application(section)


def open_engine(model: ModelSection, section: EngineSection) -> Engine:
    """Opens the engine that a recipe asks for. It knows its identity at once; the model starts at the first request.

    Raises UsageError for a model, adapter or file that does not exist, and for an engine that is unknown or not
    installed.
    """
    return engine_class(model, section)(model, section)
