"""Coverage of losses of which a random part of the changed rows is labelled, by simulation: a table of
docs/statistics.md.

    python benchmarks/two_phase.py [--runs 400] [--processes 2]

Seeds are fixed by the design's name. Writes benchmarks/results/two_phase.json and the table in the docs.
"""

from __future__ import annotations

import argparse
import datetime
import json
import zlib
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from llmkit.measure import statistics, two_phase

RESULTS = Path(__file__).parent / "results" / "two_phase.json"
DOCS = Path(__file__).parents[1] / "docs" / "statistics.md"
BEGIN, END = "<!-- two phases: written by benchmarks/two_phase.py -->", "<!-- end of two phases -->"
VALUES = np.array([1.0, -1.0, 0.0, 0.0])  # got worse, got better, changed without effect, not changed


@dataclass(frozen=True)
class Design:
    """So many clusters of a size; the shares of rows that changed, and of these that got worse and better; the
    intraclass correlation; how many changed rows are labelled."""

    clusters: int
    size: int
    changed: float
    worse: float
    better: float
    icc: float
    labelled: int


DESIGNS = (
    Design(1000, 1, 0.1, 0.55, 0.1, 0.0, 40),
    Design(1000, 1, 0.1, 0.55, 0.1, 0.0, 10),
    Design(1000, 1, 0.1, 0.9, 0.0, 0.0, 40),
    Design(1000, 1, 0.1, 0.8, 0.0, 0.0, 10),
    Design(1000, 1, 0.1, 0.03, 0.0, 0.0, 15),
    Design(1000, 1, 0.1, 0.4, 0.4, 0.0, 20),
    Design(300, 1, 0.03, 0.6, 0.2, 0.0, 5),
    Design(300, 1, 0.1, 0.5, 0.2, 0.0, 20),
    Design(200, 1, 0.4, 0.3, 0.2, 0.0, 20),
    Design(100, 5, 0.1, 0.7, 0.1, 0.2, 12),
    Design(50, 10, 0.2, 0.5, 0.2, 0.2, 40),
    Design(50, 10, 0.2, 0.5, 0.2, 0.5, 40),
    Design(20, 10, 0.5, 0.3, 0.2, 0.2, 50),
    Design(13, 38, 0.2, 0.5, 0.2, 0.2, 40),
    Design(13, 38, 0.1, 0.8, 0.0, 0.5, 20),
)


def runs(design: Design, count: int) -> dict:
    """Coverage of so many runs of a design, half the mean width, and that of the same runs with every row labelled."""
    rng = np.random.default_rng(zlib.crc32(repr(design).encode()))
    mean = design.changed * np.array([design.worse, design.better, 1 - design.worse - design.better])
    mean = np.append(mean, 1 - design.changed)
    truth = mean[0] - mean[1]
    clusters = np.repeat(np.arange(design.clusters), design.size)
    below = above = 0
    width, whole = [], []
    for _ in range(count):
        rates = np.tile(mean, (design.clusters, 1))
        if design.icc:
            rates = rng.gamma(rates * (1 - design.icc) / design.icc + 1e-12) + 1e-300
            rates /= rates.sum(1, keepdims=True)
        outcome = np.concatenate([rng.choice(4, size=design.size, p=rate) for rate in rates])
        changed = rng.permutation(np.flatnonzero(outcome < 3)).tolist()
        known, unknown = changed[: design.labelled], changed[design.labelled :]
        one = two_phase.difference(VALUES[outcome], known, unknown, clusters, 0.95)
        full = statistics.difference(VALUES[outcome], clusters)
        below += truth < one.low
        above += truth > one.high
        width.append((one.high - one.low) / 2)
        whole.append((full.high - full.low) / 2)
    return {
        **asdict(design),
        "coverage": 1 - (below + above) / count,
        "below": below / count,
        "above": above / count,
        "half_width": float(np.mean(width)),
        "all_labelled": float(np.mean(whole)),
    }


def table(results: list[dict]) -> str:
    lines = [
        "| rows | ICC | changed | worse, better | labelled | coverage | below, above | half width | all labelled |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for r in results:
        rows = f"{r['clusters']:,}" + (f" x {r['size']}" if r["size"] > 1 else "")
        cells = [
            rows,
            f"{r['icc']:g}" if r["icc"] else "",
            f"{r['changed']:.0%}".replace("%", " %"),
            f"{r['worse']:.2f}, {r['better']:.2f}".replace("0.", "."),
            f"{r['labelled']}",
            f"{r['coverage']:.3f}".replace("0.", ".", 1),
            f"{r['below']:.3f}, {r['above']:.3f}".replace("0.", "."),
            f"±{r['half_width']:.3f}".replace("0.", ".", 1),
            f"±{r['all_labelled']:.3f}".replace("0.", ".", 1),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    with ProcessPoolExecutor(args.processes) as pool:
        results = list(pool.map(partial(runs, count=args.runs), DESIGNS))
    day = datetime.date.today().isoformat()
    RESULTS.write_text(json.dumps({"date": day, "runs": args.runs, "designs": results}, indent=2) + "\n")
    text = DOCS.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    DOCS.write_text(f"{before}{BEGIN}\n{table(results)}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
