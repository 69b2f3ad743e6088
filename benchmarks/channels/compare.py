"""Compares the tables, and other noise, with what the recognisers wrote for texts that no table saw.

PYTHONPATH=benchmarks python -m channels.compare asr.jsonl ocr.jsonl

Writes benchmarks/results/channels.json and the table in docs/noise.md.
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
from llmkit.perturb.wordbook import in_words

OTHERS = {
    "asr": ("hw", "spelling", "typing", "like:learner", "nlpaug:spelling"),
    "ocr": ("hw", "typing", "keyboard", "substitute", "nlpaug:ocr"),
}
RESULTS = Path(__file__).parents[1] / "results" / "channels.json"
PAGE = Path(__file__).parents[2] / "docs" / "noise.md"
BEGIN, END = "<!-- channels: written by benchmarks/channels/compare.py -->\n", "<!-- end of channels -->\n"
SEEDS = (7, 8, 9)
_MOST_COPIES = 40
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


def changed_copies(spec: str, texts: Sequence[str], rate: float | str, seed: int) -> list[Pair]:
    """Does what `noisy` does, and draws a copy of a text again where it came out without an error."""
    perturber = Perturber(spec, rate=rate, seed=seed, release=("numbers",))
    pairs = []
    for number, text in enumerate(texts):
        copies = (perturber.apply(text, str(number), copy=copy).text for copy in range(_MOST_COPIES))
        pairs.append((text, next((copy for copy in copies if copy != text), text)))
    return pairs


def told(real: Sequence[Pair], other: Sequence[Pair]) -> tuple[int, float]:
    """Returns the number of texts that both changed, and the AUC of a classifier of what they made of them."""
    both = [(one, two) for one, two in zip(real, other, strict=True) if two[0] != two[1]]
    return len(both), told_apart([one for one, _ in both], [two for _, two in both])


def numbers_changed(pairs: Sequence[Pair]) -> dict[str, int]:
    """Counts texts with numbers, those whose numbers are not written as they were, which the checks reject, and those
    of them in which a value is another."""
    with_numbers = [pair for pair in pairs if numbers(pair[0], True)]
    return {
        "texts": len(with_numbers),
        "rejected": sum(numbers(text, True) != numbers(read, True) for text, read in with_numbers),
        "other_value": sum(_values(text) != _values(read) for text, read in with_numbers),
    }


def _values(text: str) -> Counter[str]:
    """Counts the numbers of a text, small number words as figures."""
    figures = {in_words(number): str(number) for number in range(101)}
    counted: Counter[str] = Counter()
    for written, count in numbers(text, True).items():
        counted[figures.get(written.lower(), written)] += count
    return counted


def compared(name: str, path: Path) -> dict[str, Any]:
    """Returns all that is measured of one recogniser."""
    kept, failures = rows(path, held_out=True)
    real = [(row["text"], row["read"]) for row in kept]
    texts = [text for text, _ in real]
    changed = [pair for pair in real if pair[0] != pair[1]]
    with_marks = name == "ocr"
    found: dict[str, Any] = {
        "texts": len(real),
        "failed": failures,
        "numbers": numbers_changed(real),
        "real": errors(real, with_marks) | {"changed": round(len(changed) / len(real), 4)},
        "noise": {},
    }
    share = round(changed_words(real), 3)
    for spec in (name, *OTHERS[name]):
        rate = "fitted" if spec == name else share
        made = noisy(spec, texts, rate, SEEDS[0])
        # A rate asks for one change at least, so that of the others only texts that were changed are compared.
        among = rate if spec == name else round(changed_words(changed), 3)
        changed_texts = [text for text, _ in changed]
        measured = [
            told(changed, changed_copies(spec, changed_texts, among, seed))
            for seed in (SEEDS if spec == name else SEEDS[:1])
        ]
        found["noise"][spec] = {
            "pairs": measured[0][0],
            "auc": round(sum(auc for _, auc in measured) / len(measured), 4),
            **errors(made, with_marks),
            "changed": round(sum(text != copy for text, copy in made) / len(made), 4),
        }
    return found


def table(found: dict[str, Any]) -> str:
    """Returns the table of a page: one line for each noise, and the real recogniser."""
    lines = [
        "| | noise | texts changed | words wrong | replaced | lost | added | AUC (texts) |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in OTHERS:
        measured = found[name]
        every = {
            "the recogniser itself": measured["real"],
            **{f"`{spec}`": row for spec, row in measured["noise"].items()},
        }
        for noise, row in every.items():
            auc = f"{row['auc']:.2f} ({row['pairs']})" if "auc" in row else "-"
            shares = " | ".join(f"{row[key]:.3f}" for key in ("wer", *KINDS))
            lines.append(f"| {name} | {noise} | {row['changed']:.2f} | {shares} | {auc} |")
    return "\n".join(lines) + "\n"


def page(text: str, found: dict[str, Any]) -> str:
    """Returns docs/noise.md with the table of these results."""
    head, _, rest = text.partition(BEGIN)
    return f"{head}{BEGIN}\n{table(found)}\n{END}{rest.partition(END)[2]}"


def changed_words(pairs: Sequence[Pair]) -> float:
    """Returns the share of words of the texts that are not written as they were."""
    changed = sum(
        sum(len(step.old) for step in steps(text.split(), read.split()) if step.old != step.new) for text, read in pairs
    )
    return changed / sum(len(text.split()) for text, _ in pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("asr", type=Path)
    parser.add_argument("ocr", type=Path)
    arguments = parser.parse_args()
    found = {"date": DATE, "asr": compared("asr", arguments.asr), "ocr": compared("ocr", arguments.ocr)}
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), found), encoding="utf-8")
    print(table(found), {name: found[name]["numbers"] for name in OTHERS})


if __name__ == "__main__":
    main()
