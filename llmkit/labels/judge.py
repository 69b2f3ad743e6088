"""Has a model, as judge, say which of two unequal answers is better, of a run whose rows have no answers."""

from __future__ import annotations

from collections.abc import Sequence

from llmkit.judging import Asked, Comparison, Judging
from llmkit.labels.labelling import Labelling
from llmkit.measure.answers import Pair
from llmkit.measure.judged import JudgedRun, verdict
from llmkit.measure.labelled import LabelledRun


def pairs_of(opened: Labelling) -> list[Pair]:
    """Returns every pair of unequal answers that a difference of the run needs."""
    assert isinstance(opened.run, LabelledRun), "rows with answers have a score of the judge instead"
    return JudgedRun(opened.run).pairs()


def open_pairs(pairs: Sequence[Pair], judging: Judging) -> list[Pair]:
    """Returns the pairs that this judge has not been asked about."""
    known = judging.known()
    return [pair for pair in pairs if verdict(pair, known) is None]


def ask(pairs: Sequence[Pair], judging: Judging) -> Asked:
    """Asks a judge about pairs. Raises as `Judging.ask`."""
    return judging.ask([_comparison(pair) for pair in pairs])


def _comparison(pair: Pair) -> Comparison:
    first, second = pair.answers
    return Comparison(pair.row.text, first.answer, second.answer, pair.digests)
