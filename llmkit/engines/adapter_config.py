"""The folder of a PEFT adapter: the names of its files, and the reader of its configuration.

`llmkit.talklora` has a reader of its own, because it is a library that uses nothing of the rest.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llmkit.parsing import parse_json

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
"""The only weights that are read: PEFT opens a pickle where this file is missing, and a pickle can run code."""


def read_config(folder: str | Path) -> dict[str, Any]:
    """Returns the content of adapter_config.json. OSError where it cannot be read, ValueError for no JSON object."""
    config = parse_json((Path(folder) / CONFIG).read_text(encoding="utf-8"))
    if not isinstance(config, dict):
        raise ValueError("it holds no JSON object")
    return config


def peft_type(folder: str | Path) -> str | None:
    """Returns the PEFT type that an adapter folder states, in upper case; None where there is none to read."""
    try:
        return str(read_config(folder)["peft_type"]).upper()
    except (OSError, ValueError, KeyError):
        return None
