"""Pull requests by simulation: how often a planted regression turns one red, and an unchanged one, against a committed
baseline. A table of docs/ci.md.

    python benchmarks/pull_requests.py [--pulls 500] [--processes 2]

Answers are drawn; everything after them is llmkit's own: the baseline file is written and read, rows are paired, gates
are decided. Seeds are fixed by design and number, so every pull request can be simulated again. Writes
benchmarks/results/pull_requests.json and the table in the docs.
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

import doc_tables
import numpy as np

from llmkit.measure import by_prompt, gates, metrics, stored
from llmkit.measure.baseline import BaselineFile
from llmkit.measure.stability import ASSUMED
from llmkit.recipe import Recipe, load
from llmkit.runs.samples import Sample
from llmkit.types import Outcome

RESULTS = Path(__file__).parent / "results" / "pull_requests.json"
DOCS = Path(__file__).parents[1] / "docs" / "ci.md"
BEGIN = "<!-- pull requests: written by benchmarks/pull_requests.py -->"
END = "<!-- end of pull requests -->"
CONDITIONS = ("clean", "typing", "ec")
ACCURACY = 0.8
GATES = {
    "surely worse": ("stand.accuracy_change >= 0 high", "stand.accuracy_change@noisy >= 0 high"),
    "surely within .05": ("stand.accuracy_change >= -0.05", "stand.accuracy_change@noisy >= -0.05"),
}
"""Two ways to block: red only where the run is surely worse, or green only where it surely lost no more than .05."""


@dataclass(frozen=True)
class Design:
    """So many questions; the share of answers that turn from one run to the next with nothing changed; the share of
    questions that the planted regression breaks for good, which costs .8 of that in accuracy."""

    questions: int
    flips: float
    broken: float
    gates: str


DESIGNS = (
    Design(300, 0.02, 0.1, "surely worse"),
    Design(300, 0.1, 0.1, "surely worse"),
    Design(150, 0.02, 0.1, "surely worse"),
    Design(150, 0.1, 0.1, "surely worse"),
    Design(300, 0.1, 0.05, "surely worse"),
    Design(300, 0.02, 0.1, "surely within .05"),
    Design(300, 0.1, 0.1, "surely within .05"),
    Design(600, 0.1, 0.1, "surely within .05"),
)
MAIN = DESIGNS[1]
"""The design that the promise is about: at least .8 of the planted ones red, and at most .05 of the unchanged."""


def recipe_of(design: Design) -> Recipe:
    """Returns the recipe of the pull request, with its gates. Draws decide no gate, so there are few."""
    declared = [gates.parse(gate) for gate in GATES[design.gates]]
    return load(None, {"data.path": "rows.csv", "eval.gates": declared, "eval.interval.draws": 100}).recipe


def answers(design: Design, chances: np.ndarray, rng: np.random.Generator) -> list[Sample]:
    """Draws one run: every question under every condition, right with its own chance."""
    right = rng.random((len(CONDITIONS), design.questions)) < chances
    return [
        Sample(
            Outcome(f"q{i}", f"q{i}", condition, "stand", 0, "a", bool(right[c, i]), "a"),
            f"question {i}",
            f"question {i}" if condition == "clean" else f"qeustion {i}",
        )
        for c, condition in enumerate(CONDITIONS)
        for i in range(design.questions)
    ]


def judged(design: Design, number: int, planted: bool) -> list[str]:
    """Simulates one pull request; returns the verdicts of its gates."""
    rng = np.random.default_rng([zlib.crc32(repr(design).encode()), number, planted])
    # Two answers of one question differ with probability 2 p (1 - p), on average flips = 2 a b / ((a + b)(a + b + 1)).
    most = 2 * ACCURACY * (1 - ACCURACY)
    size = design.flips / (most - design.flips)
    chances = rng.beta(size * ACCURACY, size * (1 - ACCURACY), design.questions)
    recipe = recipe_of(design)
    file = stored.packed(recipe, answers(design, chances, rng), "main").as_text()
    broken = rng.random(design.questions) < (design.broken if planted else 0)
    now = answers(design, np.where(broken, 0, chances), rng)
    then = stored.samples(BaselineFile.model_validate_json(file), now)

    def measure(samples, baseline, assumed=ASSUMED):
        return metrics(samples, recipe.eval, recipe.seed, baseline, assumed)

    prompted = by_prompt.by_prompt(now, [], measure, then)
    return [result.verdict for result in by_prompt.decide(recipe.eval.gates, prompted, measure)]


def pulls(design: Design, count: int) -> dict:
    """Simulates so many pull requests with the regression and as many without a change."""
    found = {"planted": [judged(design, i, True) for i in range(count)]}
    found["unchanged"] = [judged(design, i, False) for i in range(count)]
    shares = {name: sum(is_red(v) for v in verdicts) / count for name, verdicts in found.items()}
    failed = {f"{name} failed": sum("fail" in v for v in verdicts) / count for name, verdicts in found.items()}
    first = {name: "".join("r" if is_red(v) else "." for v in verdicts[:50]) for name, verdicts in found.items()}
    return {**asdict(design), "red": shares, "failed": failed, "first": first}


def is_red(verdicts: list[str]) -> bool:
    """Returns whether a pull request is red: a gate failed (exit code 3) or is undecided (5)."""
    return verdicts != ["pass"] * len(verdicts)


def table(results: list[dict]) -> str:
    """Returns the table of the docs."""
    lines = [
        "| gates | questions | answers that turn by themselves | rows broken | planted: red | failed | unchanged: red "
        "| failed |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for r in results:
        shares = [r["red"]["planted"], r["failed"]["planted failed"], r["red"]["unchanged"]]
        shares.append(r["failed"]["unchanged failed"])
        cells = [r["gates"], r["questions"], f"{r['flips']:.2f}", f"{r['broken']:.2f}", *(f"{s:.3f}" for s in shares)]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pulls", type=int, default=500)
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    with ProcessPoolExecutor(args.processes) as pool:
        results = list(pool.map(partial(pulls, count=args.pulls), DESIGNS))
    day = datetime.date.today().isoformat()
    RESULTS.write_text(json.dumps({"date": day, "pulls": args.pulls, "designs": results}, indent=2) + "\n")
    print(table(results))
    if DOCS.exists():
        DOCS.write_text(doc_tables.with_table(DOCS.read_text(encoding="utf-8"), BEGIN, END, table(results)), "utf-8")


if __name__ == "__main__":
    main()
