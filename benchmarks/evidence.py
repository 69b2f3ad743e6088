"""What a gated repair wins and costs: the tables of "Evidence" in docs/repair.md.

    python benchmarks/evidence.py --data-dir DATA [--only NAME] [--limit 200] [--engine vllm]

A repair is calibrated on clean training rows for the bundled model; the adapter `demo-loop` has its own. Both are then
measured under nine noises on test questions, ungated and gated, and their harm is counted on every row of clean test
sets. Only rows that a repair changes are asked there, because the others get the same prompt. Writes
benchmarks/results/evidence.json and the tables in the docs. DATA is the folder of `--data-dir` (docs/tasks.md).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from doc_tables import dated, with_table
from stability import MODELS as STABILITY

from llmkit import evaluate
from llmkit.measure import learn_then_test as ltt
from llmkit.measure.results import Metrics
from llmkit.recipe import load
from llmkit.repair import Repair
from llmkit.resources import repair_file
from llmkit.tasks import load as load_questions
from llmkit.tasks.text import without_options
from llmkit.types import CLEAN, Question

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "evidence.json"
DOCS = ROOT / "docs" / "repair.md"
BEGIN, END = "<!-- evidence: written by benchmarks/evidence.py -->", "<!-- end of evidence -->"
NOISE: dict[tuple[str, ...], Any] = {
    ("ec", "sc", "woo", "hw", "uic"): "paper",
    ("typing", "keyboard"): [0.05, 0.1],
}
"""The noises of the tables, with their strength."""
SEEN = "ec,sc,typing"
"""Kinds that a calibration sees: the noisy copies by which it chooses a chain."""
MODELS: dict[str, dict[str, Any]] = {
    "bundled model, ARC-Easy": {
        "recipe": {"data.task": "arc_easy", "eval.answer": "likelihood"},
        "rows": ("arc_easy", "train"),
        "harm": 0.005,
        "clean": ["arc_easy", "piqa"],
    },
    "bundled model, PIQA": {
        "recipe": {"data.task": "piqa", "eval.answer": "likelihood"},
        "repair": "bundled model, ARC-Easy",
        "clean": [],
    },
    "adapter `demo-loop`, arithmetic": {
        "recipe": {
            "model.adapter": "demo-loop",
            "data.task": "arithmetic",
            "data.levels": [1],
            "rop.max_tokens": 96,
        },
        "repair": "demo-loop",
        "clean": ["gsm8k"],
    },
    "adapter `tickets`, tickets": {
        "recipe": STABILITY["tickets"],
        "repair": "demo-loop",
        "clean": [],
    },
}


def keys(name: str, engine: str, data_dir: str, folder: Path) -> dict[str, Any]:
    """Returns the recipe keys of one model."""
    given = {"engine.kind": engine, "engine.dtype": "float32", "data.data_dir": data_dir, "output.dir": str(folder)}
    return {**MODELS[name]["recipe"], **given, "eval.interval.draws": 1000}


def questions(task: str, split: str, data_dir: str) -> list[Question]:
    """Returns the questions of a set."""
    recipe = load("base/smollm2", {"data.task": task, "data.split": split, "data.data_dir": data_dir}).recipe
    return list(load_questions(recipe.data, seed=recipe.seed))


def write_rows(rows: Sequence[Question], path: Path) -> Path:
    """Writes questions as rows of a user's own file."""
    lines = [
        {"id": q.id, "question": without_options(q.text), "answer": q.gold, "options": list(q.options) or None}
        for q in rows
    ]
    path.write_text("".join(json.dumps({k: v for k, v in line.items() if v}) + "\n" for line in lines))
    return path


def own_rows(rows: Sequence[Question], path: Path) -> dict[str, Any]:
    """Writes questions, and returns the recipe keys that read them as a user's own file."""
    kind = rows[0].kind
    options = {"data.options": "options"} if rows[0].options else {}
    return {
        "data.task": None,
        "data.path": str(write_rows(rows, path)),
        "data.kind": kind,
        "data.id": "id",
        "data.split": "all",
        "data.levels": [1],
        **options,
    }


def calibrated(name: str, engine: str, data_dir: str, folder: Path) -> tuple[Path, str]:
    """Runs `llmkit calibrate` on clean training rows; returns the repair.json and what the command printed."""
    model = MODELS[name]
    rows = questions(*model["rows"], data_dir)
    given = {**keys(name, engine, data_dir, folder), **own_rows(rows, folder / "rows.jsonl")}
    recipe = folder / "calibrate.yaml"
    sets = [f"--set={key}={json.dumps(value)}" for key, value in given.items() if value is not None]
    recipe.write_text("version: 1\nextends: base/smollm2\n")
    path = folder / "repair.json"
    command = [sys.executable, "-m", "llmkit", "calibrate", str(recipe), "--clean", str(folder / "rows.jsonl")]
    command += ["--harm", str(model["harm"]), "--conditions", SEEN, "-o", str(path), *sets]
    done = subprocess.run(command, capture_output=True, text=True)
    print(done.stderr[-2000:], done.stdout, file=sys.stderr)
    if done.returncode:
        raise SystemExit(f"{name}: calibration ended with {done.returncode}")
    return path, done.stdout.partition("\n\nrepair:")[0]


def harm_on(task: str, name: str, repair: Path, engine: str, data_dir: str, folder: Path) -> dict[str, Any]:
    """Counts the harm of a repair, gated and not, on all clean test rows of a set.

    Asked are the rows whose text either changes; `worse` were right as sent and are wrong repaired.
    """
    gated, chain = Repair.load(repair), Repair.load(repair)
    chain.gate = None
    rows = questions(task, "test", data_dir)
    asked = [without_options(q.text) for q in rows]
    by_gate = {q.id: r for q, text in zip(rows, asked, strict=True) if (r := gated(text, ())).action != "passed"}
    touched = {
        "repair": {q.id for q, text in zip(rows, asked, strict=True) if gated(text).text != text},
        "ungated": {q.id for q, text in zip(rows, asked, strict=True) if chain(text).text != text},
    }
    changed = [q for q in rows if q.id in touched["repair"] | touched["ungated"]]
    harm: dict[str, Any] = {"set": task, "rows": len(rows), "fired": len(by_gate)}
    by_arm: dict[str, dict[str, Any]] = {}
    if changed:
        given = {**keys(name, engine, data_dir, folder), **own_rows(changed, folder / f"{task}.jsonl")}
        chain_name = gated.document.chain
        given |= {"rop.repair": str(repair), "eval.arms": ["stand", chain_name], "perturb.conditions": []}
        if "adapter" in name or task == "gsm8k":
            given |= {"eval.answer": "generate"}
        for sample in evaluate.run(load("base/smollm2", given), "eval", quiet=True).samples:
            outcome = sample.outcome
            if outcome.condition == CLEAN:
                by_arm.setdefault(outcome.arm, {})[outcome.question_id] = outcome
        stand = by_arm["stand"]
    for label, arm in (("ungated", gated.document.chain), ("repair", "repair")):
        answers = {q: by_arm[arm][q] for q in touched[label]} if touched[label] else {}
        differs = sum(stand[q].parsed != a.parsed for q, a in answers.items())
        worse = sum(bool(stand[q].correct) and not a.correct for q, a in answers.items())
        better = sum(not stand[q].correct and bool(a.correct) for q, a in answers.items())
        harm[label] = {
            "touched": len(touched[label]),
            "answers_changed": differs,
            "worse": worse,
            "better": better,
            "harm_at_most": round(ltt.upper(worse, len(rows), 0.95), 5),
        }
    return harm


def under_noise(name: str, repair: Path, engine: str, data_dir: str, folder: Path, limit: int) -> dict[str, Any]:
    """Measures the ungated chain and the gated repair beside the question as it is, clean and under each noise."""
    chain = Repair.load(repair).document.chain
    cells: dict[str, dict[str, Any]] = {}
    for conditions, rate in NOISE.items():
        given = {
            **keys(name, engine, data_dir, folder),
            "rop.repair": str(repair),
            "eval.arms": ["stand", chain],
            "perturb.conditions": list(conditions),
            "perturb.rate": rate,
            "data.limit": limit,
        }
        metrics = evaluate.run(load("base/smollm2", given), "eval").metrics
        assert metrics is not None
        cells |= {condition: cell(metrics, condition, chain) for condition in metrics.arms["stand"].conditions}
    cells.pop("noisy")
    return {"questions": metrics.questions, "clusters": metrics.clusters, "chain": chain, "cells": list(cells.values())}


def cell(metrics: Metrics, condition: str, chain: str) -> dict[str, Any]:
    """Returns accuracy, gains and tokens an answer of the three arms under one condition."""
    row: dict[str, Any] = {"condition": condition}
    for label, arm in (("stand", "stand"), ("ungated", chain), ("gated", "repair")):
        result = metrics.arms[arm].conditions[condition]
        if result.accuracy is None:
            continue
        row[label] = _ends(result.accuracy)
        row[f"{label}_tokens"] = round((result.tokens.prompt + result.tokens.completion) / result.outcomes, 1)
        if condition in metrics.arms[arm].gain:
            row[f"{label}_gain"] = _ends(metrics.arms[arm].gain[condition])
    return row


def _ends(interval: Any) -> list[float]:
    return [round(float(x), 4) for x in (interval.value, interval.low, interval.high)]


def tables(results: Mapping[str, Any]) -> str:
    """Returns the Markdown of the docs: for each model its calibration, its harm and its gains."""
    parts = []
    for name, model in results["models"].items():
        noisy = model["noise"]
        lines = [f"### {name[0].upper()}{name[1:]}", ""]
        if said := model.get("calibration"):
            lines += ["```", said.strip(), "```", ""]
        lines += [
            f"{noisy['questions']} questions in {noisy['clusters']} clusters, chain `{noisy['chain']}`"
            f"{'' if said else ', the repair of ' + _plainly(MODELS[name]['repair'])}; "
            f"{model['engine']}, {model['date']}.",
            "",
            "| noise | as sent | ungated gain | gated gain | tokens: as sent, ungated, gated |",
            "|---|---|---|---|---|",
        ]
        for cell in noisy["cells"]:
            gains = [
                _signed(cell[key]) if key in cell else _change(cell, key) for key in ("ungated_gain", "gated_gain")
            ]
            tokens = ", ".join(f"{cell[f'{label}_tokens']:.0f}" for label in ("stand", "ungated", "gated"))
            kind = cell["condition"].partition("@")[0]
            noise = f"`{cell['condition']}`{'' if kind in (CLEAN, *SEEN.split(',')) else ' (unseen)'}"
            lines.append(f"| {noise} | {_plain(cell['stand'])} | {gains[0]} | {gains[1]} | {tokens} |")
        if model["harm"]:
            lines += [
                "",
                "| clean set | rows | gate fires | texts changed: ungated, gated "
                "| answers worse (better): ungated, gated "
                "| gated harm at most, 95 % |",
                "|---|---:|---:|---|---|---:|",
            ]
        for harm in model["harm"]:
            both = harm["ungated"], harm["repair"]
            touched = ", ".join(str(one["touched"]) for one in both)
            worse = ", ".join(f"{one['worse']} ({one['better']})" for one in both)
            lines.append(
                f"| {harm['set']} | {harm['rows']:,} | {harm['fired']} | {touched} | {worse} "
                f"| {both[1]['harm_at_most']:.4f} |"
            )
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _plainly(name: str) -> str:
    """Returns a repair's name as the docs write it."""
    return name if name in MODELS else f"`{name}`"


def _plain(interval: Sequence[float]) -> str:
    value, low, high = interval
    return f"{value:.3f} [{low:.2f}, {high:.2f}]"


def _signed(interval: Sequence[float]) -> str:
    value, low, high = interval
    return f"{value:+.3f} [{low:+.2f}, {high:+.2f}]"


def _change(cell: Mapping[str, Any], key: str) -> str:
    """Returns the change of accuracy on clean questions, which is no gain from noise."""
    return f"{cell[key.removesuffix('_gain')][0] - cell['stand'][0]:+.3f}"


def write(results: Mapping[str, Any]) -> None:
    """Writes the tables into the docs."""
    page = with_table(DOCS.read_text(encoding="utf-8"), BEGIN, END, tables(results))
    DOCS.write_text(page, encoding="utf-8")


def main() -> None:
    """Measures each model that is asked for, keeps the results of the others, and writes the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--only", choices=MODELS, action="append", help="one model only; may be repeated")
    parser.add_argument("--limit", type=int, default=200)
    parser.add_argument("--engine", default="vllm")
    parser.add_argument("--repairs", type=Path, default=Path("runs/evidence"), help="where the repair.json files go")
    args = parser.parse_args()
    known = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {"models": {}}
    for name in args.only or MODELS:
        given = MODELS[name].get("repair", name)
        kept = args.repairs / f"{list(MODELS).index(given)}.json" if given in MODELS else repair_file(given)
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            asked: dict[str, Any] = dict(dated(args.engine))
            if given == name:
                path, asked["calibration"] = calibrated(name, args.engine, args.data_dir, folder)
                kept.parent.mkdir(parents=True, exist_ok=True)
                kept.write_bytes(path.read_bytes())
            sets = MODELS[name]["clean"]
            asked["harm"] = [harm_on(task, name, kept, args.engine, args.data_dir, folder) for task in sets]
            asked["noise"] = under_noise(name, kept, args.engine, args.data_dir, folder, args.limit)
        known["models"][name] = asked
        RESULTS.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    write(known)


if __name__ == "__main__":
    main()
