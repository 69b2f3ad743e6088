"""A run as Markdown: draws the summary of a view, for a pull request or a wiki."""

from __future__ import annotations

import re
from collections.abc import Sequence

from llmkit.report.elements import Cell, Column, Table
from llmkit.report.view import View
from llmkit.terminal import visible

_SPECIAL = re.compile(r"([\\`*_\[\]<>|~&#])")  # what has a meaning inside a line


def document(view: View) -> str:
    """Returns title, headlines, warnings, tables and remarks of a run."""
    parts = [f"# {_escaped(view.facts.title)}"]
    parts += [f"**{_escaped(line)}**" for line in view.notes.headlines]
    parts += [f"> Warning: {_escaped(line)}." for line in view.notes.warnings]
    for table in view.summary:
        parts += [f"## {_escaped(table.title)}", _table(table)]
    parts += [_escaped(line) for line in view.notes.remarks]
    return "\n\n".join(parts) + "\n"


def _table(table: Table) -> str:
    shown = [i for i, column in enumerate(table.columns) if column.narrow]
    columns = [table.columns[i] for i in shown]
    lines = [_row([_escaped(column.name) for column in columns]), _row(["---", *(["---:"] * (len(columns) - 1))])]
    rows = [*table.rows, *([table.footer] if any(cell.text for cell in table.footer[1:]) else [])]
    lines += [_row([_text(row[i], table.columns[i]) for i in shown]) for row in rows]
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _text(cell: Cell, column: Column) -> str:
    text = _escaped(cell.text)
    if cell.emphasis in ("best", "fail", "bad"):
        text = f"**{text}**"
    if cell.span and column.interval != "omitted":
        text += f" ({_escaped(cell.span.low)} to {_escaped(cell.span.high)})"
    return text + (f"; {_escaped(cell.note)}" if cell.note else "")


def _escaped(text: str) -> str:
    """Returns a text on one line, without any meaning as Markdown."""
    return _SPECIAL.sub(r"\\\1", visible(" ".join(text.split())))
