"""The closeness of noise to what people type: distances of counts, and a classifier that tries to tell them apart."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

from llmkit.perturb.alignment import KINDS, PLACES, align, kind_of_pair, place
from llmkit.seeds import derive

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MOST_PAIRS = 2_000
"""Pairs on each side of the classifier."""

FOLDS = 5
GRAM_LENGTHS = (1, 2, 3, 4)
_LENGTHS = (3, 5, 7, 9, 12)  # the upper ends of the classes whose shares of misspellings are compared
_C = 1.0  # the inverse strength of the penalty, as scikit-learn's logistic regression has it
_STEPS, _INNER_STEPS, _SMALL = 25, 60, 1e-3

Pair = tuple[str, str]
"""The intended word and the typed one."""


@dataclass(frozen=True)
class Closeness:
    """The distance of one set of misspellings from another, of the same intended words.

    Distances are total variation: half the sum of the differences of shares, 0 for the same and 1 for nothing in
    common. `auc` is how often a classifier that has seen other words ranks a word of the second set above one of the
    first: .5 where it cannot tell them apart. None where there are too few pairs.
    """

    pairs: int
    kinds: float
    places: float
    lengths: float
    auc: float | None
    shares: Mapping[str, float]
    """Of the second set: the shares of its kinds."""


def matched(real: Sequence[Pair], other: Sequence[Pair], most: int, rng: Random) -> tuple[list[Pair], list[Pair]]:
    """Returns as many pairs of each side, of the same intended words as often on both sides."""
    by_word: dict[str, list[str]] = defaultdict(list)
    for intended, typed in other:
        by_word[intended].append(typed)
    for typed_forms in by_word.values():
        rng.shuffle(typed_forms)
    shuffled = list(real)
    rng.shuffle(shuffled)
    kept: tuple[list[Pair], list[Pair]] = [], []
    for intended, typed in shuffled:
        if len(kept[0]) >= most:
            break
        if by_word[intended]:
            kept[0].append((intended, typed))
            kept[1].append((intended, by_word[intended].pop()))
    return kept


def halves(pairs: Sequence[Pair], rng: Random) -> tuple[list[Pair], list[Pair]]:
    """Parts pairs into two sets with the same intended words, as far as words come more than once."""
    by_word: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        by_word[pair[0]].append(pair)
    sides: tuple[list[Pair], list[Pair]] = [], []
    for same_word in by_word.values():
        rng.shuffle(same_word)
        for first, second in zip(same_word[::2], same_word[1::2], strict=False):
            sides[0].append(first)
            sides[1].append(second)
    return sides


def compare(real: Sequence[Pair], other: Sequence[Pair], seed: int = 7, most: int = MOST_PAIRS) -> Closeness:
    """Compares two sets of misspellings on the intended words that both have."""
    rng = Random(derive(seed, "noise", "compare"))
    first, second = matched(real, other, most, rng)
    shares = shares_of(kind_of_pair(*pair) for pair in second)
    return Closeness(
        pairs=len(first),
        kinds=distance(shares_of(kind_of_pair(*pair) for pair in first), shares),
        places=distance(shares_of(_place(*pair) for pair in first), shares_of(_place(*pair) for pair in second)),
        lengths=distance(shares_of(_length(pair) for pair in real), shares_of(_length(pair) for pair in other)),
        auc=told_apart(first, second) if len({intended for intended, _ in first}) >= 2 * FOLDS else None,
        shares={kind: round(shares.get(kind, 0.0), 3) for kind in KINDS},
    )


def shares_of(things: Iterable[str]) -> dict[str, float]:
    """Returns the share of each thing."""
    counts = Counter(things)
    total = counts.total() or 1
    return {thing: count / total for thing, count in counts.items()}


def distance(first: Mapping[str, float], second: Mapping[str, float]) -> float:
    """Returns the total variation of two sets of shares.

    >>> distance({"del": 0.5, "ins": 0.5}, {"del": 1.0})
    0.5
    """
    things = sorted(first.keys() | second.keys())
    return round(sum(abs(first.get(thing, 0.0) - second.get(thing, 0.0)) for thing in things) / 2, 4)


def _place(intended: str, typed: str) -> str:
    """Returns the place of a misspelling's first edit."""
    edits = align(intended, typed)
    return place(edits[0].start, edits[0].end, len(intended)) if edits else PLACES[-1]


def _length(pair: Pair) -> str:
    length = len(pair[0])
    return next((f"to {bound}" for bound in _LENGTHS if length <= bound), "above")


def told_apart(first: Sequence[Pair], second: Sequence[Pair], family: int | None = None) -> float:
    """Returns the AUC of a logistic regression on the runs of 1 to 4 characters of the typed words.

    Each word is scored by a model that saw no pair of its intended word: folds are by that word, or by its first
    `family` letters. Lists of misspellings repeat one in many forms of a word ("accomodate", "accomodated"), which a
    model of other words then knows; of another family it does not.
    """
    import numpy as np

    pairs = [*first, *second]
    labels = np.r_[np.zeros(len(first)), np.ones(len(second))]
    folds = np.array([derive(0, "fold", intended[:family]) % FOLDS for intended, _ in pairs])
    grams = [_grams(typed) for _, typed in pairs]
    scores = np.zeros(len(pairs))
    for fold in range(FOLDS):
        training, held_out = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        if len(held_out) and len(set(labels[training])) == 2:
            scores[held_out] = _scores([grams[i] for i in training], labels[training], [grams[i] for i in held_out])
    return round(auc(labels, scores), 4)


def auc(labels: NDArray[np.float64], scores: NDArray[np.float64]) -> float:
    """Returns the area under the ROC curve: how often a 1 has the higher score than a 0, ties counting half."""
    import numpy as np

    _, ranks, counts = np.unique(scores, return_inverse=True, return_counts=True)
    mean_ranks = (np.cumsum(counts) - (counts - 1) / 2)[ranks]
    positives = labels.sum()
    negatives = len(labels) - positives
    return float((mean_ranks[labels == 1].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def _grams(typed: str) -> list[str]:
    framed = f"<{typed}>"
    return sorted({framed[i : i + n] for n in GRAM_LENGTHS for i in range(len(framed) - n + 1)})


def _scores(
    training: Sequence[Sequence[str]], labels: NDArray[np.float64], held_out: Sequence[Sequence[str]]
) -> NDArray[np.float64]:
    columns: dict[str, int] = {}
    for row in training:
        for gram in row:
            columns.setdefault(gram, len(columns))
    rows = _Rows([[columns[gram] for gram in row] for row in training], len(columns))
    weights, intercept = _fitted(rows, labels)
    other = _Rows([[columns[gram] for gram in row if gram in columns] for row in held_out], len(columns))
    return other.dot(weights) + intercept


class _Rows:
    """A sparse matrix of zeros and ones, by the columns of the ones in each row."""

    def __init__(self, rows: Sequence[Sequence[int]], columns: int) -> None:
        import numpy as np

        self._columns = np.array([column for row in rows for column in row], dtype=np.int64)
        self._rows = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
        self.shape = len(rows), columns

    def dot(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns the product with a vector of one number a column."""
        import numpy as np

        return np.bincount(self._rows, weights[self._columns], minlength=self.shape[0]).astype(np.float64)

    def transposed_dot(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns the product of the transposed matrix with a vector of one number a row."""
        import numpy as np

        return np.bincount(self._columns, values[self._rows], minlength=self.shape[1]).astype(np.float64)


def _fitted(rows: _Rows, labels: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Returns the weights and the intercept that minimise C x log loss + |weights|² / 2, by Newton's method.

    Each step solves its equations by conjugate gradients; the loss is convex, so there is one minimum.
    """
    import numpy as np

    _, width = rows.shape
    solution = np.zeros(width + 1)  # the intercept, which has no penalty, comes last
    penalty = np.r_[np.ones(width), 0.0]

    def loss(at: NDArray[np.float64]) -> float:
        margins = rows.dot(at[:-1]) + at[-1]
        return float(_C * np.sum(np.logaddexp(0, margins) - labels * margins) + np.sum(penalty * at * at) / 2)

    for _ in range(_STEPS):
        probabilities = 1 / (1 + np.exp(-(rows.dot(solution[:-1]) + solution[-1])))
        errors = _C * (probabilities - labels)
        gradient = np.r_[rows.transposed_dot(errors), errors.sum()] + penalty * solution
        if np.abs(gradient).max() < _SMALL:
            break
        curvature = _C * probabilities * (1 - probabilities)

        def curved(direction: NDArray[np.float64], curvature: NDArray[np.float64] = curvature) -> NDArray[np.float64]:
            values = curvature * (rows.dot(direction[:-1]) + direction[-1])
            product: NDArray[np.float64] = np.r_[rows.transposed_dot(values), values.sum()] + penalty * direction
            return product

        step = _conjugate_gradients(curved, -gradient)
        size, before = 1.0, loss(solution)
        while loss(solution + size * step) > before and size > _SMALL:
            size /= 2
        solution = solution + size * step
    return solution[:-1], float(solution[-1])


def _conjugate_gradients(
    product: Callable[[NDArray[np.float64]], NDArray[np.float64]], right: NDArray[np.float64]
) -> NDArray[np.float64]:
    import numpy as np

    solution, residual = np.zeros_like(right), right.copy()
    direction, square = residual.copy(), float(residual @ residual)
    for _ in range(_INNER_STEPS):
        if square < _SMALL**2:
            break
        curved = product(direction)
        size = square / float(direction @ curved)
        solution += size * direction
        residual -= size * curved
        square, before = float(residual @ residual), square
        direction = residual + square / before * direction
    return solution


def facts(closeness: Closeness) -> dict[str, Any]:
    """Returns a comparison as a JSON object."""
    return {
        "pairs": closeness.pairs,
        "auc": closeness.auc,
        "kinds": closeness.kinds,
        "places": closeness.places,
        "lengths": closeness.lengths,
        "shares": dict(closeness.shares),
    }
