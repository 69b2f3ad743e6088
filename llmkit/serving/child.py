"""The process that becomes vLLM's server: chooses how the adapters are served, then hands over to vLLM."""

from __future__ import annotations

import json
import os
import sys

from llmkit.engines.adapter_config import peft_type
from llmkit.engines.vllm_engine import BUILT_IN, FALLBACK_ADAPTER, allowed_rank, no_slots
from llmkit.errors import LlmkitError, UsageError
from llmkit.extras import lasting
from llmkit.logs import hush_triton
from llmkit.serving.server import DRAIN_SECONDS, ServerPlan
from llmkit.serving.touched import problem
from llmkit.signals import end_with_parent

KEPT = 31  # adapters in memory beyond those in slots


def vllm_arguments(server_plan: ServerPlan, cpu: bool, slots: bool, max_rank: int) -> list[str]:
    """Builds the command line of vLLM's server; the user's own options come last and win."""
    served_name = server_plan.name if slots or not server_plan.adapters else server_plan.adapters[0][0]
    arguments = [
        "--model",
        server_plan.model,
        "--served-model-name",
        served_name,
        "--host",
        server_plan.host,
        "--port",
        str(server_plan.port),
    ]
    arguments += ["--shutdown-timeout", str(DRAIN_SECONDS), "--uvicorn-log-level", "warning", "--enable-prefix-caching"]
    if cpu:  # unasked, vLLM wants nearly all memory for its key-value cache
        arguments += ["--kv-cache-memory-bytes", "1G", "--block-size", "32"]
    if server_plan.adapters and slots:
        # One slot to spare: another adapter can be loaded while all of these run. Many are kept in memory, since one
        # that had to be read again could have changed on disk under keys of the prefix cache.
        slot_count = len(server_plan.adapters) + 1
        arguments += ["--enable-lora", "--max-loras", str(slot_count), "--max-cpu-loras", str(slot_count + KEPT)]
        arguments += ["--max-lora-rank", str(max_rank)]
        arguments += ["--lora-modules", *(f"{served_name}={folder}" for served_name, folder in server_plan.adapters)]
    elif server_plan.adapters:
        arguments += ["--model-impl", "transformers"]
    return arguments + server_plan.options


def main() -> None:
    end_with_parent()
    hush_triton()
    try:
        plan = ServerPlan(**json.loads(sys.argv[1]))
        _serve(plan)
    except LlmkitError as error:
        print(f"error: {error.message}" + (f"\nhint: {error.hint}" if error.hint else ""), file=sys.stderr)
        sys.exit(error.exit_code)


def _serve(server_plan: ServerPlan) -> None:
    with lasting():
        from transformers import AutoConfig
        from vllm.platforms import current_platform

        from llmkit.serving import vllm_internals

    is_cpu, no_slots_reason, max_rank = current_platform.is_cpu(), None, server_plan.max_rank
    if server_plan.adapters:
        _refuse_unknown(problem(), server_plan)
        no_slots_reason = no_slots(
            server_plan.fits_slots, AutoConfig.from_pretrained(server_plan.model).architectures or []
        )
        max_rank = max_rank if no_slots_reason else allowed_rank(max_rank)
    if no_slots_reason:
        if len(server_plan.adapters) > 1:
            raise UsageError(
                f"no LoRA slots for {no_slots_reason}, so an adapter is built into the model: one per server",
                "start one server for each adapter",
            )
        os.environ[FALLBACK_ADAPTER] = server_plan.adapters[0][1]
        print("llmkit: warning: " + BUILT_IN % no_slots_reason, flush=True)
    if is_cpu:
        os.environ.setdefault("VLLM_WORKER_MULTIPROC_METHOD", "fork")  # half the start-up time of spawn
    sys.argv = ["llmkit serve", *vllm_arguments(server_plan, is_cpu, not no_slots_reason, max_rank)]
    vllm_internals.run_server()


def _refuse_unknown(reason: str | None, server_plan: ServerPlan) -> None:
    """Refuses TalkLoRA adapters on a vLLM that llmkit does not know; such a vLLM still serves plain LoRA."""
    if reason and any(peft_type(folder) == "TALKLORA" for _, folder in server_plan.adapters):
        raise UsageError(reason, "install a tested vLLM version, or use the transformers engine")


if __name__ == "__main__":
    main()
