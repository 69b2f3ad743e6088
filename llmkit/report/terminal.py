"""A run on one screen: draws the summary of a view with Rich, at most 100 columns wide."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill
from typing import TYPE_CHECKING

from llmkit import terminal
from llmkit.report import view
from llmkit.report.elements import Cell, Column, Table
from llmkit.report.notes import notes

if TYPE_CHECKING:
    from rich.console import Console, Group
    from rich.table import Table as RichTable

    from llmkit.measure.results import Metrics
    from llmkit.report.comparison import ComparisonView

WIDTH = 100
_FOLDED = 16  # characters; a longer name (`file:PATH`) is folded, so that no number beside it is cut
_COLOURS = {"pass": "green", "fail": "red", "undecided": "yellow"}


def console(width: int = WIDTH) -> Console:
    """Returns standard output, `width` columns wide where it is a file or a pipe, so that no table in it is cut."""
    return terminal.console(width)


def summary(metrics: Metrics) -> Group:
    """Returns the tables and notes of a run, as something Rich can print."""
    from rich.console import Group
    from rich.text import Text

    notes_of_run = notes(metrics)
    parts = [part for table in view.summary(metrics) for part in draw(table)]
    spaced = [part for table in parts for part in (table, Text())]
    first = [Text(f"{line}\n", style="bold") for line in notes_of_run.headlines]
    warned = [Text(f"warning: {line}", style="yellow") for line in notes_of_run.warnings]
    return Group(*first, *spaced, *warned, Text("\n".join(notes_of_run.remarks), style="dim"))


def comparison(view: ComparisonView) -> Group:
    """Returns the tables of a comparison of runs, as something Rich can print."""
    from rich.console import Group
    from rich.text import Text

    below, shared = Text("\n".join(view.notes)), Text(view.shared, style="dim")
    return Group(*draw(view.runs, edge=True), below, *draw(view.changes, edge=True), shared)


def draw(table: Table, *, edge: bool = False) -> list[RichTable]:
    """Draws a table, one with many columns in several pieces; with `edge`, space around it and no least width."""
    shown = [i for i, column in enumerate(table.columns) if column.narrow][1:]
    step = table.split or len(shown)
    pieces = [shown[start : start + step] for start in range(0, len(shown), step)]
    return [_piece(table, [0, *piece], ", continued" if i else "", edge) for i, piece in enumerate(pieces)]


def _piece(table: Table, shown: Sequence[int], more: str, edge: bool) -> RichTable:
    from rich import box
    from rich.table import Table as RichTable

    title = terminal.literal(f"{table.title}{more}")
    drawn = RichTable(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    drawn.show_edge = edge
    if table.dense:
        drawn.padding = (0, 0, 0, 1)
    first, *others = (table.columns[i] for i in shown)
    drawn.add_column(first.name, overflow="fold", min_width=min(len(first.name), _FOLDED))
    for column in others:
        fixed = len(column.name) <= _FOLDED and not column.words
        drawn.add_column(
            terminal.literal(column.name),
            justify="left" if column.left else "right",
            no_wrap=fixed,
            overflow="fold",
            min_width=None if edge else 7,
        )
    for row in table.rows:
        drawn.add_row(*(_text(row[i], table.columns[i]) for i in shown))
    if any(table.footer[i].text for i in shown[1:] if table.footer):
        drawn.add_section()
        drawn.add_row(*(_text(table.footer[i], table.columns[i]) for i in shown), style="dim")
    return drawn


def _text(cell: Cell, column: Column) -> str:
    """Returns a cell as Rich's markup."""
    text = terminal.literal(cell.text)
    if colour := _COLOURS.get(cell.emphasis):
        text = f"[{colour}]{text}[/{colour}]"
    if cell.span and column.interval != "omitted":
        signed = cell.span.signed
        ends = f"[{cell.span.low} {cell.span.high}]" if signed else f"{cell.span.low}–{cell.span.high}"
        if column.interval == "below":
            text += f"\n[dim]{terminal.literal(ends)}[/dim]"
        else:
            text += " " + terminal.literal(ends if signed or column.interval == "bare" else f"({ends})")
    return text + (f"\n[dim]{terminal.literal(fill(cell.note, column.note_width))}[/dim]" if cell.note else "")
