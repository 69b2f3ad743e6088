"""Detectors, gate and correctors without an answer asked: the tables of docs/repair.md on what is caught, and on speed.

    python benchmarks/repair.py --data-dir DATA [--part detectors] [--part surprise] [--part speed] [--part correctors]

Clean rows are the test sets of GSM8K, PIQA and ARC-Easy. Scales and thresholds come from one part of them, and what is
reported from the others; no noise takes part in either. Writes benchmarks/results/repair.json and the tables in the
docs. `surprise` and `correctors` ask the bundled model. DATA is the folder of `--data-dir` (docs/tasks.md).
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import os
import time
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from random import Random
from typing import Any

from rapidfuzz.distance import Levenshtein

from llmkit.engines import open_engine
from llmkit.perturb import Perturber
from llmkit.prompts import render
from llmkit.recipe.schema import DataSection, EngineSection, ModelSection
from llmkit.repair import CorrectorContext, chain_of
from llmkit.repair.detectors import DETECTORS
from llmkit.repair.gate import Doubt, Gate, Scale
from llmkit.seeds import derive
from llmkit.steps import Walk, drive
from llmkit.tasks import load as load_questions
from llmkit.tasks.text import without_options
from llmkit.types import Question, Reply, Request, Steps

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "repair.json"
DOCS = ROOT / "docs" / "repair.md"
SETS = ("gsm8k", "piqa", "arc_easy")
FIRING = (0.005, 0.025)
KINDS: dict[str, tuple[str, float | str | None]] = {
    "`ec`, paper": ("ec", "paper"),
    "`sc`, paper": ("sc", "paper"),
    "`woo`, paper": ("woo", "paper"),
    "`hw`, paper": ("hw", "paper"),
    "`uic`, paper": ("uic", "paper"),
    "`typing` .05": ("typing", 0.05),
    "`typing` .1": ("typing", 0.1),
    "`like:learner`": ("like:learner", "fitted"),
    "`like:typist`": ("like:typist", None),
    "`spelling`": ("spelling", None),
    "`ocr`": ("ocr", None),
    "`nlpaug:keyboard` *": ("nlpaug:keyboard", None),
    "`leet` *": ("leet", None),
    "`whitespace` *": ("whitespace", None),
    "`repeat` *": ("repeat", None),
    "`drop` *": ("drop", None),
}
"""Kinds of noise by their name in the tables. Those with a star took no part in making the detectors."""
FREE = tuple(name for name in DETECTORS if not DETECTORS[name].asks)
CHAINS = ("fold", "spell", "fold+spell", "model", "fold+spell+model")
CORRECTED = ("`ec`, paper", "`sc`, paper", "`woo`, paper", "`hw`, paper", "`typing` .1", "`like:learner`", "`spelling`")


@dataclass(frozen=True)
class Texts:
    """Clean texts of both halves, and noisy copies of the second (None where noise changed nothing)."""

    tuning: list[str]
    clean: list[str]
    noisy: dict[str, list[str | None]]


def questions(data_dir: str) -> list[Question]:
    """Returns all clean rows."""
    return [q for task in SETS for q in load_questions(DataSection(task=task, data_dir=data_dir), "test")]


@cache
def texts(data_dir: str) -> Texts:
    """Returns the clean texts (45 % and 55 % of the rows, by their ids) and the noisy copies."""
    rows = questions(data_dir)
    tuning = [q for q in rows if derive(20, "half", q.id) % 100 < 45]
    reported = [q for q in rows if derive(20, "half", q.id) % 100 >= 45]
    noisy: dict[str, list[str | None]] = {}
    for kind, (spec, rate) in KINDS.items():
        perturber = Perturber(spec, rate, seed=7)
        copies = [perturber.apply(without_options(q.text), q.id) for q in reported]
        noisy[kind] = [copy.text if copy.edits else None for copy in copies]
    return Texts([without_options(q.text) for q in tuning], [without_options(q.text) for q in reported], noisy)


def score(name: str, text: str) -> float:
    """Returns the score of a detector that asks no model."""
    return float(DETECTORS[name]().score_of(text))


def caught(tuning: Sequence[float], clean: Sequence[float], noisy: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Returns the share of each kind above the thresholds that fire on `FIRING` of the tuning texts, and the AUC.

    All are rarities or scores, whichever. A threshold is the least value that more than the allowed share of tuning
    texts do not exceed; a text fires above it.
    """
    ranked = sorted(tuning, reverse=True)
    thresholds = [ranked[int(rate * len(ranked))] for rate in FIRING]
    below = sorted(clean)

    def auc(values: Sequence[float]) -> float:
        places = ((bisect_left(below, v) + bisect_left(below, math.nextafter(v, math.inf))) / 2 for v in values)
        return sum(places) / (len(values) * len(below))

    return {
        "fires_on_clean": [round(_share(clean, t), 4) for t in thresholds],
        "kinds": {
            kind: {"rows": len(v), "auc": round(auc(v), 3), "caught": [round(_share(v, t), 3) for t in thresholds]}
            for kind, v in noisy.items()
        },
    }


def _share(values: Sequence[float], threshold: float) -> float:
    return sum(value > threshold for value in values) / len(values)


def detectors(data_dir: str) -> dict[str, Any]:
    """Measures each detector without a model, and the gate of all of them."""
    rows = texts(data_dir)
    scales = tuple(Scale.fitted(name, [score(name, text) for text in rows.tuning]) for name in FREE)
    gate = Gate(scales, math.inf)

    def rarity(text: str) -> float:
        doubt: Doubt = drive(gate.doubt(text), _no_model)
        return doubt.rarity

    measures = {**{name: partial(score, name) for name in FREE}, "gate": rarity}
    parts = {}
    for name, measure in measures.items():
        noisy = {kind: [measure(text) for text in copies if text] for kind, copies in rows.noisy.items()}
        parts[name] = caught([measure(t) for t in rows.tuning], [measure(t) for t in rows.clean], noisy)
    return {"tuning_rows": len(rows.tuning), "clean_rows": len(rows.clean), "detectors": parts}


def _no_model(_: Request) -> Reply:
    raise AssertionError("a detector without a model asked one")


def surprise(data_dir: str, limit: int) -> dict[str, Any]:
    """Measures `surprise` by the bundled model, alone and beside the detectors without one, on fewer rows."""
    rows, rng = texts(data_dir), Random(3)
    tuning = rng.sample(rows.tuning, 10 * limit)
    places = rng.sample(range(len(rows.clean)), 8 * limit)
    clean = [rows.clean[place] for place in places]
    noisy = {
        kind: [text for place in places if (text := rows.noisy[kind][place])][:limit]
        for kind in KINDS
        if not kind.endswith("*")
    }
    every = list(dict.fromkeys([*tuning, *clean, *(text for copies in noisy.values() for text in copies)]))
    started = time.perf_counter()
    scores = dict(zip(every, asked([DETECTORS["surprise"]().score(text) for text in every])[0], strict=True))
    seconds = time.perf_counter() - started
    names = (*FREE, "surprise")

    def score_of(name: str, text: str) -> float:
        return float(scores[text]) if name == "surprise" else score(name, text)

    scales = {name: Scale.fitted(name, [score_of(name, text) for text in tuning]) for name in names}

    def rarity(among: Sequence[str], text: str) -> float:
        return max(scales[name].rarity(score_of(name, text)) for name in among)

    parts = {}
    for label, among in {"surprise": ("surprise",), "gate without a model": FREE, "gate with surprise": names}.items():
        by_kind = {kind: [rarity(among, text) for text in copies] for kind, copies in noisy.items()}
        parts[label] = caught([rarity(among, t) for t in tuning], [rarity(among, t) for t in clean], by_kind)
    return {
        "tuning_rows": len(tuning),
        "clean_rows": len(clean),
        "detectors": parts,
        "ms": round(1000 * seconds / len(every), 1),
    }


def asked(steps: Iterable[Steps]) -> tuple[list[Any], list[int]]:
    """Runs generators of requests side by side on the bundled model; returns their results and the tokens of each."""
    engine = open_engine(ModelSection(path="smollm2-135m"), EngineSection(kind="transformers", dtype="float32"))
    walks = [Walk(each) for each in steps]
    tokens = [0] * len(walks)
    pending = {place: requests for place, walk in enumerate(walks) if (requests := walk.resume()) is not None}
    while pending:
        # The engine pads a batch to its longest text: texts of one length go together.
        waiting = sorted(pending.items(), key=lambda item: len(item[1][0].continuation or ""))
        pending = {}
        for first in range(0, len(waiting), 16):
            for place, (request,) in waiting[first : first + 16]:
                engine.submit(str(place), request)
            for key, reply in engine.drain():
                assert isinstance(reply, Reply), reply
                tokens[int(key)] += reply.usage.prompt + reply.usage.completion
                if (requests := walks[int(key)].resume([reply])) is not None:
                    pending[int(key)] = requests
    engine.close()
    return [walk.result for walk in walks], tokens


def speed(data_dir: str) -> dict[str, Any]:
    """Times the detectors without a model on texts of 200 words, and `spell` on GSM8K's questions; processor time."""
    started = time.process_time()
    for name in FREE:
        score(name, "hellо wrold")
    load_seconds = time.process_time() - started
    rows, rng = texts(data_dir), Random(1)
    milliseconds = {}
    for kind, copies in {"clean": rows.clean, **{k: rows.noisy[k] for k in CORRECTED}}.items():
        present, times = [text for text in copies if text], []
        for _ in range(400):
            words: list[str] = []
            while len(words) < 200:
                words += rng.choice(present).split()
            text = " ".join(words[:200])
            started = time.process_time()
            for name in FREE:
                score(name, text)
            times.append(1000 * (time.process_time() - started))
        times.sort()
        milliseconds[kind] = {"median": round(times[200], 2), "p95": round(times[380], 2)}
    chain, spelt = chain_of("spell"), load_questions(DataSection(task="gsm8k", data_dir=data_dir), "test")
    drive(chain.correct("hellp wrold"), _no_model)
    rates = []
    for _ in range(3):
        started = time.process_time()
        for question in spelt:
            drive(chain.correct(question.text), _no_model)
        rates.append(round(len(spelt) / (time.process_time() - started)))
    return {"load_seconds": round(load_seconds, 2), "milliseconds": milliseconds, "spell_questions_a_second": rates}


def symspell(text: str) -> Steps:
    """Corrects each word by itself with SymSpell's best guess at most two edits away, as its users do."""
    import re

    from symspellpy import Verbosity

    speller = _symspell()

    def best(match: re.Match[str]) -> str:
        return str(speller.lookup(match[0], Verbosity.TOP, 2, include_unknown=True, transfer_casing=True)[0].term)

    return re.sub(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*", best, text)
    yield


@cache
def _symspell() -> Any:
    from importlib.resources import files

    from symspellpy import SymSpell

    speller = SymSpell(max_dictionary_edit_distance=2, prefix_length=7)
    speller.load_dictionary(str(files("symspellpy") / "frequency_dictionary_en_82_765.txt"), 0, 1)
    return speller


def correctors(data_dir: str, limit: int, chains: Sequence[str]) -> dict[str, Any]:
    """Measures SymSpell and chains on the same texts, ungated and behind a gate that fires on .025 of clean text."""
    rows, rng = texts(data_dir), Random(5)
    scales = tuple(Scale.fitted(name, [score(name, text) for text in rows.tuning]) for name in FREE)
    doubts = sorted((drive(Gate(scales, math.inf).doubt(text), _no_model).rarity for text in rows.tuning), reverse=True)
    gate = Gate(scales, math.nextafter(doubts[int(0.025 * len(doubts))], math.inf))
    pairs: list[tuple[str, str, str]] = []
    places = rng.sample(range(len(rows.clean)), min(8 * limit, len(rows.clean)))
    for kind in CORRECTED:
        changed = [place for place in places if rows.noisy[kind][place]]
        pairs += [(kind, rows.clean[place], rows.noisy[kind][place] or "") for place in changed[:limit]]
    pairs += [("clean", rows.clean[place], rows.clean[place]) for place in places[: 5 * limit]]
    fires = [gate.fires(drive(gate.doubt(typed), _no_model)) for _, _, typed in pairs]
    instruction = render("rop/seeds-correction-v1").splitlines()[0]
    results = {}
    for name in ("symspell", *chains):
        steps: list[Steps]
        if name == "symspell":
            steps = [symspell(typed) for _, _, typed in pairs]
        else:
            chain = chain_of(name, CorrectorContext(instruction=instruction))
            steps = [chain.correct(typed) for _, _, typed in pairs]
        started = time.perf_counter()
        if "model" in name.split("+"):
            replies, tokens = asked(steps)
        else:
            drive(symspell("hellp") if name == "symspell" else chain.correct("hellp"), _no_model)
            started = time.perf_counter()
            replies, tokens = [drive(each, _no_model) for each in steps], [0] * len(pairs)
        milliseconds = 1000 * (time.perf_counter() - started) / len(pairs)
        written = [reply if isinstance(reply, str) else reply.text for reply in replies]
        gated = [new if fired else typed for new, fired, (_, _, typed) in zip(written, fires, pairs, strict=True)]
        gated_tokens = [count * fired for count, fired in zip(tokens, fires, strict=True)]
        results[name] = {"ms": round(milliseconds, 2), **_quality(pairs, written, tokens)}
        results[f"{name}, gated"] = {"ms": None, **_quality(pairs, gated, gated_tokens)}
    return {"rows": {kind: sum(k == kind for k, *_ in pairs) for kind in (*CORRECTED, "clean")}, "correctors": results}


def _quality(pairs: Sequence[tuple[str, str, str]], written: Sequence[str], tokens: Sequence[int]) -> dict[str, Any]:
    """Returns what corrections brought back, by kind: texts restored exactly, the share of word errors gone, CER before
    and after; of clean texts the share altered; and tokens a text."""
    by_kind: dict[str, list[tuple[str, str, str]]] = {}
    for (kind, meant, typed), new in zip(pairs, written, strict=True):
        by_kind.setdefault(kind, []).append((meant, typed, new))
    kinds = {}
    for kind, rows in by_kind.items():
        if kind == "clean":
            continue
        letters = sum(len(meant) for meant, _, _ in rows)
        before = sum(Levenshtein.distance(meant.split(), typed.split()) for meant, typed, _ in rows)
        after = sum(Levenshtein.distance(meant.split(), new.split()) for meant, _, new in rows)
        kinds[kind] = {
            "restored": round(sum(new == meant for meant, _, new in rows) / len(rows), 3),
            "word_errors_gone": round(1 - after / before, 3),
            "cer": [
                round(sum(Levenshtein.distance(meant, text) for meant, text in sides) / letters, 4)
                for sides in (((m, t) for m, t, _ in rows), ((m, n) for m, _, n in rows))
            ],
        }
    clean = by_kind["clean"]
    clean_tokens = [count for count, (kind, _, _) in zip(tokens, pairs, strict=True) if kind == "clean"]
    return {
        "kinds": kinds,
        "clean_altered": round(sum(new != typed for _, typed, new in clean) / len(clean), 4),
        "tokens_of_clean": round(sum(clean_tokens) / len(clean), 1),
        "tokens_of_noisy": round((sum(tokens) - sum(clean_tokens)) / (len(tokens) - len(clean)), 1),
    }


def main() -> None:
    """Measures the parts that are asked for and keeps the results of the others."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    makers = {
        "detectors": lambda a: detectors(a.data_dir),
        "surprise": lambda a: surprise(a.data_dir, a.limit or 60),
        "speed": lambda a: speed(a.data_dir),
        "correctors": lambda a: correctors(a.data_dir, a.limit or 300, CHAINS[:3]),
        "model": lambda a: correctors(a.data_dir, a.limit or 15, CHAINS),
    }
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--part", choices=makers, action="append")
    parser.add_argument("--limit", type=int, help="noisy rows of a kind, where a part does not take all")
    args = parser.parse_args()
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    for part in args.part or makers:
        load = os.getloadavg()[0]
        results[part] = {"date": f"{datetime.date.today():%d %B %Y}", "load": round(load, 1), **makers[part](args)}
        RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        print(json.dumps(results[part], indent=1), flush=True)


if __name__ == "__main__":
    main()
