"""Draws the picture of the README from the runs of `make demo`: accuracy clean and under noise, with intervals.

python benchmarks/readme.py runs/demo-base-... runs/demo-... > docs/demo.svg
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from xml.sax.saxutils import escape

LABELS = {
    "stand": "with the adapter",
    "spell_fix": "spell_fix: a dictionary first",
    "correct_only": "correct_only: the model corrects first",
}
WIDTH, LEFT, RIGHT, ROW, TOP = 720, 300, 60, 44, 44
COLOURS = {"clean": "#4c78a8", "noisy": "#e08a2e"}


def rows(runs: list[Path]) -> list[tuple[str, dict, dict]]:
    """(label, clean accuracy, noisy accuracy) of each arm of each run, values with their intervals."""
    found = []
    for run in runs:
        metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
        adapted = "model: {adapter: null}" not in (run / "recipe.yaml").read_text(encoding="utf-8")
        for arm, measured in metrics["arms"].items():
            cells = measured["conditions"]
            noisy = next(c for c in metrics["conditions"] if c != "clean")
            label = LABELS.get(arm, arm) if adapted else "the bare model"
            found.append((label, cells["clean"]["accuracy"], cells[noisy]["accuracy"]))
    return found


def draw(measured: list[tuple[str, dict, dict]]) -> str:
    """A standalone SVG: one pair of bars for each row, each with its 95 % interval."""
    top = max(cell["high"] for _, *cells in measured for cell in cells)
    scale = (WIDTH - LEFT - RIGHT) / top
    height = TOP + ROW * len(measured) + 8
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" role="img">',
        "<style>text{font:14px system-ui,sans-serif;fill:#57606a}</style>",
    ]
    for x, (name, words) in zip(
        (LEFT, LEFT + 160), (("clean", "clean"), ("noisy", "3 of 10 words misspelt")), strict=True
    ):
        parts.append(f'<rect x="{x}" y="14" width="12" height="12" rx="2" fill="{COLOURS[name]}"/>')
        parts.append(f'<text x="{x + 18}" y="25">{words}</text>')
    for i, (label, *cells) in enumerate(measured):
        y = TOP + ROW * i
        parts.append(f'<text x="{LEFT - 12}" y="{y + 22}" text-anchor="end">{escape(label)}</text>')
        for j, (name, cell) in enumerate(zip(COLOURS, cells, strict=True)):
            at, middle = y + 16 * j, y + 16 * j + 7
            low, high = LEFT + scale * cell["low"], LEFT + scale * cell["high"]
            parts.append(
                f'<rect x="{LEFT}" y="{at}" width="{scale * cell["value"]:.1f}" height="14" fill="{COLOURS[name]}"/>'
                f'<path d="M{low:.1f} {middle}H{high:.1f}m0 -3v6M{low:.1f} {middle - 3}v6" stroke="#1f2328"/>'
                f'<text x="{high + 8:.1f}" y="{at + 12}">{cell["value"]:.2f}</text>'
            )
    return "\n".join([*parts, "</svg>", ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="run folders, in the order of the rows")
    print(draw(rows(parser.parse_args().runs)), end="")


if __name__ == "__main__":
    main()
