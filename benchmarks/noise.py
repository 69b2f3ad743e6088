"""Fits the profiles that come with llmkit, and measures how close operators come to what people type.

python benchmarks/noise.py profiles --data DIR      # writes llmkit/perturb/data/profiles
python benchmarks/noise.py table --data DIR [--peers multypo.jsonl ...]

DIR holds pairs, one JSON object a line: wikipedia.jsonl (Wikipedia's list of common misspellings, one correction each),
typos.jsonl (crates/typos-dict/assets/words.csv of crate-ci/typos, one correction each) and jfleg.jsonl (sentences of
learners, JFLEG, with their misspellings corrected as at least one of its four annotators did). None is part of llmkit.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from random import Random

from llmkit.perturb.closeness import compare
from llmkit.perturb.closeness_table import table, word_pairs
from llmkit.perturb.observed import read_pairs
from llmkit.perturb.profile import SHIPPED, fit
from llmkit.seeds import derive

DATE = "2026-11-30"
OPERATORS = ("typing", "ec", "spelling", "keyboard", "swap", "delete", "insert", "substitute", "ocr", "nlpaug:spelling")
SOURCES = {
    "learner": (
        "wikipedia.jsonl",
        "Wikipedia:Lists of common misspellings; rates by length and text measured on JFLEG",
        "CC BY-SA 4.0",
    ),
    "typist": (
        "typos.jsonl",
        "crate-ci/typos, words.csv: what stays in code and its documentation",
        "MIT or Apache-2.0",
    ),
}


def write_profiles(data: Path) -> None:
    """Fits and writes the profiles."""
    learners = read_pairs(str(data / "jfleg.jsonl"))
    learner_pairs = word_pairs(learners)
    for name, (file, source, licence) in SOURCES.items():
        observed = read_pairs(str(data / file))
        profile = fit(observed, "en", {"src": source, "lic": licence, "date": DATE})
        if name == "learner":
            of_learners = fit(learners, "en", {})
            profile = replace(
                profile, rate=of_learners.rate, spread=of_learners.spread, by_length=of_learners.by_length
            )
        rng = Random(7)
        drawn = [(word, typed) for word, _ in learner_pairs if (typed := profile.misspell(word, rng))]
        near = compare(learner_pairs, drawn)
        profile = replace(profile, about={**profile.about, "auc": near.auc, "tv": near.kinds, "on": "JFLEG"})
        SHIPPED.mkdir(exist_ok=True)
        (SHIPPED / f"{name}.json").write_text(profile.text(), encoding="utf-8")
        print(name, profile.about, flush=True)


def half(data: Path, file: str, of_fit: bool, folder: Path) -> Path:
    """Writes the pairs of one half of the intended words, as `fit` parts them."""
    rows = [line for line in (data / file).read_text(encoding="utf-8").splitlines() if line]
    kept = [line for line in rows if (derive(0, "half", json.loads(line)["intended"].lower()) % 2 == 0) == of_fit]
    path = folder / f"{Path(file).stem}-{'fitted' if of_fit else 'left-out'}.jsonl"
    path.write_text("\n".join(kept) + "\n", encoding="utf-8")
    return path


def print_tables(data: Path, peers: list[str]) -> None:
    """Prints the tables of docs/noise.md: within a corpus, and across corpora."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file in ("wikipedia.jsonl", "typos.jsonl"):
            fitted = fit(read_pairs(str(half(data, file, True, folder))), "en", {})
            own = folder / f"{Path(file).stem}.json"
            own.write_text(fitted.text(), encoding="utf-8")
            _print(
                f"{file}, words left out", half(data, file, False, folder), [f"like:{own}", "typing", "ec", "spelling"]
            )
        _print("jfleg.jsonl", data / "jfleg.jsonl", ["like:learner", "like:typist", *OPERATORS, *peers])


def _print(title: str, real: Path, others: list[str]) -> None:
    print(f"\n{title}\n\n| noise | pairs | AUC | kinds | places | growth |\n|---|---|---|---|---|---|")
    for row in table(str(real), others):
        near = row.closeness
        name = row.name.replace(str(real.parent), "").split("/")[-1] if "/" in row.name else row.name
        print(
            f"| `{name}` | {near.pairs} | {near.auc} | {near.kinds} | {near.places} | {row.slope or '-'} |", flush=True
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["profiles", "table"])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--peers", nargs="*", default=[])
    given = parser.parse_args()
    write_profiles(given.data) if given.what == "profiles" else print_tables(given.data, given.peers)
