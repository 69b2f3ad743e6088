"""The elements of a view: tables with their columns and cells, charts with their points, choices, sections, facts.

Terminal, page, Markdown and junit.xml draw these values and decide nothing about them. A drawer may leave out what its
medium has no room for, and only what is marked for that: columns that are `wide`, intervals that are `omitted`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Emphasis = Literal["", "pass", "fail", "undecided", "best", "bad", "muted"]
Placement = Literal["beside", "bare", "below", "omitted"]
ChartKind = Literal["bars", "lines", "points"]
Drawing = Literal["", "difference", "bars", "history"]


@dataclass(frozen=True, slots=True)
class Span:
    """The ends of an interval as they are written; `signed` if it is the interval of a difference or ratio."""

    low: str
    high: str
    signed: bool = False


@dataclass(frozen=True, slots=True)
class Point:
    """A value with its interval, to be drawn at `x` in a colour of the palette.

    `text` is the value as written, `words` the sentence for whoever points at it or does not see it. `answers` is the
    arm and the condition ("" for all) whose answers the value stands for.
    """

    value: float
    low: float
    high: float
    colour: int = 0
    x: float = 0.0
    text: str = ""
    words: str = ""
    answers: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a table: text, interval, a remark, and the reason or detail to show on demand (`hint`).

    `drawn` are points to draw instead of text, as the column says. `shade` in -9..9 is how strongly the cell is
    coloured: below 0 as a loss, above as a gain. `link` is a relative address of more about it.
    """

    text: str = ""
    span: Span | None = None
    note: str = ""
    emphasis: Emphasis = ""
    hint: str = ""
    drawn: tuple[Point, ...] = ()
    shade: int = 0
    link: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name, and where a narrow medium puts the intervals of its cells.

    A `wide` column is left out of narrow media, and so is one with a `drawing`: differences from 0, bars from 0, or the
    history that leads to the last of several points. The cells of a column of `words` may be broken into lines; those
    of a `quoted` one are texts of users and models.
    `note_width` is the number of characters in a line of a remark.
    """

    name: str
    interval: Placement = "beside"
    wide: bool = False
    words: bool = False
    quoted: bool = False
    left: bool = False
    drawing: Drawing = ""
    note_width: int = 40

    @property
    def narrow(self) -> bool:
        """True where narrow media show the column."""
        return not self.wide and not self.drawing


@dataclass(frozen=True, slots=True)
class Table:
    """A table; the first cell of each row names it. `caption` says more than the title, where there is room for it.

    `reach` is the value at the ends of drawn differences and bars. `dense` saves space between columns, `split` is the
    number of columns beside the first that a narrow medium shows in one piece.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str = ""
    footer: tuple[Cell, ...] = ()
    reach: float = 1.0
    dense: bool = False
    split: int | None = None


@dataclass(frozen=True, slots=True)
class Series:
    """The points of one name: the bars of a row, or the line of an arm."""

    name: str
    points: tuple[Point, ...]

    @property
    def colour(self) -> int:
        return self.points[0].colour


@dataclass(frozen=True, slots=True)
class Mark:
    """A reference line at `value`, such as the rate of guessing."""

    value: float
    name: Literal["reference", "chance"]


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars, lines or points with intervals. `ticks` are along the values, `x_ticks` along `x`; both begin at 0.

    `words` says what a chart shows to whoever does not see it.
    """

    kind: ChartKind
    series: tuple[Series, ...]
    ticks: tuple[float, ...]
    x_ticks: tuple[float, ...] = ()
    title: str = ""
    note: str = ""
    x_name: str = ""
    words: str = ""
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True, slots=True)
class Grid:
    """Charts side by side, `wide` ones with more room for each."""

    charts: tuple[Chart, ...]
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Option:
    """One of the things to choose from, and what it shows."""

    value: str
    label: str
    block: Table | Chart


@dataclass(frozen=True, slots=True)
class Choice:
    """Blocks of which one is shown at a time, the first at first."""

    id: str
    label: str
    options: tuple[Option, ...]


Block = Table | Chart | Grid | Choice


@dataclass(frozen=True, slots=True)
class Section:
    """A titled part of the page; `lead` says how to read it."""

    id: str
    title: str
    lead: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Tile:
    """One of the main numbers of a run."""

    name: str
    cell: Cell


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts of a run, from the files of its folder: its name, rows of (name, value), and the instructions by name.

    `kicker` is the line above the title.
    """

    run: str = ""
    title: str = "A run"
    kicker: str = ""
    rows: tuple[tuple[str, str], ...] = ()
    instructions: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict of one gate; `measured` has the measurement in words."""

    gate: str
    metric: str
    state: Literal["pass", "fail", "undecided"]
    measured: str
