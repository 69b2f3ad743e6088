"""Repairs the texts of users inside LiteLLM's proxy, by a repair.json that asks no model.

Put this file beside LiteLLM's config.yaml, name the repair in LLMKIT_REPAIR, and the hook under its callbacks:

    litellm_settings: {callbacks: llmkit_repair.hook}
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

from litellm.integrations.custom_logger import CustomLogger

from llmkit.repair import Repair


class RepairHook(CustomLogger):
    """Corrects every text of a user before it goes to a model; all else stays."""

    def __init__(self, file: str) -> None:
        super().__init__()
        self.repair = Repair.load(file)

    async def async_pre_call_hook(self, user_api_key_dict: Any, cache: Any, data: dict, call_type: str) -> dict:
        """Returns the request with repaired texts. A text whose repair fails passes as it came."""
        for message in data.get("messages") or []:
            if message.get("role") != "user":
                continue
            if isinstance(message["content"], str):
                message["content"] = await self._repaired(message["content"])
            else:
                for part in message["content"] or []:
                    if part.get("type") == "text":
                        part["text"] = await self._repaired(part["text"])
        return data

    async def _repaired(self, text: str) -> str:
        # In a thread: a repair takes milliseconds, which would delay every stream.
        return (await asyncio.to_thread(self.repair, text)).text


hook = RepairHook(os.environ["LLMKIT_REPAIR"]) if "LLMKIT_REPAIR" in os.environ else None
