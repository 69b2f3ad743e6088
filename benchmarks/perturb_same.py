"""Digests of what every operator makes of English questions: two versions of llmkit can be shown to write the same.

PYTHONPATH=BEFORE python benchmarks/perturb_same.py --data-dir DIR > before.json
python benchmarks/perturb_same.py --data-dir DIR --against before.json
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import sys
from pathlib import Path

QUESTIONS = 2_000
RATES = (0.1, "paper")


def questions(folder: Path) -> list[str]:
    """Returns the first questions of GSM8K's train part."""
    lines = (folder / "gsm8k" / "train.jsonl").read_text(encoding="utf-8").splitlines()[:QUESTIONS]
    return [json.loads(line)["question"] for line in lines]


def digests(texts: list[str]) -> dict[str, str]:
    """Returns a digest of texts, edits and seeds for each operator that needs neither a file nor a model, and rate."""
    from llmkit.perturb import OPERATORS, Perturber

    logging.disable(logging.WARNING)
    made = {}
    for name in OPERATORS:
        operator = OPERATORS[name]
        if operator.most_calls or name in ("file", "natural"):
            continue
        spec = name if operator.argument is None else f"{name}:{operator.argument}"
        for rate in RATES:
            perturber, digest = Perturber(spec, rate=rate), hashlib.sha256()
            for number, text in enumerate(texts[: 200 if "nlpaug" in name else None]):
                perturbed = perturber.apply(text, str(number))
                digest.update(repr((perturbed.text, perturbed.edits, perturbed.seed, perturbed.reason)).encode())
            made[f"{spec}@{rate}"] = digest.hexdigest()[:16]
    return made


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, default=os.environ.get("LLMKIT_DATA_DIR"))
    parser.add_argument("--against", type=Path, help="an earlier output")
    arguments = parser.parse_args()
    made = digests(questions(Path(arguments.data_dir)))
    print(json.dumps(made, indent=1))
    if not arguments.against:
        return 0
    before = json.loads(arguments.against.read_text(encoding="utf-8"))
    changed = [condition for condition in before if before[condition] != made.get(condition)]
    print(f"{len(before)} compared, {len(changed)} changed: {', '.join(changed) or '-'}", file=sys.stderr)
    return 1 if changed else 0


if __name__ == "__main__":
    raise SystemExit(main())
