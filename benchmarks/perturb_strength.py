"""`--rate paper` against the RoP paper's own data: the share of words changed, by longest common subsequence.

SVAMP and MultiArith: the mean over the authors' pairs in DIR/rop_perturbed. GSM8K, whose pairs are not at hand: the
figure measured on the authors' data over four sets. The same measure is taken of llmkit's noise on the same questions.
Case is folded: the model that wrote the authors' data also mended capitals, which is no noise.

    python benchmarks/perturb_strength.py --data-dir DIR
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from pathlib import Path

from llmkit.perturb import Perturber, strength

OPERATORS = {"EC": "ec", "SC": "sc", "WOO": "woo", "HW": "hw_spell"}
TABLE = {"EC": 0.30, "SC": 0.50, "WOO": 0.20, "HW": 0.22}


def words_changed(original: str, text: str) -> float:
    return strength(original.lower(), text.lower()).words


def compare(data_dir: Path) -> list[tuple[str, str, float, float]]:
    """(operator, set, the paper's share of words, llmkit's share of words) for each operator and set."""
    found = []
    for kind, name in OPERATORS.items():
        perturber = Perturber(name, rate="paper", seed=7)

        def ours(questions: list[str], perturber: Perturber = perturber) -> float:
            return statistics.mean(words_changed(q, perturber.apply(q, str(i)).text) for i, q in enumerate(questions))

        pooled: list[tuple[str, float]] = []
        for title in ("SVAMP", "MultiArith"):
            path = data_dir / "rop_perturbed" / kind / f"rewritten_{title}_1.json"
            pairs = [(p["original_question"], p["rewritten_question"]) for p in json.loads(path.read_text("utf-8"))]
            theirs = [(q, words_changed(q, new)) for q, new in pairs]
            pooled += theirs
            found.append((name, title, statistics.mean(w for _, w in theirs), ours([q for q, _ in theirs])))
        found.append((name, "both", statistics.mean(w for _, w in pooled), ours([q for q, _ in pooled])))
        lines = (data_dir / "gsm8k" / "test.jsonl").read_text("utf-8").splitlines()
        found.append((name, "GSM8K", TABLE[kind], ours([json.loads(line)["question"] for line in lines])))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", default=os.environ.get("LLMKIT_DATA_DIR", "."))
    print("| operator | set | paper | llmkit | difference |\n|---|---|---|---|---|")
    for name, title, theirs, ours in compare(Path(parser.parse_args().data_dir)):
        print(f"| {name} | {title} | {theirs:.3f} | {ours:.3f} | {ours / theirs - 1:+.1%} |")


if __name__ == "__main__":
    main()
