"""Fits the profiles that come with llmkit, and measures how close operators come to what people type.

python benchmarks/noise.py profiles --data DIR      # writes llmkit/perturb/data/profiles
python benchmarks/noise.py table --data DIR [--peers multypo.jsonl ...]

DIR holds pairs, one JSON object a line: wikipedia.jsonl (Wikipedia's list of common misspellings, one correction each),
typos.jsonl (crates/typos-dict/assets/words.csv of crate-ci/typos, one correction each), and jfleg-dev.jsonl and
jfleg-test.jsonl (sentences of learners, JFLEG, with each word that is no real one corrected to the nearest word that
one of its four annotators wrote for it). None is part of llmkit.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

from noise_synthetic import profiles as synthetic_profiles

from llmkit.perturb.alignment import KINDS, PLACES, kind_of_pair
from llmkit.perturb.closeness import Pair, compare, shares_of
from llmkit.perturb.closeness_table import BASELINE, Row, table, word_pairs
from llmkit.perturb.observed import read_pairs
from llmkit.perturb.profile import SHIPPED, Profile, fit
from llmkit.seeds import derive

DATE = "2026-11-30"
OPERATORS = ("typing", "ec", "spelling", "keyboard", "swap", "delete", "insert", "substitute", "ocr", "nlpaug:spelling")
PROFILES = ("like:learner", "like:typist", "like:phone", "like:chat")
SOURCES = {
    "learner": (
        "wikipedia.jsonl",
        "Wikipedia:Lists of common misspellings; kinds half way to JFLEG dev; rates by length and text of JFLEG dev",
        "CC BY-SA 4.0",
    ),
    "typist": (
        "typos.jsonl",
        "crate-ci/typos, words.csv: what stays in code and its documentation",
        "MIT or Apache-2.0",
    ),
}


def write_profiles(data: Path) -> None:
    """Fits and writes the profiles, and those that are synthetic."""
    SHIPPED.mkdir(exist_ok=True)
    learners, others = (read_pairs(str(data / f"jfleg-{part}.jsonl")) for part in ("dev", "test"))
    left_out = word_pairs(others)
    for name, (file, source, licence) in SOURCES.items():
        observed = read_pairs(str(data / file))
        profile = fit(observed, "en", {"src": source, "lic": licence, "date": DATE})
        if name == "learner":
            of_learners = fit(learners, "en", {})
            profile = replace(
                profile, rate=of_learners.rate, spread=of_learners.spread, by_length=of_learners.by_length
            )
            profile = between_kinds(profile, word_pairs(observed), word_pairs(learners))
        rng = Random(7)
        drawn = [(word, typed) for word, _ in left_out if (typed := profile.misspell(word, rng))]
        near = compare(left_out, drawn)
        profile = replace(profile, about={**profile.about, "auc": near.auc, "tv": near.kinds, "on": "JFLEG"})
        (SHIPPED / f"{name}.json").write_text(profile.text(), encoding="utf-8")
        print(name, profile.about, flush=True)
    for name, profile in synthetic_profiles():
        (SHIPPED / f"{name}.json").write_text(profile.text(), encoding="utf-8")


def between_kinds(profile: Profile, one: Sequence[Pair], other: Sequence[Pair]) -> Profile:
    """Returns a profile whose draws, on the words of `other`, have the mean of the kinds of two corpora.

    Where two corpora differ in their kinds by more than a profile may from either, the middle is as near as can be.
    """
    kinds = [shares_of(kind_of_pair(*pair) for pair in pairs) for pairs in (one, other)]
    wanted = {kind: sum(shares.get(kind, 0.0) for shares in kinds) / 2 for kind in KINDS}
    words = [intended for intended, _ in other] * 10
    for _ in range(4):
        rng, channel = Random(7), profile.channel
        drawn = shares_of(kind_of_pair(word, typed) for word in words if (typed := profile.misspell(word, rng)))
        factors = {kind: wanted[kind] / max(drawn.get(kind, 0.0), 1e-3) for kind in KINDS}
        places = {f"{kind}.{where}": channel.places.get(f"{kind}.{where}", 1.0) for kind in KINDS for where in PLACES}
        places = {name: round(rate * factors[name.partition(".")[0]], 3) for name, rate in places.items()}
        numbers = [[shares[0], *(share * factors["more"] for share in shares[1:])] for shares in channel.numbers]
        numbers = [[round(share / sum(shares), 4) for share in shares] for shares in numbers]
        profile = replace(profile, channel=replace(channel, places=places, numbers=numbers))
    return profile


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
        rows = _print("jfleg-test.jsonl", data / "jfleg-test.jsonl", [*PROFILES, *OPERATORS, *peers])
        write_people({row.name: row.closeness.auc for row in rows if row.name in (*PROFILES, *OPERATORS, BASELINE)})


def write_people(auc: dict[str, float | None]) -> None:
    """Writes what `llmkit perturb --list` says of each operator."""
    measured = {
        "on": "misspellings of JFLEG test",
        "date": DATE,
        "auc": {name: round(a, 2) for name, a in auc.items() if a},
    }
    (SHIPPED.parent / "people.json").write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")


def _print(title: str, real: Path, others: list[str]) -> list[Row]:
    print(f"\n{title}\n\n| noise | pairs | AUC | kinds | places | growth |\n|---|---|---|---|---|---|")
    rows = []
    for row in table(str(real), others):
        rows.append(row)
        near = row.closeness
        name = row.name.replace(str(real.parent), "").split("/")[-1] if "/" in row.name else row.name
        print(
            f"| `{name}` | {near.pairs} | {near.auc} | {near.kinds} | {near.places} | {row.slope or '-'} |", flush=True
        )
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["profiles", "table"])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--peers", nargs="*", default=[])
    given = parser.parse_args()
    write_profiles(given.data) if given.what == "profiles" else print_tables(given.data, given.peers)
