"""The different answers to each row of a run, and which of them a paired difference needs to know right or wrong."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from llmkit.conditions import Condition
from llmkit.files import text_digest
from llmkit.measure.cells import NOISY, STAND, Cell, Cells
from llmkit.measure.compared import canonical, compared, decisive, exact, failed
from llmkit.measure.contrasts import Contrast
from llmkit.runs.labels import pair_digest
from llmkit.runs.samples import Sample
from llmkit.seeds import derive
from llmkit.tasks.text import normalise
from llmkit.types import CLEAN

RIGHT, WRONG = -1, -2
"""The places of answers that nobody has to judge: a call that failed or a reply without an answer is wrong, as in a
labelled run; it is right where a gate is tried with the best that a missing answer could have been."""

_NOTHING = 1e-9  # weights of equal answers, a half and two quarters for one, may miss each other in the last digit


def alike(one: Sample, other: Sample) -> bool:
    """Returns whether two answers to a row are right or wrong together, so that they cancel in a difference.

    Answers that a scorer compares are if their canonical forms are equal; prose is if only its words differ. Where the
    rules cannot tell, a person looks at both.
    """
    if exact(one):
        return canonical(one) == canonical(other)
    if decisive(one) or decisive(other):
        return normalise(canonical(one) or "") == normalise(canonical(other) or "")
    return compared(one, other).verdict in ("same", "wording")


def is_unread(sample: Sample) -> bool:
    """Returns whether an answer is wrong without a person's word: the call failed, or the reply holds none."""
    return failed(sample) or canonical(sample) is None


def answer_digest(sample: Sample) -> str:
    """Returns what an answer is known by in labels.jsonl: a digest of its canonical form, of prose of all of it, or
    "none" where there is no answer."""
    if is_unread(sample):
        return "none"
    answer = canonical(sample) or ""
    if exact(sample):
        return text_digest(answer)
    return text_digest(normalise(answer) if decisive(sample) else sample.answer.strip())


@dataclass(frozen=True)
class ChangedRow:
    """One row with answers that differ, in groups of equal ones. `places` says by cell in which group its samples are:
    an index of `answers`, RIGHT or WRONG. `unread` are samples whose answer is WRONG."""

    id: str
    text: str
    digest: str
    answers: tuple[tuple[Sample, ...], ...]
    places: Mapping[Cell, tuple[int, ...]]
    unread: tuple[Sample, ...]

    def weights(self, single: Mapping[Cell, float]) -> dict[int, float]:
        """Returns what each answer counts for in a weighted sum of cells; answers that cancel are left out."""
        total: dict[int, float] = defaultdict(float)
        for cell, weight in single.items():
            places = self.places[cell]
            for place in places:
                total[place] += weight / len(places)
        total.pop(WRONG, None)
        return {place: weight for place, weight in total.items() if abs(weight) > _NOTHING}

    def sample(self, place: int) -> Sample:
        """Returns the first sample of a group; of what could not be read, the first such reply."""
        return self.answers[place][0] if place >= 0 else self.unread[0]

    def digest_of(self, sample: Sample) -> str:
        """Returns what an answer is known by in labels.jsonl."""
        return answer_digest(sample)

    def digests(self, place: int) -> set[str]:
        """Returns what the answers of a group are known by in labels.jsonl."""
        return {self.digest_of(sample) for sample in self.answers[place]}

    def has(self, single: Mapping[Cell, float]) -> bool:
        """Returns whether the row was asked in all of these cells."""
        return all(cell in self.places for cell in single)


@dataclass(frozen=True)
class Pair:
    """Two different answers to one row, of which a person says which is right, in the order in which they are shown.

    `groups` are the groups of the row that they are of, WRONG for one that cannot be read; `digests` name the row and
    the answers.
    """

    row: ChangedRow
    groups: tuple[int, int]

    @property
    def answers(self) -> tuple[Sample, Sample]:
        """The two answers."""
        first, second = (self.row.sample(group) for group in self.groups)
        return first, second

    @property
    def digests(self) -> tuple[str, str, str]:
        """The names of row and answers in labels.jsonl."""
        first, second = map(self.row.digest_of, self.answers)
        return self.row.digest, first, second

    def swapped(self) -> Pair:
        """Returns the pair the other way round."""
        return Pair(self.row, (self.groups[1], self.groups[0]))


def contrasts(cells: Cells) -> dict[Contrast, dict[Cell, float]]:
    """Returns the paired differences of a run that labels give values to, as weighted sums of single cells."""
    found = {}
    for arm in cells.arms:
        for condition in [CLEAN, *cells.noisy, NOISY]:
            cell, stand = Cell(arm, condition), Cell(STAND, condition)
            wanted = {}
            if condition != CLEAN:
                wanted[Contrast("drop", arm, condition)] = {cell.under(CLEAN): 1.0, cell: -1.0}
            if arm != STAND:
                wanted[Contrast("gain", arm, condition)] = {cell: 1.0, stand: -1.0}
            for name, weights in wanted.items():
                if single := cells.spread(weights):
                    found[name] = single
    return found


def changed_rows(cells: Cells, seed: int) -> list[ChangedRow]:
    """Returns the rows with answers that differ, in the random order in which they are labelled.

    The order depends on the rows' ids and the seed alone, so another run of the same rows begins with the same ones.
    """
    given: dict[str, dict[Cell, list[Sample]]] = defaultdict(lambda: defaultdict(list))
    for cell, samples in cells.samples.items():
        if Condition.parse(cell.condition).replicate == 1:
            for sample in samples:
                given[sample.outcome.question_id][cell].append(sample)
    rows = [row for id, by_cell in given.items() if (row := _changed(id, by_cell))]
    return sorted(rows, key=lambda row: (derive(seed, "label", row.id), row.id))


def _changed(id: str, by_cell: Mapping[Cell, Sequence[Sample]]) -> ChangedRow | None:
    groups: list[list[Sample]] = []
    unread: list[Sample] = []

    def place(sample: Sample) -> int:
        if is_unread(sample):
            unread.append(sample)
            return RIGHT if sample.outcome.correct else WRONG
        for i, group in enumerate(groups):
            if alike(group[0], sample):
                group.append(sample)
                return i
        groups.append([sample])
        return len(groups) - 1

    places = {cell: tuple(map(place, samples)) for cell, samples in by_cell.items()}
    if len({p for of_cell in places.values() for p in of_cell}) < 2:
        return None
    text = next(sample.question for samples in by_cell.values() for sample in samples)
    return ChangedRow(id, text, text_digest(text), tuple(map(tuple, groups)), places, tuple(unread))


def pairs(rows: Iterable[ChangedRow], wanted: Iterable[Mapping[Cell, float]], seed: int) -> list[Pair]:
    """Returns the pairs that a person has to see so that every answer that a difference needs is judged, row by row.

    A pair is of two answers with unlike signs in one difference. One that holds no answer beyond those of the row's
    earlier pairs is left out. Which answer comes first is drawn by the names of row and answers.
    """
    wanted = list(wanted)
    found = [pair for row in rows for pair in _pairs_of(row, wanted, seed)]
    # Rows of one text and with the same answers are looked at once.
    return list({pair_digest(*pair.digests): pair for pair in reversed(found)}.values())[::-1]


def _pairs_of(row: ChangedRow, wanted: Sequence[Mapping[Cell, float]], seed: int) -> Iterator[Pair]:
    seen: set[int] = set()
    for single in wanted:
        if not row.has(single):
            continue
        weights = row.weights(single)
        above = [place for place, weight in weights.items() if weight > 0 and place >= 0]
        below = [place for place, weight in weights.items() if weight < 0 and place >= 0]
        # A single answer is put beside one that cannot be read, which the other cells of the difference gave.
        for one in above or [WRONG]:
            for other in below or [WRONG]:
                if {one, other} <= seen | {WRONG}:
                    continue
                seen |= {one, other}
                yield ordered(Pair(row, (one, other)), seed)


def ordered(pair: Pair, seed: int) -> Pair:
    """Returns the pair in an order that is drawn by the names of row and answers: it says nothing of the arms."""
    text, *names = pair.digests
    swap = derive(seed, "order", text, *sorted(names)) % 2 == (names == sorted(names))
    return pair.swapped() if swap else pair
