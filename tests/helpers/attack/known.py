"""Findings whose repair is under way, each with the reason. Empty, or `make attack` says how many it passed over."""

from __future__ import annotations

import re

# (what the finding says, why it is known)
KNOWN: tuple[tuple[str, str], ...] = ()


def sorted_out(findings: list[str]) -> tuple[list[str], list[str]]:
    """The findings that nobody knows yet, and those that are known."""
    new = [found for found in findings if not any(re.search(pattern, found, re.DOTALL) for pattern, _ in KNOWN)]
    return new, [found for found in findings if found not in new]
