"""Writes the tables of benchmarks/results/repair.json into docs/repair.md and docs/benchmarks.md; a test keeps them so.

python benchmarks/repair_docs.py
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from llmkit.repair.detectors import DETECTORS

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "repair.json"
Part = Mapping[str, Any]


def caught(part: Part) -> str:
    """Returns the table of what detectors catch: AUC, and the shares caught at both firing rates."""
    measured = part["detectors"]
    first = next(iter(measured.values()))["kinds"]
    names = [f"`{name}`" if name in DETECTORS else name for name in measured]
    lines = [
        f"| noise | rows | {' | '.join(names)} |",
        "|---|---:|" + "---|" * len(measured),
    ]
    for kind in first:
        cells = (result["kinds"][kind] for result in measured.values())
        lines.append(
            f"| {kind} | {first[kind]['rows']} | " + " | ".join(f"{c['auc']:.3f}: {_pair(c)}" for c in cells) + " |"
        )
    fires = " | ".join(" / ".join(f"{share:.4f}" for share in r["fires_on_clean"]) for r in measured.values())
    lines.append(f"| **clean: fires on** | {part['clean_rows']} | {fires} |")
    return "\n".join(lines)


def _pair(cell: Part) -> str:
    return " / ".join(f"{share:.3f}" for share in cell["caught"])


def corrected(part: Part) -> str:
    """Returns the table of correctors: texts restored and word errors gone by kind, clean texts altered, time."""
    measured = part["correctors"]
    kinds = [kind for kind in part["rows"] if kind != "clean"]
    lines = [
        f"| restored; word errors gone; CER after | {' | '.join(kinds)} | clean altered | tokens, clean | ms |",
        "|---|" + "---|" * len(kinds) + "---:|---:|---:|",
    ]
    before = next(iter(measured.values()))["kinds"]
    lines.append("| as typed | " + " | ".join(f"CER {before[kind]['cer'][0]:.3f}" for kind in kinds) + " | | | |")
    for name, result in measured.items():
        cells = (result["kinds"][kind] for kind in kinds)
        shown = " | ".join(f"{c['restored']:.3f}; {c['word_errors_gone']:.3f}; {c['cer'][1]:.3f}" for c in cells)
        cost = "" if result["ms"] is None else f"{result['ms']:.2f}"
        lines.append(f"| {name} | {shown} | {result['clean_altered']:.4f} | {result['tokens_of_clean']:.1f} | {cost} |")
    return "\n".join(lines)


def timed(part: Part) -> str:
    """Returns the table of milliseconds for 200 words."""
    lines = ["| 200 words of | median ms | p95 ms |", "|---|---:|---:|"]
    lines += [f"| {kind} | {t['median']:.2f} | {t['p95']:.2f} |" for kind, t in part["milliseconds"].items()]
    return "\n".join(lines)


TABLES: dict[str, tuple[str, str, Callable[[Part], str]]] = {
    "caught": ("docs/repair.md", "detectors", caught),
    "surprise": ("docs/repair.md", "surprise", caught),
    "timed": ("docs/benchmarks.md", "speed", timed),
    "correctors": ("docs/benchmarks.md", "correctors", corrected),
    "model": ("docs/benchmarks.md", "model", corrected),
}
"""Tables by name: the page, the part of the results, and what writes it."""


def written(text: str, name: str, table: str) -> str:
    """Returns a page with a table between its marks."""
    begin, end = f"<!-- {name}: written by benchmarks/repair_docs.py -->", f"<!-- end of {name} -->"
    before, found, rest = text.partition(begin)
    if not found:
        return text
    return f"{before}{begin}\n\n{table}\n\n{end}{rest.partition(end)[2]}"


def pages() -> dict[Path, str]:
    """Returns the pages as they should be."""
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    texts: dict[Path, str] = {}
    for name, (page, part, table) in TABLES.items():
        path = ROOT / page
        text = texts.get(path) or path.read_text(encoding="utf-8")
        texts[path] = written(text, name, table(results[part])) if part in results else text
    return texts


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
