"""The view of several runs beside each other, and of what changed from the first of them to each other one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmkit.conditions import REPLICATE
from llmkit.measure import changed
from llmkit.measure.cells import NOISY
from llmkit.report.elements import Cell, Column, Point, Table
from llmkit.report.written import interval_words, p_value
from llmkit.types import CLEAN

if TYPE_CHECKING:
    from llmkit.measure.beside import Beside, BesideRow
    from llmkit.measure.compare import ComparedRow, Comparison
    from llmkit.measure.values import Interval

_COLOURS = {CLEAN: 0, REPLICATE: 0, NOISY: 2}  # of bars, as numbers of the palette
_WORDS = {CLEAN: "clean", REPLICATE: "by itself", NOISY: "noisy"}


@dataclass(frozen=True, slots=True)
class ComparisonView:
    """Two tables: `runs` has a row for each arm of each run, `changes` one for each thing that was compared.

    `shared` says how many questions the changes are about, `colours` which number of the palette a bar has.
    """

    title: str
    lead: str
    runs: Table
    notes: tuple[str, ...]
    changes: Table
    shared: str
    colours: tuple[tuple[str, int], ...]


def comparison(beside: Beside, paired: Comparison) -> ComparisonView:
    """Builds the view of a comparison."""
    first = beside.rows[0]
    left_out = f"; {paired.left_out} left out, their text differs" if paired.left_out else ""
    return ComparisonView(
        "Runs beside each other",
        f"Brackets are 95 % intervals; changes are paired, against {_name(first)}. Tokens count prompt and reply of "
        "every call that an answer took.",
        _runs(beside),
        tuple(notes(beside)),
        _changes(paired),
        f"{paired.questions} shared {_noun(first)}{left_out}",
        tuple((_WORDS[condition], _COLOURS[condition]) for condition in _shares(first)),
    )


def notes(compared: Beside | Comparison) -> list[str]:
    """Returns the lines below a table: the shares of questions that noise changed, warnings, and dtypes."""
    return [*changed.lines(compared.noise), *(f"{run}: dtype {dtype}" for run, dtype in compared.dtypes.items())]


def _runs(beside: Beside) -> Table:
    rows = []
    for row in beside.rows:
        tokens = "–" if row.tokens_per_answer is None else f"{row.tokens_per_answer:.0f}"
        rows.append(
            (
                Cell(_name(row)),
                Cell(drawn=_bars(row)),
                *(_accuracy(share) for share in _shares(row).values()),
                *(_accuracy(row.change[condition], "+") for condition in _shares(row)),
                Cell(tokens),
                Cell(_training(row)),
            )
        )
    first = beside.rows[0]
    words = [_WORDS[condition] for condition in _shares(first)]
    names = (*words, *(f"{word}, change" for word in words), "tokens/answer", "training")
    columns = (Column("run, arm"), Column("", drawing="bars"), *map(Column, names))
    most = max((share.high for row in beside.rows for share in _shares(row).values() if share), default=1.0)
    noise = ", ".join(beside.conditions) or "no noise"
    what = "answers that change by themselves and under" if first.changed else "clean and under"
    title = f"{beside.questions} shared {_noun(first)}, {what} {noise}"
    return Table(title, columns, tuple(rows), reach=most or 1.0)


def _changes(paired: Comparison) -> Table:
    several = len(paired.runs) > 2
    shown = [row for row in paired.rows if row.metric != "drop" or row.condition == NOISY]
    what = "changed" if any(row.metric == "changed" for row in shown) else "accuracy"
    rows = [(*([Cell(row.run)] if several else []), *_change(row)) for row in shown]
    names = ("before", "after", "change", "interval", "better", "worse", "p")
    first = (*([Column("run")] if several else []), Column("arm", left=True), Column(what, left=True))
    title = " against ".join([", ".join(paired.runs[1:]), paired.runs[0]])
    return Table(title, (*first, *map(Column, names)), tuple(rows))


def _change(row: ComparedRow) -> list[Cell]:
    change = row.change
    return [
        Cell(row.arm),
        Cell(f"drop, {row.condition}" if row.metric == "drop" else _WORDS.get(row.condition, row.condition)),
        *(Cell("-" if mean is None else f"{mean:.3f}") for mean in (row.before, row.after)),
        Cell(f"{change.value:+.3f}"),
        Cell(f"[{change.low:+.3f}, {change.high:+.3f}]"),
        *(Cell("" if count is None else str(count)) for count in (change.better, change.worse)),
        Cell(p_value(change.p), note="undecided" if change.undecided else ""),
    ]


def _shares(row: BesideRow) -> dict[str, Interval | None]:
    return row.changed or row.accuracy


def _noun(row: BesideRow) -> str:
    return "rows" if row.changed else "questions"


def _name(row: BesideRow) -> str:
    return f"{row.run}, {row.arm}"


def _accuracy(measured: Interval | None, sign: str = "") -> Cell:
    """Returns a value with its interval below it, because beside it the table would be 150 columns wide."""
    if measured is None:
        return Cell("–")
    return Cell(f"{measured.value:{sign}.3f}", note=f"[{measured.low:{sign}.3f}, {measured.high:{sign}.3f}]")


def _training(row: BesideRow) -> str:
    if row.training is None:
        return "none"
    return "unknown" if row.training.seconds is None else f"{row.training.seconds / 60:.1f} min"


def _bars(row: BesideRow) -> tuple[Point, ...]:
    """Returns the shares of a row, clean and noisy, to be drawn one below the other."""
    return tuple(
        Point(
            share.value,
            share.low,
            share.high,
            _COLOURS[condition],
            words=f"{_name(row)}, {_WORDS[condition]}: {share.value:.3f}, interval {interval_words(share)}",
        )
        for condition, share in _shares(row).items()
        if share
    )
