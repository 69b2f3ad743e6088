"""A run as Markdown: draws the summary of a view, for a pull request, a step summary or a wiki.

What users and models wrote stays text: it makes no table, link, image, mention, reference or comment.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from llmkit.report.elements import Cell, Column, Table
from llmkit.report.view import View
from llmkit.terminal import visible

LONGEST = 60_000
"""Bytes of a document. GitHub takes 65,536 characters in a comment, and 1 MiB in a step summary."""

_SPECIAL = re.compile(r"([\\`*_\[\]<>|~&#$])")  # what has a meaning inside a line
_ALIVE = re.compile(r"@|#(?=\d)|:(?=/)|www(?=\.)|(?<=gh)-(?=\d)", re.IGNORECASE)
"""The places after which GitHub makes a mention, a reference to an issue, or a link of plain text."""
_BREAK = "\u200b"  # a space without width: shown as nothing, and part of no name, number or address
_LEFT_OUT = "Some tables are left out here, because a comment has no room for them; report.html has all."


def document(view: View, longest: int = LONGEST) -> str:
    """Returns title, verdict, warnings, gates, what moved, and the tables and remarks of a run.

    What does not fit into `longest` bytes is left out, tables from the last one, and said to be.
    """
    head = [f"# {_escaped(view.facts.title)}", f"**{_escaped(view.verdict)}**"]
    head += [f"**{_escaped(line)}**" for line in view.notes.headlines]
    head += [f"> Warning: {_escaped(line)}." for line in view.notes.warnings]
    tables = [*([view.gates] if view.gates else []), *view.moved, *(t for t in view.summary if t != view.gates)]
    parts = [*head, *(_drawn(table) for table in tables), *(_escaped(line) for line in view.notes.remarks)]
    return _within(parts, longest)


def _within(parts: Sequence[str], longest: int) -> str:
    """Joins the parts that there is room for, in order."""
    room = longest - _size(_LEFT_OUT)
    kept = []
    for part in parts:
        if _size(part) <= room:
            room -= _size(part)
            kept.append(part)
    return "\n\n".join(kept if len(kept) == len(parts) else [*kept, _LEFT_OUT]) + "\n"


def _size(part: str) -> int:
    return len(part.encode("utf-8", "replace")) + 2


def _drawn(table: Table) -> str:
    return f"## {_escaped(table.title)}\n\n{_table(table)}"


def _table(table: Table) -> str:
    shown = [i for i, column in enumerate(table.columns) if column.narrow]
    columns = [table.columns[i] for i in shown]
    ruler = ["---", *("---" if column.left or column.words else "---:" for column in columns[1:])]
    lines = [_row([_escaped(column.name) for column in columns]), _row(ruler)]
    rows = [*table.rows, *([table.footer] if any(cell.text for cell in table.footer[1:]) else [])]
    lines += [_row([_text(row[i], table.columns[i]) for i in shown]) for row in rows]
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _text(cell: Cell, column: Column) -> str:
    if column.quoted:
        return _quoted(cell.text)
    text = _escaped(cell.text)
    if cell.emphasis in ("best", "fail", "bad"):
        text = f"**{text}**"
    if cell.span and column.interval != "omitted":
        text += f" ({_escaped(cell.span.low)} to {_escaped(cell.span.high)})"
    return text + (f"; {_escaped(cell.note)}" if cell.note else "")


def _escaped(text: str) -> str:
    """Returns a text on one line, without any meaning as Markdown."""
    return _SPECIAL.sub(r"\\\1", _inert(text))


def _quoted(text: str) -> str:
    """Returns a text as code, which names nobody and links nothing.

    Marks become character references: no run of backticks, no bar and no bracket can then end the cell or the code.
    """
    coded = re.sub(r"[!#$&*:<>@\[-`{-~]", lambda mark: f"&#{ord(mark[0])};", _inert(text))
    return f"<code>{coded}</code>" if coded else ""


def _inert(text: str) -> str:
    """Returns a text on one line, without control characters, in which Markdown's readers find no name or address."""
    return _ALIVE.sub(rf"\g<0>{_BREAK}", visible(" ".join(text.split())))
