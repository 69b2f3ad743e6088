"""Replies beside the gold answers of their rows: what the score `judge` rests on, and what people say of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from llmkit.files import text_digest
from llmkit.measure.answers import ChangedRow, Pair, ordered
from llmkit.measure.contrasts import Contrast
from llmkit.measure.to_label import PairsToLabel
from llmkit.runs.labels import Judgements
from llmkit.runs.samples import Sample
from llmkit.runs.verdicts import has_score
from llmkit.seeds import derive

_GOLD = 0  # the place of the gold answer among the answers to a row


class ReferenceRow(ChangedRow):
    """One row with its gold answer and the different replies to it. Only equal texts are equal answers, because a
    rubric may be about the wording."""

    def digest_of(self, sample: Sample) -> str:
        return text_digest(sample.answer.strip())


class ReferencedRun(PairsToLabel):
    """Every reply that is not its gold answer word for word, paired with it."""

    def __init__(self, samples: Sequence[Sample], seed: int) -> None:
        replies: dict[tuple[str, str], dict[str, Sample]] = {}
        for sample in filter(has_score, samples):
            row = sample.outcome.question_id, sample.outcome.gold or ""
            replies.setdefault(row, {}).setdefault(sample.answer.strip(), sample)
        rows = [_row(id, gold, list(by_text.values())) for (id, gold), by_text in replies.items()]
        self.judged_rows = sorted(rows, key=lambda row: (derive(seed, "label", row.id), row.id))
        # The reply first, so that a judge that always prefers gold answers agrees with people no better than chance.
        self.compared = [Pair(row, (place, _GOLD)) for row in self.judged_rows for place in range(1, len(row.answers))]
        self.pairs = [ordered(pair, seed) for pair in self.compared]

    def needed(self, row: ChangedRow) -> set[int]:
        return set(range(len(row.answers)))

    def main(self) -> Contrast | None:
        return None

    def expected(self, name: Contrast, rows: int | None = None) -> float | None:
        return None

    def behind(self, judgements: Judgements) -> int:
        """Returns 0: agreement is counted over whatever pairs were labelled."""
        return 0


def _row(id: str, gold: str, replies: Sequence[Sample]) -> ReferenceRow:
    first = replies[0]
    answer = replace(first, reply=gold, outcome=replace(first.outcome, parsed=gold, correct=True))
    answers = tuple((sample,) for sample in (answer, *replies))
    return ReferenceRow(id, first.question, text_digest(first.question), answers, {}, ())
