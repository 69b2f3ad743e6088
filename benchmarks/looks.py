"""Errors, power and the share of questions asked of runs that may stop early (`eval.looks`), by simulation: a table of
docs/gates.md.

    python benchmarks/looks.py [--runs 5000] [--processes 2]

The gate is `stand.drop <= 0.05`. Every interval is that of llmkit, at the levels of `measure.looks.schedule`. Seeds are
fixed by the design's name. Writes benchmarks/results/looks.json and the table in the docs.
"""

from __future__ import annotations

import argparse
import datetime
import json
import zlib
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pull_requests

from llmkit.measure import gates, looks, metrics, statistics
from llmkit.recipe.schema import EvalSection, Gate
from llmkit.types import Question

RESULTS = Path(__file__).parent / "results" / "looks.json"
DOCS = Path(__file__).parents[1] / "docs" / "gates.md"
BEGIN, END = "<!-- looks: written by benchmarks/looks.py -->", "<!-- end of looks -->"
LIMIT = 0.05
GATE = Gate(metric="stand.drop", max=LIMIT, bound="high")
DROPS = (0.0, 0.02, 0.05, 0.08, 0.12)
BETTER = 0.02  # share of questions that are right under noise only, whatever the drop


@dataclass(frozen=True)
class Design:
    """So many clusters of a size, and the intraclass correlation in them."""

    clusters: int
    size: int = 1
    icc: float = 0.0
    looks: int = 5

    def __str__(self) -> str:
        lone = self.size == 1
        return f"{self.clusters}" if lone else f"{self.clusters} x {self.size}, ICC {self.icc:g}"


DESIGNS = (Design(200), Design(500), Design(100, 5, 0.2))


@dataclass(frozen=True)
class Row:
    """What so many runs at one true drop come to, of the fixed test and with looks."""

    design: str
    drop: float
    runs: int
    fixed_pass: float
    looks_pass: float
    fixed_fail: float
    looks_fail: float
    asked: float
    """Share of the questions asked, on average."""
    covered: float
    """Share of runs whose interval at the end holds the true drop."""
    mean: float
    """Mean drop that runs measured at their end."""


def simulate(design: Design, drop: float, runs: int) -> Row:
    """Simulates runs at one true drop. The clusters are drawn in the order in which looks come to them."""
    rng = np.random.default_rng(zlib.crc32(f"{design} {drop} {design.looks}".encode()))
    flips = _flips(design, drop, runs, rng)
    section = EvalSection(looks=design.looks, gates=(GATE,))
    questions = [Question(f"{c}/{i}", "", "", "text", cluster=str(c)) for c in range(design.clusters)
                 for i in range(design.size)]  # fmt: skip
    schedule = [look.looked for look in looks.schedule(questions, section, 7)]
    careful = looks.careful([GATE])[0]
    totals = dict.fromkeys(("fixed_pass", "looks_pass", "fixed_fail", "looks_fail", "asked", "covered", "mean"), 0.0)
    for one in flips:
        fixed = gates.verdict(GATE, *interval(one, design.size, section.interval.level))
        for looked in schedule:
            value, low, high = interval(one[: looked.asked // design.size], design.size, looked.nominal)
            verdict = gates.verdict(careful if looked.stopped else GATE, value, low, high)
            if verdict != "undecided":
                break
        totals[f"fixed_{fixed}"] = totals.get(f"fixed_{fixed}", 0) + 1
        totals[f"looks_{verdict}"] = totals.get(f"looks_{verdict}", 0) + 1
        totals["asked"] += looked.asked / looked.planned
        totals["covered"] += low <= drop <= high
        totals["mean"] += value
    shares = {name: round(total / runs, 4) for name, total in totals.items() if not name.endswith("undecided")}
    return Row(str(design), drop, runs, **shares)


def _flips(design: Design, drop: float, runs: int, rng: np.random.Generator) -> np.ndarray:
    """(runs, clusters, 2) numbers of questions that get worse and better."""
    shares = np.array([drop + BETTER, BETTER, 1 - drop - 2 * BETTER])
    shape = (runs, design.clusters)
    if design.icc == 0:
        return rng.multinomial(design.size, shares, shape)[..., :2]
    return rng.multinomial(design.size, rng.dirichlet(shares * (1 - design.icc) / design.icc, shape))[..., :2]


def interval(flips: np.ndarray, size: int, level: float) -> tuple[float, float, float]:
    """Returns the drop of (C, 2) clusters with its interval. Runs with the same numbers of alike clusters share one."""
    times = np.bincount(flips @ (size + 1, 1))  # one number for each pair: np.unique of rows takes longer
    found = np.flatnonzero(times)
    rows = tuple(divmod(pair, size + 1) for pair in found.tolist())
    return _interval(rows, tuple(times[found].tolist()), size, level)


@lru_cache(maxsize=1_000_000)
def _interval(
    rows: tuple[tuple[int, int], ...], times: tuple[int, ...], size: int, level: float
) -> tuple[float, float, float]:
    sums = np.array([worse - better for worse, better in rows], dtype=float)
    counts, many = np.full(len(rows), float(size)), np.array(times, dtype=float)
    value = float(many @ sums) / (size * sum(times))
    low, high = statistics.mean_interval(sums, counts, times=many, level=level)
    return value, min(low, value), max(high, value)


def pull_request(number: int, planted: bool) -> tuple[bool, float]:
    """Simulates a pull request of the main design of pull_requests.py, with five looks: returns whether it is red, and
    the share of the questions asked."""
    recipe, now, then = pull_requests.drawn(pull_requests.MAIN, number, planted)
    section = recipe.eval.model_copy(update={"looks": 5})
    questions = [Question(f"q{i}", "", "a", "text") for i in range(pull_requests.MAIN.questions)]
    asked: set[str] = set()
    for look in looks.schedule(questions, section, recipe.seed):
        asked |= look.clusters
        samples = [sample for sample in now if sample.outcome.cluster_id in asked]
        at_look = looks.at_level(section, look.looked)
        measured = metrics(samples, at_look, recipe.seed, then)
        # As in a run, only all gates together stop it.
        if look.last or looks.decided(gates.evaluate(looks.careful(section.gates), measured)):
            break
    verdicts = [result.verdict for result in gates.evaluate(section.gates, measured)]
    return pull_requests.is_red(verdicts), look.looked.asked / look.looked.planned


def pulls(count: int) -> dict[str, float]:
    """Simulates so many pull requests with a planted regression, and as many without a change."""
    found: dict[str, float] = {"count": count}
    for name, planted in (("planted", True), ("unchanged", False)):
        red, asked = zip(*(pull_request(number, planted) for number in range(count)), strict=True)
        found |= {f"{name} red": sum(red) / count, f"{name} asked": round(sum(asked) / count, 4)}
    return found


def table(rows: list[Row]) -> str:
    """Writes the rows as Markdown."""
    lines = [
        "| questions | true drop | runs | passes: fixed, looks | fails: fixed, looks | asked | interval holds "
        "| mean value |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        passes, fails = f"{row.fixed_pass:.3f}, {row.looks_pass:.3f}", f"{row.fixed_fail:.3f}, {row.looks_fail:.3f}"
        lines.append(
            f"| {row.design} | {row.drop:.2f} | {row.runs:,} | {passes} | {fails} | {row.asked:.2f} "
            f"| {row.covered:.3f} | {row.mean:.3f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=5000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--pulls", type=int, default=500, help="pull requests of each kind")
    options = parser.parse_args()
    with ProcessPoolExecutor(options.processes) as pool:
        futures = [
            # Runs of clusters share few intervals: away from the limit, where nothing is proven, fewer have to do.
            pool.submit(simulate, design, drop, options.runs // (1 if design.size == 1 or drop == LIMIT else 5))
            for design in DESIGNS
            for drop in DROPS
        ]
        simulated_pulls = pool.submit(pulls, options.pulls)
        rows = [future.result() for future in futures]
    today = datetime.date.today().isoformat()
    result = {"date": today, "rows": [asdict(row) for row in rows], "pulls": simulated_pulls.result()}
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    text = DOCS.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    DOCS.write_text(f"{before}{BEGIN}\n{table(rows)}\n{END}{after}", encoding="utf-8")
    print(table(rows))


if __name__ == "__main__":
    main()
