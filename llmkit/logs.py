"""Log lines of other libraries that say nothing to a user."""

from __future__ import annotations

import logging


def hush_triton() -> None:
    """Hides torch's line "Triton not available": a CPU has no Triton, and llmkit needs none there.

    It is logged while vLLM is imported, in whichever process does so, so that each calls this first. --debug lets it
    out: it sets the root logger to INFO.
    """
    if logging.getLogger().getEffectiveLevel() > logging.INFO:
        logging.getLogger("torch._library.triton").setLevel(logging.ERROR)
