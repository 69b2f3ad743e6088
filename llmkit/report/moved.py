"""The rows of a run whose answers got worse or better: since a stored run, or, without one, under noise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from llmkit.conditions import Condition
from llmkit.measure.cells import Cell as Group
from llmkit.measure.cells import Cells
from llmkit.measure.compared import compared, failed
from llmkit.measure.matched import Matched
from llmkit.measure.stability import unlabelled
from llmkit.measure.stored import said
from llmkit.report.elements import Cell, Column, Table
from llmkit.runs.samples import Sample
from llmkit.types import CLEAN

ROWS = 10
"""Rows of a table; its title says how many there are."""
_LONGEST = 160  # characters of a text

Pair = tuple[Sample, Sample]
"""An answer before and the one after."""


def moved(samples: Sequence[Sample], stored: Sequence[Sample] = ()) -> tuple[Table, ...]:
    """Returns the answers that got worse and better since a stored run; without one, those that noise turned.

    Of rows without answers, those that say something else. Empty where nothing moved.
    """
    pairs = list(_since(samples, stored) if stored else _under_noise(samples))
    when = "since the baseline" if stored else "under noise"
    if unlabelled(samples):
        changed = [pair for pair in pairs if _differ(*pair, across=bool(stored))]
        return tuple(_tables((f"Answers that changed {when}", changed)))
    worse = [(old, new) for old, new in pairs if old.outcome.correct and not new.outcome.correct]
    better = [(old, new) for old, new in pairs if new.outcome.correct and not old.outcome.correct]
    return tuple(_tables((f"Worse {when}", worse), (f"Better {when}", better)))


def _since(samples: Sequence[Sample], stored: Sequence[Sample]) -> Iterator[Pair]:
    """Yields the answers to rows that both runs have with the same text."""
    texts = {s.outcome.question_id: s.question for s in samples}
    same = [s for s in stored if not s.question or texts.get(s.outcome.question_id) in (s.question, "")]
    cells = Cells(same, samples)
    both = Matched(cells, 0.0)
    for arm in cells.arms:
        for condition in (c for c in cells.conditions if Condition.parse(c).replicate == 1):
            for new, old in both.matched(Group(arm, condition, 1), Group(arm, condition, 0)):
                yield old, new


def _under_noise(samples: Sequence[Sample]) -> Iterator[Pair]:
    """Yields the answers to rows as sent, and to their noisy copies."""
    cells = Cells(samples)
    both = Matched(cells, 0.0)
    for arm in cells.arms:
        for condition in cells.noisy:
            for new, old in both.matched(Group(arm, condition), Group(arm, CLEAN)):
                yield old, new


def _differ(old: Sample, new: Sample, across: bool) -> bool:
    """Returns whether two answers say something else; `across` two runs, digests are all that is known of some."""
    if failed(old) or failed(new):
        return failed(old) != failed(new)
    if across and (old.hidden or new.hidden):
        before, after = said(old), said(new)
        return before is not None and after is not None and before != after
    return compared(new, old).changed


def _tables(*named: tuple[str, Sequence[Pair]]) -> Iterator[Table]:
    columns = (
        Column("row", words=True, quoted=True),
        Column("arm", left=True),
        Column("condition", left=True),
        Column("expected", words=True, quoted=True),
        Column("before", words=True, quoted=True),
        Column("now", words=True, quoted=True),
    )
    for title, pairs in named:
        if pairs:
            rows = [_row(*pair) for pair in pairs[:ROWS]]
            filled = [i for i in range(len(columns)) if any(row[i].text for row in rows)]
            more = f", {ROWS} of them here" if len(pairs) > ROWS else ""
            yield Table(
                f"{title}: {_answers(len(pairs))}{more}",
                tuple(columns[i] for i in filled),
                tuple(tuple(row[i] for i in filled) for row in rows),
            )


def _answers(count: int) -> str:
    return "1 answer" if count == 1 else f"{count:,} answers"


def _row(old: Sample, new: Sample) -> tuple[Cell, ...]:
    o = new.outcome
    row = o.question_id if new.hidden else new.text or o.question_id
    gold = "" if new.hidden else o.gold or ""
    cells = [row, o.arm, o.condition, gold, _answer(old), _answer(new)]
    return tuple(Cell(_short(text)) for text in cells)


def _answer(sample: Sample) -> str:
    """Returns an answer in a few words; of one whose text is not kept, whether it was right."""
    o = sample.outcome
    if o.error is not None:
        return "(the call failed)"
    if text := None if sample.hidden else o.parsed or sample.answer:
        return text
    return "" if o.correct is None else "(right)" if o.correct else "(wrong)"


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
