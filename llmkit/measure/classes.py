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
    from llmkit.measure.statistics import Floats

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
    hits, given, gold = (np.zeros((len(cells.questions), len(labels))) for _ in range(3))
    asked = np.zeros(len(cells.questions))
    for sample in samples:
        outcome = sample.outcome
        i, right = cells.row[outcome.question_id], place.get(outcome.gold or "")
        if right is None:
            continue
        asked[i] += 1
        gold[i, right] += 1
        if (said := place.get(outcome.parsed or "")) is not None:
            given[i, said] += 1
            hits[i, right] += said == right
    here = asked > 0
    values: Floats = np.full(len(asked), np.nan)
    if here.any():
        values[here] = influences(*(counts[here] / asked[here, None] for counts in (hits, given, gold)))
    return values


def influences(hits: Floats, given: Floats, gold: Floats) -> Floats:
    """(Q,) macro-F1 plus each question's influence on it, of (Q, K) shares of answers: right, given and gold."""
    import numpy as np

    both = np.maximum((given + gold).sum(0), 1e-12)  # a label has rows, but a part of them may lack it
    f1 = 2 * hits.sum(0) / both
    values: Floats = f1.mean() + len(hits) * ((2 * hits - f1 * (given + gold)) / both).mean(1)
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
