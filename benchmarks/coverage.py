"""Coverage of intervals and errors of tests, by simulation: the tables of docs/statistics.md.

    python benchmarks/coverage.py [--runs 200] [--processes 2]

Seeds are fixed by the design's name. Writes benchmarks/results/coverage.json and the tables in the docs.
"""

from __future__ import annotations

import argparse
import datetime
import json
import zlib
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from llmkit.measure import statistics

RESULTS = Path(__file__).parent / "results" / "coverage.json"
DOCS = Path(__file__).parents[1] / "docs" / "statistics.md"
BEGIN, END = "<!-- coverage: written by benchmarks/coverage.py -->", "<!-- end of coverage -->"
RATES = ((0.0, 0.02), (0.0, 0.05), (0.0, 0.1), (0.02, 0.02), (0.02, 0.1), (0.05, 0.3), (0.1, 0.1))
ICC = (0.0, 0.05, 0.2, 0.5)
LONE, SHAPES = (20, 50, 200), ((13, 38), (13, 10), (8, 25))
Rng = np.random.Generator


def rates(rng: Rng, clusters: int, mean: list[float], icc: float) -> np.ndarray:
    """(C, K) rates of each cluster: alike, or from a Dirichlet distribution of this intraclass correlation."""
    alike = np.tile(np.array(mean), (clusters, 1))
    if not icc:
        return alike
    drawn = rng.gamma(alike * (1 - icc) / icc + 1e-12) + 1e-300
    return drawn / drawn.sum(1, keepdims=True)


def sizes(clusters: int, size: int, even: bool) -> np.ndarray:
    """Questions of each cluster; uneven ones fall as 1/k, so that the largest of 13 has a third of all."""
    if even:
        return np.full(clusters, size)
    weight = 1 / np.arange(1, clusters + 1)
    return np.maximum(1, np.round(clusters * size * weight / weight.sum())).astype(int)


def expand(*counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels of clusters, and the number of the outcome, of every question."""
    table = np.stack(counts, 1)
    cells = np.tile(np.arange(table.shape[1]), len(table))
    return np.repeat(np.arange(len(table)), table.sum(1)), np.repeat(cells, table.ravel())


def difference(rng: Rng, clusters: int, size: int, better: float, worse: float, icc: float, even: bool = True) -> dict:
    """One run: does the interval hold the truth, how wide is it, and, where there is none, is a difference found?"""
    counts = rng.multinomial(
        sizes(clusters, size, even), rates(rng, clusters, [better, worse, 1 - better - worse], icc)
    )
    labels, cells = expand(*counts.T)
    values = np.array([1.0, -1.0, 0.0])[cells]
    mean = statistics.difference(values, labels)
    row = {"covers": mean.low <= better - worse <= mean.high, "width": mean.high - mean.low}
    if better == worse:
        if size == 1:
            p = statistics.mcnemar(int((values > 0).sum()), int((values < 0).sum()))
        else:
            sums = np.bincount(labels, values)[:, None]
            p = float(statistics.sign_flip(sums, 1000, int(rng.integers(2**31)))[0])
        row |= {"interval errs": not mean.low <= 0 <= mean.high, "test errs": p <= 0.05}
    return row


def accuracy(rng: Rng, clusters: int, size: int, truth: float, icc: float, even: bool) -> dict:
    of = sizes(clusters, size, even)
    labels, cells = expand(*rng.multinomial(of, rates(rng, clusters, [truth, 1 - truth], icc)).T)
    hits = (cells == 0).astype(float)
    _, low, high = statistics.rate(hits, np.ones(len(hits)), labels, len(hits))
    return {"covers": low <= truth <= high, "width": high - low}


def flips(rng: Rng, questions: int, draws: int, truth: float, share: float) -> dict:
    """Returns how often noise turns an answer, over several draws of a question; `share` of all questions can turn."""
    of = (rng.random(questions) < share).astype(float)
    own = rng.beta(truth * 1.0, (1 - truth) * 1.0, questions)  # each question has its own rate: draws are no new ones
    hits = of * rng.binomial(draws, own) / draws
    _, low, high = statistics.rate(hits, of, np.arange(questions), draws * float(of.sum()))
    return {"covers": low <= truth <= high, "width": high - low}


def recovery(rng: Rng, clusters: int, size: int, lost: float, back: float, icc: float) -> dict:
    """An arm wins back a share of what noise took and loses a little elsewhere; some templates are harder."""
    can = np.repeat(rates(rng, clusters, [0.8, 0.2], icc)[:, 0], size)
    clean = rng.random(clusters * size) < can
    noisy = clean & (rng.random(clusters * size) >= lost)
    harmed = 0.05  # of what was right under noise
    won = back + harmed * (1 - lost) / lost  # of what was lost, so that the sum is `back`
    arm = np.where(noisy, rng.random(clusters * size) >= harmed, clean & (rng.random(clusters * size) < won))
    labels = np.repeat(np.arange(clusters), size)
    ratio = statistics.ratio(arm * 1.0 - noisy, clean * 1.0 - noisy, labels)
    if ratio is None:
        return {"bounded": False}
    _, low, high = ratio
    return {"bounded": True, "covers": low <= back <= high, "width": high - low}


def designs() -> list[tuple[str, Callable[..., dict], tuple]]:
    """(name, simulation, its arguments)."""
    table: list[tuple[str, Callable[..., dict], tuple]] = []
    for n in LONE:
        table += [
            (f"difference, {n} questions, {b:.2f} better, {w:.2f} worse", difference, (n, 1, b, w, 0.0))
            for b, w in RATES
        ]
    for clusters, size in SHAPES:
        for icc in ICC:
            for b, w in RATES:
                name = f"difference, {clusters} x {size}, ICC {icc}, {b:.2f} better, {w:.2f} worse"
                table.append((name, difference, (clusters, size, b, w, icc)))
    for icc in (0.05, 0.2, 0.5):
        for b, w in RATES[3:]:
            name = f"difference, 13 uneven, ICC {icc}, {b:.2f} better, {w:.2f} worse"
            table.append((name, difference, (13, 38, b, w, icc, False)))
    for even in (True, False):
        for icc in (0.0, 0.2, 0.5, 0.8):
            for truth in (0.5, 0.8, 0.95):
                name = f"accuracy, 13 {'x 38' if even else 'uneven'}, ICC {icc}, {truth:.2f} right"
                table.append((name, accuracy, (13, 38, truth, icc, even)))
    for icc in (0.05, 0.2):
        for truth in (0.5, 0.8):
            table.append((f"accuracy, 13 x 10, ICC {icc}, {truth:.2f} right", accuracy, (13, 10, truth, icc, True)))
    for questions, truth, share in ((50, 0.3, 0.7), (50, 0.1, 0.7), (100, 0.3, 0.2), (200, 0.1, 0.3), (200, 0.02, 0.8)):
        name = f"flips over 3 draws, {questions} questions, {share:.0%} can flip, {truth:.2f} do"
        table.append((name, flips, (questions, 3, truth, share)))
    for clusters, size in ((150, 1), (500, 1), (13, 38), (24, 10)):
        for icc in (0.0,) if size == 1 else (0.0, 0.2, 0.5):
            for back in (0.0, 2 / 3, 0.9):
                name = f"recovery, {clusters} x {size}, ICC {icc}, {back:.2f} won back"
                table.append((name, recovery, (clusters, size, 0.375, back, icc)))
    return table


def simulate(job: tuple[str, Callable[..., dict], tuple, int]) -> tuple[str, dict[str, Any]]:
    """The means over all runs of one design."""
    name, simulation, arguments, runs = job
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    rows = [simulation(rng, *arguments) for _ in range(runs)]
    columns = {key for row in rows for key in row}
    means = {key: float(np.mean([row[key] for row in rows if key in row])) for key in sorted(columns)}
    return name, {key: round(value, 4) for key, value in means.items()}


def tables(found: dict[str, dict[str, Any]]) -> str:
    """As Markdown, in the words of docs/statistics.md."""
    parts = [_clustered(found), _others(found)]
    return "\n\n".join(parts)


def _clustered(found: dict[str, dict[str, Any]]) -> str:
    names = [f"{b:.2f}, {w:.2f}".replace("0.", ".") for b, w in RATES]
    lines = [f"| questions | ICC | {' | '.join(names)} |", "|---" * (len(RATES) + 2) + "|"]
    for n in LONE:
        cells = [_cell(found.get(f"difference, {n} questions, {b:.2f} better, {w:.2f} worse")) for b, w in RATES]
        lines.append(f"| {n} | | {' | '.join(cells)} |")
    for shape, iccs in [*((f"{c} x {s}", ICC) for c, s in SHAPES), ("13 uneven", (0.05, 0.2, 0.5))]:
        for icc in iccs:
            keys = [f"difference, {shape}, ICC {icc}, {b:.2f} better, {w:.2f} worse" for b, w in RATES]
            lines.append(
                f"| {shape} | {icc:g} | {' | '.join(_cell(found.get(key)) for key in keys)} |".replace("| 0.", "| .")
            )
    return "\n".join(lines)


def _cell(row: dict[str, Any] | None) -> str:
    """.951 (±.034), and where there is no difference the type I errors of interval and test."""
    if row is None:
        return ""
    text = f"{row['covers']:.3f} (±{row['width'] / 2:.3f})"
    if "test errs" in row:
        text += f"; {row['interval errs']:.3f}, {row['test errs']:.3f}"
    return text.replace("0.", ".")


def _others(found: dict[str, dict[str, Any]]) -> str:
    lines = ["| design | coverage | mean width |", "|---|---|---|"]
    for name, row in found.items():
        if not name.startswith("difference"):
            lines.append(f"| {name} | {row['covers']:.3f} | {row['width']:.3f} |".replace("| 0.", "| ."))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    jobs = [(*design, given.runs) for design in designs()]
    with ProcessPoolExecutor(given.processes) as pool:
        found = dict(pool.map(simulate, jobs))
    made = {"date": datetime.date.today().isoformat(), "runs": given.runs, "level": 0.95, "designs": found}
    RESULTS.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    before, _, after = DOCS.read_text(encoding="utf-8").partition(BEGIN)
    DOCS.write_text(f"{before}{BEGIN}\n{tables(found)}\n{END}{after.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    main()
