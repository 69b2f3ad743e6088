"""Draws the picture of the README from the runs of `make demo`: accuracy clean and under noise, with intervals.

python benchmarks/readme.py runs/demo-base-... runs/demo-... > docs/demo.svg
"""

from __future__ import annotations

import argparse
from pathlib import Path

from llmkit.conditions import Condition
from llmkit.measure.results import Metrics
from llmkit.report import html
from llmkit.report.elements import Chart, Point, Series
from llmkit.runs import Run
from llmkit.types import CLEAN

LABELS = {
    "stand": "with the adapter",
    "correct_only": "correct_only: the model corrects first",
    "fold+spell": "fold+spell: spelling corrected first",
    "repair": "repair: the same behind a gate",
}
BARS = (("clean", "#4c78a8"), ("3 of 10 words misspelt", "#e08a2e"))


def chart(runs: list[Run]) -> Chart:
    """Returns a row for each arm of each run, with a bar for clean questions and one for noisy ones."""
    rows = []
    for run in runs:
        metrics = Metrics.read(run.folder / "metrics.json")
        noisy = next(c for c in metrics.conditions if Condition.parse(c).noisy)
        for name, arm in metrics.arms.items():
            label = LABELS.get(name, name) if run.section("model").get("adapter") else "the bare model"
            found = [arm.conditions[condition].accuracy for condition in (CLEAN, noisy)]
            points = [Point(cell.value, cell.low, cell.high, text=f"{cell.value:.2f}") for cell in found if cell]
            rows.append(Series(label, tuple(points)))
    top = max(point.high for row in rows for point in row.points)
    return Chart("bars", tuple(rows), (0.0, top), words="Accuracy clean and under noise, with 95 % intervals")


def main() -> None:
    """Prints the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="run folders, in the order of the rows")
    print(html.picture(chart([Run(folder) for folder in parser.parse_args().runs]), BARS), end="")


if __name__ == "__main__":
    main()
