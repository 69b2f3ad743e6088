"""The distance of the noise of `--rate paper` from the RoP authors' own data, by set and kind.

For each of the authors' sets in DIR/rop_perturbed: the share of words changed (longest common subsequence, case
folded), the shares of the kinds of edit, and how well a classifier tells their text from ours: the area under the curve
of a logistic regression on hashed character 2- to 5-grams, over five folds by question (.5: not at all, 1: always), on
the text as it is, and without marks and capitals. The stems alone are compared, since llmkit leaves options alone and
the authors' noise does not.

    python benchmarks/perturb_strength.py --data-dir DIR --json benchmarks/results/perturb_strength.json
    python benchmarks/perturb_strength.py --write-docs        # the table in docs/perturb.md, from that file
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import unicodedata
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rapidfuzz.distance import Levenshtein

from llmkit.perturb import Perturber, strength
from llmkit.perturb.lookalikes import script
from llmkit.perturb.soundalikes import same_sound
from llmkit.perturb.wordbook import real_words

ROOT = Path(__file__).resolve().parents[1]
RESULTS, PAGE = ROOT / "benchmarks" / "results" / "perturb_strength.json", ROOT / "docs" / "perturb.md"
BEGIN, END = "<!-- fidelity: written by benchmarks/perturb_strength.py -->\n", "<!-- end of fidelity -->\n"
OPERATORS = {"EC": "ec", "SC": "sc", "WOO": "woo", "HW": "hw", "UIC": "uic"}
Pair = tuple[str, str]


def sets(folder: Path) -> list[str]:
    """The authors' sets at hand, by name."""
    return sorted({path.name.split("_")[1] for path in (folder / "rop_perturbed").glob("*/rewritten_*_1.json")})


def pairs(folder: Path, kind: str, title: str) -> list[Pair]:
    """(original, rewritten) stems, without the pairs in which the model answered instead of rewriting."""
    path = folder / "rop_perturbed" / kind / f"rewritten_{title}_1.json"
    rows = [(row["original_question"], row["rewritten_question"]) for row in json.loads(path.read_text("utf-8"))]
    stems = [(original.partition("Answer Choices:")[0].strip(), _without_options(new)) for original, new in rows]
    return [(original, new) for original, new in stems if "\n" not in new and len(new) < 6 * len(original)]


def _without_options(text: str) -> str:
    """A rewritten question up to its options, whatever the noise did to their heading: two words, a colon, a label."""
    return re.split(r"\s*\S+\s+\S+\s*[:：]\s*[(（]\S[)）]\s", text)[0].strip()


def noise(kind: str, originals: Sequence[str]) -> list[Pair]:
    """The same questions with llmkit's noise, as changed as it could make them."""
    perturber = Perturber(OPERATORS[kind], rate="paper", seed=7)
    return [(text, perturber.apply(text, str(i)).text) for i, text in enumerate(originals)]


def words_changed(made: Sequence[Pair]) -> float:
    """The mean share of words changed, case folded: the model that wrote the authors' data also corrected capitals."""
    return statistics.mean(strength(original.lower(), new.lower()).words for original, new in made)


def changed_words(original: str, new: str) -> list[tuple[str, str]]:
    """Words that took one another's place, without the marks around them."""
    before, after = original.lower().split(), new.lower().split()
    found = []
    for tag, i, k, j, m in Levenshtein.opcodes(before, after):
        if tag == "replace" and k - i == m - j:
            found += zip(before[i:k], after[j:m], strict=True)
    bare = [(a.strip(".,?!;:'\"$"), b.strip(".,?!;:'\"$")) for a, b in found]
    return [(a, b) for a, b in bare if a and b and a != b]


def ec_kind(a: str, b: str) -> str:
    if sorted(a) != sorted(b):
        return "letter added, lost or changed"
    places = [i for i, letter in enumerate(a) if letter != b[i]]
    end = " to the word's end" if a[-1] != b[-1] or a[0] != b[0] else ""
    return ("swap" if len(places) == 2 and places[1] == places[0] + 1 else "shuffle") + end


def hw_kind(a: str, b: str) -> str:
    if not a.isalpha():
        return "numeral or mark"
    if b in same_sound(a):
        return "homophone"
    if not b.isalpha():
        return "apart"
    return "other real word" if b in real_words() else "misspelling"


def sc_kinds(made: Sequence[Pair]) -> Counter[str]:
    letters = [c for _, new in made for c in new if not c.isascii() and c.isalpha()]
    names = {"CYRILLIC": "Cyrillic", "GREEK": "Greek", "STYLE": "mathematical"}
    return Counter(
        "accented" if len(unicodedata.normalize("NFD", c)) > 1 else names.get(script(c), "other letters")
        for c in letters
    )


def uic_kinds(made: Sequence[Pair]) -> Counter[str]:
    kinds: Counter[str] = Counter()
    for original, new in made:
        added = Counter(re.findall(r"\d+", new)) - Counter(re.findall(r"\d+", original))
        last = re.split(r"(?<=[.!?])\s+", original.strip())[-1].lower()
        kinds["adds a number"] += bool(added)
        kinds["final question kept"] += new.lower().endswith(last)
        kinds["nothing else rewritten"] += strength(original.lower(), new.lower()).words == 0
        kinds["questions"] += 1
    return kinds


def edit_shares(kind: str, made: Sequence[Pair]) -> dict[str, float]:
    """The shares of the kinds of edit; for EC and HW also of words that come again and are edited alike."""
    if kind == "UIC":
        found = uic_kinds(made)
        total = found.pop("questions")
        return {name: round(count / total, 3) for name, count in sorted(found.items())}
    if kind == "SC":
        counts = sc_kinds(made)
    else:
        name: Callable[[str, str], str] = {"EC": ec_kind, "HW": hw_kind}[kind]
        counts = Counter(name(a, b) for original, new in made for a, b in changed_words(original, new))
    shares = {name: round(count / sum(counts.values()), 3) for name, count in counts.most_common()}
    if kind in ("EC", "HW"):
        shares["a word again, edited alike"] = round(_alike(made), 3)
    return shares


def _alike(made: Sequence[Pair]) -> float:
    """Of changed words that stood in the same question before: the share that became what it had become."""
    again = alike = 0
    for original, new in made:
        seen: dict[str, str] = {}
        for a, b in changed_words(original, new):
            again += a in seen
            alike += seen.get(a) == b
            seen.setdefault(a, b)
    return alike / max(1, again)


def _words_alone(text: str) -> str:
    """A text without its marks and capitals, which the model that wrote the authors' data corrected as it wrote."""
    return " ".join(re.sub(r"[^\w\s'-]", " ", text.lower()).split())


def features(texts: Sequence[str], size: int = 1 << 15) -> Any:
    """Counts of hashed character 2- to 5-grams, log-scaled, each text to length 1: a sparse matrix."""
    from scipy.sparse import csr_matrix

    rows, columns, values = [], [], []
    for row, text in enumerate(texts):
        padded = f" {text} "
        counts = Counter(padded[i : i + n] for n in (2, 3, 4, 5) for i in range(len(padded) - n + 1))
        weights = {gram: 1 + np.log(count) for gram, count in counts.items()}
        norm = np.sqrt(sum(weight**2 for weight in weights.values()))
        for gram, weight in weights.items():
            rows.append(row)
            columns.append(zlib.crc32(gram.encode()) % size)
            values.append(weight / norm)
    return csr_matrix((values, (rows, columns)), shape=(len(texts), size))


def told_apart(theirs: Sequence[str], ours: Sequence[str], folds: int = 5, penalty: float = 3e-4) -> float:
    """The area under the curve of a classifier of theirs against ours; both texts of a question are in one fold."""
    from scipy.optimize import minimize
    from scipy.stats import rankdata

    x, y = features([*theirs, *ours]), np.repeat([1.0, 0.0], [len(theirs), len(ours)])
    fold = np.tile(np.random.default_rng(7).permutation(len(theirs)) % folds, 2)
    areas = []
    for held in range(folds):
        a, t = x[fold != held], 2 * y[fold != held] - 1

        def loss(w: np.ndarray, a: Any = a, t: np.ndarray = t) -> tuple[float, np.ndarray]:
            margin = t * (a @ w[:-1] + w[-1])
            slope = -t / (1 + np.exp(np.clip(margin, -30, 30))) / len(t)
            value = np.logaddexp(0, -margin).mean() + penalty * w[:-1] @ w[:-1] / 2
            return value, np.append(a.T @ slope + penalty * w[:-1], slope.sum())

        w = minimize(loss, np.zeros(x.shape[1] + 1), jac=True, method="L-BFGS-B", options={"maxiter": 200}).x
        ranks, positive = rankdata(x[fold == held] @ w[:-1]), y[fold == held] == 1
        n, m = positive.sum(), (~positive).sum()
        areas.append((ranks[positive].sum() - n * (n + 1) / 2) / (n * m))
    return float(np.mean(areas))


def compare(
    folder: Path, kinds: Sequence[str] = tuple(OPERATORS), classify: bool = True, most: int | None = None
) -> list[dict[str, Any]]:
    """A row for each kind and set, on about `most` pairs: strength, edits and the classifier, of theirs and ours."""
    rows = []
    for kind in kinds:
        for title in sets(folder):
            theirs = pairs(folder, kind, title)
            theirs = theirs[:: max(1, len(theirs) // most) if most else 1]
            ours = noise(kind, [original for original, _ in theirs])
            row: dict[str, Any] = {"kind": kind, "set": title, "questions": len(theirs)}
            for name, made in (("theirs", theirs), ("ours", ours)):
                row[name] = {"words": round(words_changed(made), 3)}
                if kind == "UIC":
                    row[name]["length"] = round(statistics.mean(len(b.split()) / len(a.split()) for a, b in made), 2)
                if kind != "WOO":
                    row[name]["edits"] = edit_shares(kind, made)
            if classify:
                texts = [b for _, b in theirs], [b for _, b in ours]
                row["auc"] = round(told_apart(*texts), 3)
                row["auc_of_words"] = round(told_apart(*(list(map(_words_alone, side)) for side in texts)), 3)
            rows.append(row)
    return rows


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Two Markdown tables: strength and classifier by set, and the edits."""
    head = ("kind", "set", "words changed: theirs", "ours", "difference", "distinguished (AUC)", "by the words alone")
    lines = [f"| {' | '.join(head)} |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        what = "length" if row["kind"] == "UIC" else "words"
        theirs, ours = row["theirs"][what], row["ours"][what]
        mark = "x" if what == "length" else ""
        name = f"`{OPERATORS[row['kind']]}`"
        cells = [name, row["set"], f"{theirs}{mark}", f"{ours}{mark}", f"{ours / theirs - 1:+.0%}"]
        lines.append(f"| {' | '.join(cells)} | {row['auc']:.2f} | {row['auc_of_words']:.2f} |")
    lines += ["", "| kind | edits, as shares | theirs, by set | ours, by set |", "|---|---|---|---|"]
    for kind in OPERATORS:
        of_kind = [row for row in rows if row["kind"] == kind and "edits" in row["ours"]]
        names = sorted({n for row in of_kind for who in ("theirs", "ours") for n in row[who]["edits"]})
        for name in names:
            cells = [" ".join(f"{row[who]['edits'].get(name, 0):.2f}" for row in of_kind) for who in ("theirs", "ours")]
            lines.append(f"| `{OPERATORS[kind]}` | {name} | {cells[0]} | {cells[1]} |")
    titles = ", ".join(dict.fromkeys(row["set"] for row in rows))
    return "\n".join(
        [*lines, "", f"The sets, in this order: {titles}. `uic`: how many times as long a question becomes."]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", default=os.environ.get("LLMKIT_DATA_DIR", "."))
    parser.add_argument("--kinds", default=",".join(OPERATORS))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--write-docs", action="store_true")
    options = parser.parse_args()
    if options.write_docs:
        PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
        return
    rows = compare(Path(options.data_dir), options.kinds.split(","))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(table(rows))


def page(text: str) -> str:
    """docs/perturb.md with its tables written anew from the results."""
    head, _, rest = text.partition(BEGIN)
    tail = rest.partition(END)[2]
    return f"{head}{BEGIN}\n{table(json.loads(RESULTS.read_text(encoding='utf-8')))}\n\n{END}{tail}"


if __name__ == "__main__":
    main()
