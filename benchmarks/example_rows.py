"""What the scripts of the example applications (tickets, extract, tools) share: chats to train on, and rows to ask."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from jinja2 import Template
from ruamel.yaml import YAML

Chat = dict[str, list[dict[str, str]]]


def lines(text: str) -> list[str]:
    """Returns the lines of a block, without what indents them."""
    return [line.strip() for line in text.strip().splitlines()]


def chats(prompt: Path, field: str, answered: Iterable[tuple[str, str]]) -> list[Chat]:
    """Returns the chats that teach a model to answer: the prompt's messages around each text, then the answer."""
    messages = [(m["role"], Template(m["content"])) for m in YAML(typ="safe").load(prompt)]
    return [
        {
            "messages": [
                *({"role": role, "content": content.render({field: text})} for role, content in messages),
                {"role": "assistant", "content": answer},
            ]
        }
        for text, answer in answered
    ]


def write_chats(path: Path, rows: Iterable[Chat]) -> None:
    """Writes the chats, one a line."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def table(header: Sequence[str], letter: str, rows: Iterable[tuple[str, object]]) -> str:
    """Returns the rows that are asked, as CSV: a numbered id, the text, and the right answer in JSON."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    for number, (asked, answer) in enumerate(rows, 1):
        writer.writerow([f"{letter}-{number:03}", asked, json.dumps(answer)])
    return text.getvalue()
