"""The result of `make peft-matrix`: counts by file, the expected failures, the date and a digest of the tuner."""

from __future__ import annotations

import json
from collections import Counter
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from digests import of_code

ROOT = Path(__file__).resolve().parents[2]
RESULT = ROOT / "benchmarks" / "results" / "peft_matrix.json"
PAGE = ROOT / "docs" / "talklora.md"
BEGIN, END = "<!-- make peft-matrix writes from here -->", "<!-- to here -->"
COVERED = ("llmkit/talklora", "benchmarks/peft_matrix")
OUTCOMES = ("passed", "skipped", "expected failures", "failed")


def digest() -> str:
    """Returns a digest of the tuner and of the matrix."""
    return of_code(COVERED)


def counted(report: Path) -> dict[str, Any]:
    """Returns the counts in pytest's junit file, by file of PEFT's tests, and each expected failure with its reason."""
    counts: dict[str, Counter[str]] = {}
    failures, reasons = [], {}
    for case in ElementTree.parse(report).iter("testcase"):
        file = case.get("classname", "").split(".")[1]
        outcome, name = "passed", f"{file}::{case.get('name')}"
        if (skipped := case.find("skipped")) is not None:
            outcome = "expected failures" if skipped.get("type") == "pytest.xfail" else "skipped"
            if outcome != "skipped":
                reasons[name] = str(skipped.get("message"))
        elif case.find("failure") is not None or case.find("error") is not None:
            outcome = "failed"
            failures.append(name)
        counts.setdefault(file, Counter())[outcome] += 1
    return {
        "date": date.today().isoformat(),
        "digest": digest(),
        "peft": version("peft"),
        "counts": {file: {name: counts[file][name] for name in OUTCOMES} for file in sorted(counts)},
        "expected failures": reasons,
        "failures": failures,
    }


def read() -> dict[str, Any]:
    """Returns the last result."""
    return json.loads(RESULT.read_text(encoding="utf-8"))


def table(result: dict[str, Any]) -> str:
    """Returns the result as docs/talklora.md shows it."""
    lines = [f"| PEFT {result['peft']} | {' | '.join(OUTCOMES)} |", "|---|" + "---:|" * len(OUTCOMES)]
    rows = result["counts"] | {"all": {name: sum(c[name] for c in result["counts"].values()) for name in OUTCOMES}}
    lines += [f"| {file} | {' | '.join(f'{counts[name]:,}' for name in OUTCOMES)} |" for file, counts in rows.items()]
    reasons = [f"- `{name}`: {reason}" for name, reason in result["expected failures"].items()]
    return "\n".join([*lines, "", f"{result['date']}. Expected failures:", "", *reasons])


def write(result: dict[str, Any]) -> None:
    """Writes the result file, and the table in docs/talklora.md."""
    RESULT.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n\n{table(result)}\n\n{END}{rest.partition(END)[2]}", encoding="utf-8")
