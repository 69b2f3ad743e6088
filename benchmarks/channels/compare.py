"""Compares the tables, and other noise, with what the recognisers wrote for texts that no table saw.

PYTHONPATH=benchmarks python -m channels.compare asr.jsonl ocr.jsonl   # writes benchmarks/results/channels.json
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from channels.alignment import steps
from channels.distil import DATE, is_error, rows
from llmkit.perturb.closeness import told_apart
from llmkit.perturb.engine import Perturber
from llmkit.perturb.numerals import numbers

OTHERS = {
    "asr": ("hw", "spelling", "typing", "like:learner", "nlpaug:spelling"),
    "ocr": ("hw", "typing", "keyboard", "substitute", "nlpaug:ocr"),
}
RESULTS = Path(__file__).parents[1] / "results" / "channels.json"
SEEDS = (7, 8, 9)
KINDS = ("sub", "del", "ins")

Pair = tuple[str, str]
"""A text, and what was written for it."""


def errors(pairs: Sequence[Pair], with_marks: bool) -> dict[str, float]:
    """Returns the errors for each word: words replaced, lost and added, joined and cut ones among the replaced.

    Without `with_marks` capitals and marks around words are left aside, as is usual for speech.
    """
    counts: Counter[str] = Counter()
    words = 0
    for text, read in pairs:
        words += len(text.split())
        for step in steps(text.split(), read.split()):
            if step.old != step.new if with_marks else is_error(step):
                both = min(len(step.old), len(step.new))
                counts["sub"] += both
                counts["del"] += len(step.old) - both
                counts["ins"] += len(step.new) - both
    return {kind: round(counts[kind] / words, 4) for kind in KINDS} | {"wer": round(counts.total() / words, 4)}


def noisy(spec: str, texts: Sequence[str], rate: float | str, seed: int) -> list[Pair]:
    """Returns each text with a copy by an operator. Numbers are released, as a recogniser changes them, too."""
    perturber = Perturber(spec, rate=rate, seed=seed, release=("numbers",))
    return [(text, perturber.apply(text, str(number)).text) for number, text in enumerate(texts)]


def closeness(real: Sequence[Pair], other: Sequence[Pair]) -> tuple[int, float]:
    """Returns how many texts both changed, and how well a classifier distinguishes what they made of those."""
    both = [(one, two) for one, two in zip(real, other, strict=True) if one[0] != one[1] and two[0] != two[1]]
    return len(both), told_apart([one for one, _ in both], [two for _, two in both])


def numbers_changed(pairs: Sequence[Pair]) -> dict[str, int]:
    """Counts texts with numbers, and those in which a number was lost or added: what the checks reject."""
    with_numbers = [pair for pair in pairs if numbers(pair[0], True)]
    return {
        "texts": len(with_numbers),
        "changed": sum(numbers(text, True) != numbers(read, True) for text, read in with_numbers),
    }


def compared(name: str, path: Path) -> dict[str, Any]:
    """Returns all that is measured of one recogniser."""
    kept, lost = rows(path, held_out=True)
    real = [(row["text"], row["read"]) for row in kept]
    texts = [text for text, _ in real]
    with_marks = name == "ocr"
    real_errors = errors(real, with_marks)
    found: dict[str, Any] = {
        "texts": len(real),
        "failed": lost,
        "numbers": numbers_changed(real),
        "real": real_errors,
        "noise": {},
    }
    share = sum(text != read for text, read in real) / len(real)
    found["changed"] = round(share, 4)
    rate = changed_words(real)
    for spec in (name, *OTHERS[name]):
        measured = []
        for seed in SEEDS if spec == name else SEEDS[:1]:
            made = noisy(spec, texts, "fitted" if spec == name else rate, seed)
            count, auc = closeness(real, made)
            measured.append((count, auc, errors(made, with_marks), sum(text != read for text, read in made)))
        found["noise"][spec] = {
            "pairs": measured[0][0],
            "auc": round(sum(auc for _, auc, *_ in measured) / len(measured), 4),
            **measured[0][2],
            "changed": round(measured[0][3] / len(texts), 4),
        }
    return found


def changed_words(pairs: Sequence[Pair]) -> float:
    """Returns the share of words of the texts that are not written as they were."""
    changed = sum(
        sum(len(step.old) for step in steps(text.split(), read.split()) if step.old != step.new) for text, read in pairs
    )
    return round(changed / sum(len(text.split()) for text, _ in pairs), 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("asr", type=Path)
    parser.add_argument("ocr", type=Path)
    arguments = parser.parse_args()
    found = {"date": DATE, "asr": compared("asr", arguments.asr), "ocr": compared("ocr", arguments.ocr)}
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
