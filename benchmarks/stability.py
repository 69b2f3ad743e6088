"""Does the share of changed answers go with what noise really costs? The tables of docs/stability.md.

    python benchmarks/stability.py [--limit 300] [--engine transformers]

Two models above chance are asked labelled rows as sent and under twelve noises: the adapter `tickets` the bundled
tickets, the adapter `demo-loop` generated word problems. Of each noise the true loss of accuracy is counted with the
labels, and the share of rows whose answer changed without them. Writes benchmarks/results/stability.json and the
tables in the docs.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from doc_tables import dated, with_table

from llmkit import evaluate
from llmkit.measure import metrics
from llmkit.recipe import Recipe, load
from llmkit.resources import shipped
from llmkit.runs.samples import Sample
from llmkit.seeds import derive
from llmkit.tasks.comparing import Response, compare
from llmkit.types import CLEAN, Question

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "stability.json"
DOCS = ROOT / "docs" / "stability.md"
BEGIN, END = "<!-- cells: written by benchmarks/stability.py -->", "<!-- end of cells -->"
NOISE = {"perturb.conditions": ["typing", "sc", "leet", "woo"], "perturb.rate": [0.1, 0.3, 0.6]}
TICKETS = shipped("examples") / "tickets"
MODELS: dict[str, dict[str, Any]] = {
    "tickets": {
        "model.adapter": "tickets",
        "data.path": str(TICKETS / "tickets-labelled.csv"),
        "data.question": "body",
        "data.answer": "queue",
        "data.kind": "text",
        "data.id": "id",
        "data.cluster": "customer_id",
        "data.split": "all",
        "prompts": [str(TICKETS / "support.yaml")],
        "rop.max_tokens": 8,
    },
    "demo-loop": {
        "model.adapter": "demo-loop",
        "data.task": "arithmetic",
        "data.levels": [1],
        "data.split": "test",
        "rop.max_tokens": 96,
    },
}
DRAWS = 2000


@dataclass(frozen=True)
class Answers:
    """The answers of one run, by cell (K noises at a rate) and row (N).

    `sent` (N,) and `right` (K, N) say whether the answer to the row as sent, and to it under noise, is the gold one;
    `changed` (K, N) whether the two differ, which no label is needed for. `clusters` (N,) number what belongs together.
    """

    cells: list[str]
    sent: np.ndarray
    right: np.ndarray
    changed: np.ndarray
    clusters: np.ndarray

    def shares(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns (share changed, accuracy lost) of each cell, (K,) each, with `weights` (N,) of the rows."""
        return self.changed @ weights / weights.sum(), (self.sent - self.right) @ weights / weights.sum()


def answers_of(samples: Sequence[Sample]) -> Answers:
    """Returns the answers of a labelled run to rows that were answered in every cell."""
    by_cell: dict[str, dict[str, Sample]] = {}
    for sample in samples:
        by_cell.setdefault(sample.outcome.condition, {})[sample.outcome.question_id] = sample
    cells = [cell for cell in by_cell if cell != CLEAN]
    rows = sorted(set.intersection(*(set(answered) for answered in by_cell.values())))
    clusters = {name: number for number, name in enumerate({by_cell[CLEAN][r].outcome.cluster_id: 0 for r in rows})}
    return Answers(
        cells,
        np.array([bool(by_cell[CLEAN][r].outcome.correct) for r in rows], float),
        np.array([[bool(by_cell[cell][r].outcome.correct) for r in rows] for cell in cells], float),
        np.array([[differ(by_cell[CLEAN][r], by_cell[cell][r]) for r in rows] for cell in cells], float),
        np.array([clusters[by_cell[CLEAN][r].outcome.cluster_id] for r in rows]),
    )


def differ(one: Sample, other: Sample) -> bool:
    """Returns whether two answers differ, as a run without labels decides it: a failed call is a change."""
    if one.outcome.error or other.outcome.error:
        return True
    asked = Question(one.outcome.question_id, one.question, None, one.kind or "text", one.options)
    return compare(Response(one.reply or ""), Response(other.reply or ""), asked).changed


def without_labels(samples: Sequence[Sample]) -> list[Sample]:
    """Returns the same answers, as a run has them whose rows have no labels."""
    return [replace(s, outcome=replace(s.outcome, gold=None, correct=None)) for s in samples]


def correlations(answers: Answers, seed: int, draws: int = DRAWS) -> dict[str, list[float]]:
    """Computes Pearson's and Spearman's correlation over cells of share changed and accuracy lost.

    Each is [value, low, high]: the middle 95 % of `draws` bootstrap samples, in each of which both clusters of rows and
    cells are drawn with replacement. Cells share their rows, so that drawing only cells would be too sure.
    """
    from scipy.stats import rankdata

    def both(changed: np.ndarray, lost: np.ndarray) -> tuple[float, float]:
        if np.ptp(changed) == 0 or np.ptp(lost) == 0:
            return np.nan, np.nan
        return (
            float(np.corrcoef(changed, lost)[0, 1]),
            float(np.corrcoef(rankdata(changed), rankdata(lost))[0, 1]),
        )

    rng = np.random.default_rng(derive(seed, "correlations"))
    many = answers.clusters.max() + 1
    drawn = []
    for _ in range(draws):
        weights = rng.multinomial(many, np.full(many, 1 / many))[answers.clusters].astype(float)
        cells = rng.integers(len(answers.cells), size=len(answers.cells))
        drawn.append(both(*(shares[cells] for shares in answers.shares(weights))))
    values = both(*answers.shares(np.ones(len(answers.sent))))
    ends = np.nanquantile(np.array(drawn), (0.025, 0.975), axis=0).T
    return {
        name: [round(float(x), 3) for x in (value, *end)]
        for name, value, end in zip(("pearson", "spearman"), values, ends, strict=True)
    }


def measure(name: str, extra: Mapping[str, Any]) -> dict[str, Any]:
    """Runs one model, and returns its cells and how their two columns go together."""
    loaded = load("base/smollm2", {**MODELS[name], **NOISE, "engine.dtype": "float32", **extra})
    return summary(evaluate.run(loaded, "eval").samples, loaded.recipe, chance=1 / 7 if name == "tickets" else 0.0)


def summary(samples: Sequence[Sample], recipe: Recipe, chance: float) -> dict[str, Any]:
    """Returns what the docs show of one run: its cells, and the correlation of their two columns."""
    labelled = metrics(samples, recipe.eval, recipe.seed)
    (arm,) = labelled.arms
    hidden = metrics(without_labels(samples), recipe.eval, recipe.seed).arms[arm].stability
    drops = labelled.arms[arm].drop
    answers = answers_of(samples)
    return {
        "rows": labelled.questions,
        "clusters": labelled.clusters,
        "chance": round(chance, 3),
        "accuracy": _interval(labelled.arms[arm].conditions[CLEAN].accuracy),
        "cells": [
            {"cell": cell, "changed": _interval(hidden[cell].changed), "lost": _interval(drops[cell])}
            for cell in sorted(answers.cells)
        ],
        **correlations(answers, recipe.seed),
    }


def _interval(estimate: Any) -> list[float]:
    return [round(float(x), 4) for x in (estimate.value, estimate.low, estimate.high)]


def tables(results: Mapping[str, Any]) -> str:
    """Returns what the docs show: a table of cells and a sentence for each model."""
    parts = []
    for name, model in results["models"].items():
        parts.append(
            f"**{name}**: {model['rows']} rows in {model['clusters']} clusters, right as sent on "
            f"{_shown(model['accuracy'])} (chance {model['chance']:.3f}); {model['engine']}, {model['date']}.\n\n"
            "| noise | changed, without labels | lost, with labels | lost / changed |\n|---|---|---|---|\n"
            + "".join(
                f"| `{c['cell']}` | {_shown(c['changed'])} | {_shown(c['lost'])} | {_ratio(c)} |\n"
                for c in model["cells"]
            )
            + f"\nOver these {len(model['cells'])} cells the correlation of the two columns is "
            f"{_shown(model['pearson'])} (Pearson) and {_shown(model['spearman'])} (Spearman).\n"
        )
    return "\n".join(parts)


def _shown(interval: Sequence[float]) -> str:
    value, low, high = interval
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


def _ratio(cell: Mapping[str, Any]) -> str:
    changed, lost = cell["changed"][0], cell["lost"][0]
    return f"{lost / changed:.2f}" if changed else ""


def write(results: Mapping[str, Any]) -> None:
    """Writes the tables into the docs."""
    page = with_table(DOCS.read_text(encoding="utf-8"), BEGIN, END, tables(results))
    DOCS.write_text(page, encoding="utf-8")


def main() -> None:
    """Measures each model that is asked for, keeps the results of the others, and writes the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, action="append", help="one of them only; may be repeated")
    parser.add_argument("--limit", type=int, default=300)
    parser.add_argument("--engine", default="transformers")
    args = parser.parse_args()
    known = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {"models": {}}
    for name in args.model or MODELS:
        with tempfile.TemporaryDirectory() as folder:
            given = {"engine.kind": args.engine, "data.limit": args.limit, "output.dir": folder}
            known["models"][name] = {**dated(args.engine), **measure(name, given)}
        RESULTS.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    write(known)


if __name__ == "__main__":
    main()
