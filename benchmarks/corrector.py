"""Errors that the correctors leave, by kind of noise: those that adapters/corrector-en was trained on, and others.

    python benchmarks/corrector.py --texts 40 --gsm8k PATH/test.jsonl -o corrector.json

The texts are problems from templates that training never saw (the test split of `arithmetic`), and questions of GSM8K.
CER is the Levenshtein distance to the clean text in shares of its length.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

from rapidfuzz.distance import Levenshtein

from llmkit.engines import open_engine
from llmkit.perturb import Perturber
from llmkit.recipe.schema import DataSection, EngineSection, ModelSection
from llmkit.repair import CorrectorContext, chain_of
from llmkit.steps import Walk
from llmkit.tasks import load

TRAINED = ("ec", "typing", "like:learner", "spelling", "insert", "delete")
UNSEEN = ("keyboard", "substitute", "swap", "like:typist", "repeat", "ocr")
RATE = 0.2
SEED = 2026  # of no training


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adapter", default="corrector-en")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--texts", type=int, default=40, help="texts of each set under each kind of noise")
    parser.add_argument("--gsm8k", help="questions of GSM8K, as JSON lines")
    parser.add_argument("--kinds", nargs="*", default=[*TRAINED, *UNSEEN])
    parser.add_argument("-o", "--output")
    given = parser.parse_args()

    data = DataSection(task="arithmetic", levels=(1, 2, 3), size=900)
    sets = {"arithmetic": [question.text for question in load(data, "test", SEED)][: given.texts]}
    if given.gsm8k:
        lines = Path(given.gsm8k).read_text(encoding="utf-8").splitlines()
        sets["gsm8k"] = [json.loads(line)["question"] for line in lines[: given.texts]]
    model = ModelSection(path="smollm2-135m", adapter=given.adapter)
    with closing(open_engine(model, EngineSection(kind=given.engine, max_model_len=2048))) as engine:
        rows = [_measured(engine, name, kind, texts) for name, texts in sets.items() for kind in [None, *given.kinds]]
    if given.output:
        Path(given.output).write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def _measured(engine, name: str, kind: str | None, texts: list[str]) -> dict[str, object]:
    """Corrects one set under one kind of noise, None for the clean text, by each chain."""
    perturber = Perturber(kind, RATE, SEED) if kind else None
    noisy = [perturber.apply(text, str(i)).text if perturber else text for i, text in enumerate(texts)]
    row: dict[str, object] = {"set": name, "kind": kind or "clean", "trained": kind in TRAINED, "texts": len(texts)}
    row["noisy"] = _cer(texts, noisy)
    for chain in ("spell", "adapter"):
        corrected, usage = _corrected(engine, chain, noisy)
        row[chain] = _cer(texts, corrected)
        row[f"{chain}_altered"] = sum(a != b for a, b in zip(noisy, corrected, strict=True)) / len(texts)
        if chain == "adapter":
            row |= {"calls": usage["calls"], "prompt": usage["prompt"], "generated": usage["generated"]}
    print(json.dumps(row), file=sys.stderr, flush=True)
    return row


def _corrected(engine, chain: str, texts: list[str]) -> tuple[list[str], Counter[str]]:
    """Corrects all texts, with the requests of all in one batch."""
    walks = [Walk(chain_of(chain, CorrectorContext()).correct(text)) for text in texts]
    pending = {i: requests for i, walk in enumerate(walks) if (requests := walk.resume())}
    usage: Counter[str] = Counter()
    while pending:
        for i, requests in pending.items():
            for place, request in enumerate(requests):
                engine.submit((i, place), request)
        replies = dict(engine.drain())
        for reply in replies.values():
            usage.update(calls=1, prompt=reply.usage.prompt, generated=reply.usage.completion)
        pending = {
            i: more
            for i, requests in pending.items()
            if (more := walks[i].resume([replies[i, place] for place in range(len(requests))]))
        }
    return [walk.result.text for walk in walks], usage


def _cer(clean: list[str], texts: list[str]) -> float:
    errors = sum(Levenshtein.distance(a, b) for a, b in zip(clean, texts, strict=True))
    return round(errors / sum(map(len, clean)), 5)


if __name__ == "__main__":
    main()
