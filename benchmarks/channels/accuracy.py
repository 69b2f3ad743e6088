"""Compares what a model loses by the noise of the tables with what it loses by what the recognisers really wrote.

PYTHONPATH=benchmarks python -m channels.accuracy --data DIR asr.jsonl ocr.jsonl   # goes on where it was stopped

The bundled model answers ARC-Easy's questions that no table saw, by likelihood: as sent, as the recogniser wrote them,
and as a copy by the operator. Options stay as they are. Writes benchmarks/results/channels_accuracy.json and
the table in docs/noise.md.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from doc_tables import dated, with_table

from channels.distil import rows
from llmkit import evaluate
from llmkit.perturb import Perturber
from llmkit.recipe import load
from llmkit.recipe.schema import DataSection
from llmkit.tasks import load as load_questions
from llmkit.tasks.text import without_options
from llmkit.types import Question

MARGIN = 0.03
"""Stated beforehand: the losses are equivalent if both one-sided tests reject a difference of 3 points."""
LEVEL = 0.05  # of each of the two tests
LEAST = 100  # questions, below which nothing is concluded: a t test of a few answers is no test
SEED = 7
TABLES = ("asr", "ocr")
RESULTS = Path(__file__).parents[1] / "results" / "channels_accuracy.json"
PAGE = Path(__file__).parents[2] / "docs" / "noise.md"
BEGIN, END = "<!-- accuracy: written by benchmarks/channels/accuracy.py -->", "<!-- end of accuracy -->"


@dataclass(frozen=True)
class Wordings:
    """One question, as the recogniser wrote it, and as the table does."""

    question: Question
    real: str
    drawn: str


def wordings(name: str, path: Path, questions: Sequence[Question]) -> list[Wordings]:
    """Returns the questions that are held out and that a recogniser read whole and at all."""
    read = {row["text"]: row["read"] for row in rows(path, held_out=True)[0]}
    operator = Perturber(name, rate="fitted", seed=SEED, release=("numbers",))
    found = []
    for question in questions:
        text = " ".join(without_options(question.text).split())
        if text in read:
            found.append(Wordings(question, read[text], operator.apply(text, question.id).text))
    return found


def answers(asked: Mapping[str, Sequence[Wordings]], folder: Path) -> dict[tuple[str, str], bool]:
    """Asks the bundled model, and returns whether it is right, by the question's id and the name of its wording."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "rows.jsonl"
    lines = {}  # a question that both recognisers read is asked as sent once
    for table, found in asked.items():
        for one in found:
            texts = {
                "clean": without_options(one.question.text),
                f"{table}-real": one.real,
                f"{table}-drawn": one.drawn,
            }
            for name, text in texts.items():
                row = {"id": f"{one.question.id} {name}", "question": text, "answer": one.question.gold}
                lines[row["id"]] = json.dumps(row | {"options": list(one.question.options)})
    path.write_text("\n".join([*lines.values(), ""]), encoding="utf-8")
    keys: dict[str, Any] = {
        "data.path": str(path),
        "data.kind": "choice",
        "data.id": "id",
        "data.options": "options",
        "data.split": "all",
        "perturb.conditions": [],
        "rop.arms": ["stand"],
        "eval.arms": ["stand"],
        "eval.answer": "likelihood",
        "eval.interval.draws": 1000,
        "engine.kind": "transformers",
        "engine.dtype": "float32",
        "output.dir": str(folder),
    }
    outcomes = [sample.outcome for sample in evaluate.run(load("base/smollm2", keys), "eval", quiet=True).samples]
    right = {}
    for outcome in outcomes:
        question, _, name = outcome.question_id.rpartition(" ")
        right[question, name] = bool(outcome.correct)
    return right


def compared(table: str, asked: Sequence[Wordings], right: Mapping[tuple[str, str], bool]) -> dict[str, Any]:
    """Returns the accuracies, and the two one-sided tests of the difference of the two losses."""
    clean, real, drawn = (
        np.array([right[one.question.id, name] for one in asked], float)
        for name in ("clean", f"{table}-real", f"{table}-drawn")
    )
    return {
        "questions": len(asked),
        "clean": round(float(clean.mean()), 4),
        "real": round(float(real.mean()), 4),
        "table": round(float(drawn.mean()), 4),
        **equivalence(real - drawn),
    }


def equivalence(differences: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Computes two one-sided t tests (Schuirmann 1987) of the mean of paired differences, (Q,), against `MARGIN`.

    `difference` is what the table costs more than the recogniser, with the interval that has both tests in it. Under
    `LEAST` questions, and where all differences are the same, nothing is concluded.
    """
    from scipy.stats import t, ttest_1samp

    mean, count = float(differences.mean()), len(differences)
    if count < 2 or not differences.std():
        return {"difference": [round(mean, 4), None, None], "p": None, "verdict": "undecided"}
    p = max(
        float(ttest_1samp(differences, -MARGIN, alternative="greater").pvalue),
        float(ttest_1samp(differences, MARGIN, alternative="less").pvalue),
    )
    half = float(t.ppf(1 - LEVEL, count - 1) * differences.std(ddof=1) / np.sqrt(count))
    low, high = mean - half, mean + half
    if count < LEAST:
        verdict = "undecided"
    elif p < LEVEL:
        verdict = "equivalent"
    else:
        verdict = "different" if low > MARGIN or high < -MARGIN else "undecided"
    return {"difference": [round(value, 4) for value in (mean, low, high)], "p": round(p, 4), "verdict": verdict}


def table(results: Mapping[str, Any]) -> str:
    """Returns the Markdown of the docs."""
    lines = [
        "| | questions | as sent | real channel | table | table costs more by [90 %] | larger p | within 3 points |",
        "|---|---:|---:|---:|---:|---|---:|---|",
    ]
    for name in TABLES:
        if row := results.get(name):
            mean, low, high = row["difference"]
            difference = f"{mean:+.3f}" if low is None else f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]"
            p = "-" if row["p"] is None else f"{row['p']:.3f}"
            accuracies = " | ".join(f"{row[key]:.3f}" for key in ("clean", "real", "table"))
            lines.append(f"| `{name}` | {row['questions']} | {accuracies} | {difference} | {p} | {row['verdict']} |")
    return "\n".join(lines)


def main() -> None:
    """Asks, measures and writes the results of both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--runs", type=Path, default=Path("runs/channels"))
    parser.add_argument("--limit", type=int, help="questions")
    parser.add_argument("asr", type=Path)
    parser.add_argument("ocr", type=Path)
    arguments = parser.parse_args()
    questions = list(load_questions(DataSection(task="arc_easy", data_dir=arguments.data), "train"))
    asked = {name: wordings(name, getattr(arguments, name), questions)[: arguments.limit] for name in TABLES}
    right = answers(asked, arguments.runs)
    results: dict[str, Any] = dated("transformers") | {"margin": MARGIN, "seed": SEED}
    results |= {name: compared(name, found, right) for name, found in asked.items()}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8"), BEGIN, END, table(results)), encoding="utf-8")
    print(table(results))


if __name__ == "__main__":
    main()
