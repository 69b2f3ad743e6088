"""The pairs of a run that people look at, and how far they have come: rows without answers, or with gold answers."""

from __future__ import annotations

from abc import ABC, abstractmethod

from llmkit.measure.answers import ChangedRow, Pair
from llmkit.measure.contrasts import Contrast
from llmkit.measure.results import Labelled
from llmkit.runs.labels import Judgements, State


class PairsToLabel(ABC):
    """Rows with unequal answers in the random order of their labels, and the pairs to look at."""

    judged_rows: list[ChangedRow]
    pairs: list[Pair]

    @abstractmethod
    def needed(self, row: ChangedRow) -> set[int]:
        """Returns the answers to a row that have to be judged."""

    @abstractmethod
    def main(self) -> Contrast | None:
        """Returns the difference that labels are given for; None where they give no difference a value."""

    @abstractmethod
    def expected(self, name: Contrast, rows: int | None = None) -> float | None:
        """Returns half the width that an interval would have if the first so many rows were labelled."""

    def behind(self, judgements: Judgements) -> int:
        """Returns how many rows with every label do not count, because a row before them in the random order has
        none."""
        labelled = self.labelled_rows(judgements)
        return 0 if all(labelled) else sum(labelled[labelled.index(False) :])

    def labelled_rows(self, judgements: Judgements) -> list[bool]:
        """Returns of each row that needs labels, in the random order, whether it has them all."""
        return [
            all(judgements.state(row.digest, row.digests(place)) for place in self.needed(row))
            for row in self.judged_rows
        ]

    def counts(self, judgements: Judgements) -> Labelled:
        """Returns how far the labelling has come."""
        rows = self.labelled_rows(judgements)
        states = [self.state(pair, judgements) for pair in self.pairs]
        return Labelled(
            pairs=len(states),
            labelled=sum(state is not None for state in states),
            skipped=states.count("skipped"),
            rows=len(rows),
            used=sum(rows) - self.behind(judgements),
            conflicts=judgements.conflicts,
        )

    @staticmethod
    def state(pair: Pair, judgements: Judgements) -> State | None:
        """Returns "skipped" for a pair with an answer of which nobody could tell, None for one that nobody has looked
        at; any other state says that both answers are judged, in this pair or in others."""
        row = pair.row
        states = [judgements.state(row.digest, row.digests(place)) for place in pair.groups if place >= 0]
        return None if None in states else "skipped" if "skipped" in states else states[0]
