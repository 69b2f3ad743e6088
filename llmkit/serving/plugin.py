"""The vLLM plugin: lets a vLLM that llmkit started serve TalkLoRA, and corrects LoRA on its CPU build."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

from llmkit.engines.adapter_config import peft_type
from llmkit.parsing import parse_json

STARTED_BY_LLMKIT = "LLMKIT_VLLM"  # set to 1 by llmkit's vLLM engine and by `llmkit serve`


def register() -> None:
    """Installs TalkLoRA support; vLLM calls this in each of its processes, perhaps more than once. Does nothing unless
    llmkit started this vLLM or its command line names a TalkLoRA adapter."""
    if os.environ.get(STARTED_BY_LLMKIT) != "1" and not names_talklora(sys.argv):
        return
    from llmkit.serving import vllm_internals

    init_amx()
    vllm_internals.install()


def names_talklora(arguments: Iterable[str]) -> bool:
    """Returns whether a command line names a TalkLoRA folder, as NAME=DIR or as vLLM's JSON form of it."""
    for argument in arguments:
        path = argument.rpartition("=")[2] if "=" in argument else ""  # NAME=DIR, and --lora-modules=NAME=DIR
        if argument.startswith("{"):
            try:
                path = parse_json(argument).get("path", "")
            except ValueError:
                continue
        if path and peft_type(path) == "TALKLORA":
            return True
    return False


def init_amx() -> None:
    """Lets this process use the matrix unit of processors that have one (AMX); without it bfloat16 runs at half speed
    there, or dies with an illegal instruction."""
    import torch

    is_supported = getattr(torch.cpu, "_is_amx_tile_supported", None)
    start_amx = getattr(torch.cpu, "_init_amx", None)
    if is_supported and start_amx and is_supported():
        start_amx()
