"""Findings whose repair is under way, each with the reason. Empty, or `make attack` says how many it passed over."""

from __future__ import annotations

import re

# (what the finding says, why it is known)
KNOWN: tuple[tuple[str, str], ...] = (
    (r"^server, .*: answers are missing, and the run ends with [035]$", "failed calls do not end a run yet"),
    (r"^server, .*: (again: )?error: internal: ", "an unusual reply is not refused by the engine yet"),
    (r"^server, usage (NaN|1e30|-1|a text inside), .*ends with 1", "a usage that is no count breaks the run's tables"),
    (r"^server, drip, ", "the whole answer is not bounded in time yet"),
    (r"^server, a redirect elsewhere, .*: questions went to another host$", "redirects are followed"),
    (r"^fuzz .*(runs/|\bruns\b).*: error: internal: ", "a damaged run folder is not refused"),
    (r"^fuzz .*: error: internal: RecursionError", "deep JSON is not refused yet"),
    (r"^fuzz .*: error: internal: (MemoryError|OverflowError)", "no bounds for draws, copies and sizes yet"),
    (r"^fuzz .*: hung$", "no bounds for draws, copies and sizes yet"),
    (r"^fuzz .*: a file outside --out: ", "names of runs may leave the folder for runs"),
)


def sorted_out(findings: list[str]) -> tuple[list[str], list[str]]:
    """The findings that nobody knows yet, and those that are known."""
    new = [found for found in findings if not any(re.search(pattern, found, re.DOTALL) for pattern, _ in KNOWN)]
    return new, [found for found in findings if found not in new]
