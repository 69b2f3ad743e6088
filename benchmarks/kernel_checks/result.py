"""The result of `make kernels`: tests, registers, launches and host time, the date and a digest of the code."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from digests import ROOT, of_code

RESULT = ROOT / "benchmarks" / "results" / "kernels.json"
PAGE = ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- make kernels writes from here -->", "<!-- to here -->"
COVERED = ("llmkit/talklora", "llmkit/serving/slots.py", "llmkit/serving/slot_kernel.py", "benchmarks/kernel_checks")


def digest() -> str:
    """Returns a digest of the kernels, of all that uses them, and of their tests."""
    return of_code(COVERED)


def tests(report: Path) -> dict[str, Any]:
    """Returns how many tests pytest's junit file holds, and the names of those that failed."""
    cases = list(ElementTree.parse(report).iter("testcase"))
    failed = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    skipped = sum(case.find("skipped") is not None for case in cases)
    names = [f"{case.get('classname')}::{case.get('name')}" for case in failed]
    return {"passed": len(cases) - skipped - len(failed), "skipped": skipped, "failures": names}


def read() -> dict[str, Any]:
    """Returns the last result."""
    result: dict[str, Any] = json.loads(RESULT.read_text(encoding="utf-8"))
    return result


def spilled(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the rows of the table of registers in which a kernel keeps a value outside registers."""
    return [row for row in result["registers"] if any(kernel["spilled"] for kernel in row["kernels"].values())]


def most_shared(result: dict[str, Any]) -> int:
    """Returns the most bytes of shared memory that a program takes."""
    return max(kernel["shared"] for row in result["registers"] for kernel in row["kernels"].values())


def over(result: dict[str, Any]) -> dict[str, int]:
    """Returns by how many launches a pass of TalkLoRA with its kernel exceeds LoRA's at most, over both precisions."""
    counts = result["launches"].values()
    passes = ("forward", "backward", "decoding")
    return {step: max(c["TalkLoRA, kernel"][step] - c["LoRA (PEFT)"][step] for c in counts) for step in passes}


def tables(result: dict[str, Any]) -> str:
    """Returns the result as docs/benchmarks.md shows it."""
    lines = ["| launches of one adapted layer (forward, backward, decoding) | float32 | bfloat16 by autocast |"]
    lines.append("|---|---:|---:|")
    for name in result["launches"]["float32"]:
        counts = (", ".join(str(n) for n in row[name].values()) for row in result["launches"].values())
        lines.append(f"| {name} | {' | '.join(counts)} |")
    lines += ["", "| host time of one layer, us of a processor | training step | decoding |", "|---|---:|---:|"]
    for name, row in result["host"].items():
        lines.append(f"| {name} | {row['step']:.0f} | {row['decoding']:.0f} |")
    lines += [
        "",
        "| registers of a thread (forward, backward, sums; one launch: up to 4 rows, more) | sm_80 | sm_90 |",
        "|---|---:|---:|",
    ]
    by_case: dict[str, list[str]] = {}
    for row in result["registers"]:
        size = f"r={row['r']}, n={row['n']}" if row["n"] else f"rank {row['r']}"
        found = ", ".join(str(kernel["registers"]) for kernel in row["kernels"].values())
        by_case.setdefault(f"{row['preset']}, {size}, {row['dtype']}", []).append(found)
    lines += [f"| {case} | {' | '.join(found)} |" for case, found in by_case.items()]
    count = f"{result['tests']['passed']} tests passed, {len(result['tests']['failures'])} failed"
    spills = sum(kernel["spilled"] for row in result["registers"] for kernel in row["kernels"].values())
    versions = f"torch {result['torch']}, Triton {result['triton']}"
    found = f"{spills} bytes spilled in all kernels of the table, at most {most_shared(result)} of shared memory"
    lines += ["", f"{result['date']}, {versions}: {count}; {found}."]
    return "\n".join(lines)


def write(result: dict[str, Any]) -> None:
    """Writes the result file, and the tables in docs/benchmarks.md."""
    stamped = {"date": date.today().isoformat(), "digest": digest(), **result}
    RESULT.write_text(json.dumps(stamped, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n\n{tables(stamped)}\n\n{END}{rest.partition(END)[2]}", encoding="utf-8")
