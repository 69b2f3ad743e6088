"""Collects what a recogniser writes, a JSON line for each text, so that a run that was killed goes on where it was."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from channels.texts import Text, texts

Recognise = Callable[[str], dict[str, Any]]
"""Takes a text; returns what was read for it as "read", and how it was spoken or printed."""


def collect(path: Path, wanted: Sequence[Text], recognise: Recognise) -> None:
    """Appends a line for each text that the file does not hold. Lines are written whole, and each as it is finished."""
    done = finished(path)
    with path.open("a", encoding="utf-8") as lines:
        for text in wanted:
            if text not in done:
                done.add(text)
                lines.write(json.dumps({**text._asdict(), **recognise(text.text)}) + "\n")
                lines.flush()


def finished(path: Path) -> set[Text]:
    """Returns the texts that a file holds, and takes away the end of a line that was not finished."""
    if not path.exists():
        return set()
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        with path.open("r+b") as lines:
            lines.truncate(whole)
    rows = map(json.loads, content[:whole].decode("utf-8").splitlines())
    return {Text(**{key: row[key] for key in Text._fields}) for row in rows}


def run(about: str | None, recognise: Callable[[], Recognise]) -> None:
    """Reads the command line of a script, loads its recogniser, and collects."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder of the question sets")
    parser.add_argument("--out", type=Path, required=True, help="the file that lines are appended to")
    parser.add_argument("--most", type=int, default=6_000, help="texts")
    arguments = parser.parse_args()
    collect(arguments.out, texts(arguments.data)[: arguments.most], recognise())
