"""A PEFT adapter put on its base model; one that is damaged or made for another base is refused."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from llmkit.engines.model_paths import Adapter
from llmkit.errors import EngineError
from llmkit.registry import Registry

if TYPE_CHECKING:
    from peft import PeftConfig

_SIZES = re.compile(r"size mismatch for (\S+): .*?torch\.Size\((\[[^]]*\]).*?torch\.Size\((\[[^]]*\])")  # torch's words
_SHARED = ("vblora_vector_bank", "prompt_encoder")  # PEFT: no part of a file, and not missing


METHODS: Registry[type[PeftConfig]] = Registry("method", "llmkit.methods")
"""The configurations of PEFT methods that packages bring. Loading one imports its module, which registers it with PEFT.
PEFT's own methods, and llmkit's, are not in it."""


def attach(model: Any, adapter: Adapter) -> Any:
    """Puts `adapter` into `model`. Raises EngineError for a damaged file, or weights that are not those of this
    model."""
    from peft import PeftModel
    from safetensors import SafetensorError

    if adapter.kind == "TALKLORA":
        importlib.import_module("llmkit.talklora")  # registers itself with PEFT; this room must not depend on it
    elif adapter.kind.lower() in METHODS:
        METHODS[adapter.kind.lower()]
    folder = str(adapter.folder)
    try:
        adapted = PeftModel.from_pretrained(model, folder)
        # That says nothing of weights without a place, and only warns of places without weights, which stay random.
        # Loading once more returns both.
        result = adapted.load_adapter(folder, "default")
    except SafetensorError as error:
        raise EngineError(
            f"the weights of adapter {folder} are damaged: {error}", "copy the folder again, or train it again"
        ) from error
    except RuntimeError as error:
        found = [f"{_plain(key)} is {a} in the adapter, {b} in this model" for key, a, b in _SIZES.findall(str(error))]
        if not found:
            raise
        raise _misfit(adapter, _some(found)) from error
    if not adapted.peft_config["default"].is_prompt_learning:  # whose weights have no place in the model itself
        missing = [key for key in result.missing_keys if not any(part in key for part in _SHARED)]
        if result.unexpected_keys:
            raise _misfit(adapter, f"this model has no {_some(map(_plain, result.unexpected_keys))}")
        if missing:
            raise _misfit(adapter, f"it has no weights for this model's {_some(map(_plain, missing))}")
    return adapted


def _misfit(adapter: Adapter, why: str) -> EngineError:
    origin = adapter.config.get("base_model_name_or_path")
    return EngineError(
        f"adapter {adapter.folder} was made for another base{f' ({origin})' if origin else ''}: {why}",
        "give its own base with --model; an adapter that lost weights has to be copied or trained again",
    )


def _plain(key: str) -> str:
    """Returns a weight's name without what PEFT puts around it."""
    return key.removeprefix("base_model.model.").replace(".default", "")


def _some(names: Iterable[str], limit: int = 3) -> str:
    names = list(dict.fromkeys(names))
    more = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {more} more" if more > 0 else "")
