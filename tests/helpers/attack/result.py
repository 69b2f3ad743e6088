"""The result of `make attack`: findings, date and the digest of the code."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
RESULT = ROOT / "benchmarks" / "results" / "attack.json"
PAGE = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- make attack writes from here -->", "<!-- to here -->"

# Whose faults the attack looks for, and what looks for them. All else has tests of its own: a change there does not
# make half an hour of attacks stale.
COVERED = (
    *("llmkit/cli", "llmkit/engines", "llmkit/recipe", "llmkit/runs", "llmkit/secrets.py", "llmkit/terminal.py"),
    "tests/helpers/attack",
)


def digest() -> str:
    """Of the covered code, without its comments and blank lines."""
    made = hashlib.sha256()
    for name in COVERED:
        path = ROOT / name
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            if not file.name.startswith("test_"):
                made.update(file.relative_to(ROOT).as_posix().encode())
                for line in file.read_text(encoding="utf-8").splitlines():
                    if line.strip() and not line.strip().startswith("#"):
                        made.update(line.rstrip().encode() + b"\n")
    return made.hexdigest()[:12]


def read() -> dict[str, Any]:
    return json.loads(RESULT.read_text(encoding="utf-8"))


def table(result: dict[str, Any]) -> str:
    """The figures as docs/reliability.md shows them."""
    lines = ["| attack | times | findings |", "|---|---|---|"]
    lines += [f"| {part['what']} | {part['times']:,} | {part['findings']} |" for part in result["parts"]]
    known = (
        f" {result['known']} findings are known and passed over (tests/helpers/attack/known.py)."
        if result["known"]
        else ""
    )
    return "\n".join(lines) + f"\n\n{result['date']}, seed {result['seed']}, {result['minutes']} minutes.{known}\n"


def write(result: dict[str, Any]) -> None:
    """The result file, and the table in docs/reliability.md."""
    RESULT.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n\n{table(result)}\n{END}{rest.partition(END)[2]}", encoding="utf-8")
