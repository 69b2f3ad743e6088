"""Answers that are labels: macro-F1 as a mean over questions, and which label noise turns into which."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from llmkit.measure.arm_results import ClassFlip, ClassFlips
from llmkit.measure.cells import Cell, Cells, pair_key
from llmkit.runs.samples import Sample
from llmkit.tasks import Kind, recorded_kind
from llmkit.types import CLEAN

if TYPE_CHECKING:
    from llmkit.measure.statistics import Floats, Labels

MOST = 20  # pairs of labels that are kept of a condition


def has_labels(samples: Sequence[Sample]) -> bool:
    """Returns whether the answers of a run are labels, and rows have some."""
    return any(sample.outcome.gold is not None and "macro_f1" in _kind(sample).of_all for sample in samples)


def _kind(sample: Sample) -> Kind:
    return recorded_kind(sample.kind, sample.outcome.gold, sample.options)


def macro_f1(cells: Cells) -> Cells:
    """Returns the cells with values whose mean over questions is macro-F1, the mean F1 of the labels that rows have.

    F1 of a label k is 2 TP / (P + G), of answers that are k (P), rows whose answer is k (G), and both (TP). To first
    order one question adds n (2 tp - F1 (p + g)) / (P + G) to it, n being all questions: its influence (Hampel 1974),
    the delta method. The value of a question is macro-F1 and the mean of its influences over the labels, so that means,
    differences, intervals and tests of clusters of questions are those of any value. A reply without a label is an
    answer of none.
    """
    import numpy as np

    golds = {s.outcome.question_id: s.outcome.gold for group in cells.samples.values() for s in group}
    labels = sorted({gold for gold in golds.values() if gold is not None})
    sizes = Counter(golds.values())
    values = {cell: _values(cells, group, labels) for cell, group in cells.samples.items()}
    return cells.valued(values, reach(np.array([sizes[label] for label in labels], dtype=float)))


def _values(cells: Cells, samples: Sequence[Sample], labels: Sequence[str]) -> Floats:
    """(Q,) macro-F1 plus each question's influence on it, NaN where a question was not asked."""
    import numpy as np

    place = {label: k for k, label in enumerate(labels)}
    judged = [s.outcome for s in samples if s.outcome.gold in place]
    rows = np.array([cells.row[outcome.question_id] for outcome in judged], dtype=int)
    gold = np.array([place[outcome.gold or ""] for outcome in judged], dtype=int)
    said = np.array([place.get(outcome.parsed or "", -1) for outcome in judged], dtype=int)
    asked = np.bincount(rows, minlength=len(cells.questions))
    values: Floats = np.where(asked > 0, influences(rows, gold, said, asked, len(labels)), np.nan)
    return values


def influences(rows: Labels, gold: Labels, said: Labels, asked: Labels, labels: int) -> Floats:
    """(Q,) macro-F1 plus each question's influence on it.

    `rows`, `gold` and `said` are (N,), the question and the labels of each answer, -1 for none; `asked` is (Q,), the
    number of answers of each question, which together count as one.
    """
    import numpy as np

    weights = 1 / asked[rows]
    spoken, hit = said >= 0, said == gold
    given = np.bincount(said[spoken], weights[spoken], labels)
    both = np.maximum(np.bincount(gold, weights, labels) + given, 1e-12)  # another cell may lack a label
    f1 = 2 * np.bincount(gold[hit], weights[hit], labels) / both
    parts = (2 * hit - f1[gold]) / both[gold] - np.where(spoken, f1[said] / both[said], 0)
    values: Floats = f1.mean() + (asked > 0).sum() / labels * np.bincount(rows, weights * parts, len(asked))
    return values


def reach(sizes: Floats) -> float:
    """Returns how much one answer changes macro-F1 as a mean over the rows, by (K,) rows of each label: n / (K G) in a
    label of G rows, the root of its mean square over the rows. 1 where all labels have the same number."""
    return float((sizes.sum() * (1 / sizes).sum()) ** 0.5 / len(sizes))


def flips(cells: Cells, arm: str, condition: str) -> ClassFlips | None:
    """Counts which label noise turns into which, answer by answer; None where nothing was asked clean and noisy."""
    clean = {pair_key(sample): sample.outcome for sample in cells.samples_of(Cell(arm, CLEAN))}
    turned: Counter[tuple[str | None, str | None]] = Counter()
    right: Counter[tuple[str | None, str | None]] = Counter()
    pairs = 0
    for sample in cells.samples_of(Cell(arm, condition)):
        question, _, seed = pair_key(sample)
        before = clean.get((question, 0, seed)) or clean.get((question, 0, 0))
        if before is None or before.error or sample.outcome.error:
            continue
        pairs += 1
        if before.parsed != sample.outcome.parsed:
            turned[before.parsed, sample.outcome.parsed] += 1
            right[before.parsed, sample.outcome.parsed] += bool(before.correct)
    if not pairs:
        return None
    most = sorted(turned.items(), key=lambda item: (-item[1], str(item[0])))[:MOST]
    listed = [ClassFlip(before=old, after=new, answers=n, right_before=right[old, new]) for (old, new), n in most]
    return ClassFlips(pairs=pairs, turned=turned.total(), most=tuple(listed))
