"""Findings that are known and being repaired elsewhere: empty, unless a repair is under way."""

from __future__ import annotations

import re

# (what the finding says, why it is known)
KNOWN: tuple[tuple[str, str], ...] = ()


def unknown(findings: list[str]) -> list[str]:
    """The findings that nobody knows yet."""
    return [found for found in findings if not any(re.search(pattern, found) for pattern, _ in KNOWN)]
