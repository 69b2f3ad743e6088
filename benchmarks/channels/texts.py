"""The texts that are spoken and printed: questions of public sets, in an order and in halves that every run repeats."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

LICENCES = {
    "gsm8k": "MIT",
    "svamp": "MIT",
    "csqa": "MIT (by the data set's card)",
    "ARC-Easy": "ODC-By",
    "ARC-Challenge": "ODC-By",
    "openbookqa": "ODC-By",
}
"""The sets, and what each states. Only parts for training are read where a set has parts."""

_MOST_WORDS = 32  # of a text, so that the slowest voice needs less than Whisper's 30 seconds
_LEAST_WORDS = 4
_HELD_OUT = 0.2

_SENTENCE_END = re.compile(r"(?<=[.?!])\s+")
_QUESTION = re.compile(r"question: (.*?)\n", re.DOTALL)


class Text(NamedTuple):
    """One text: the set and row it comes from, and whether it is kept for the comparison."""

    source: str
    row: int
    text: str
    held_out: bool


def texts(folder: Path) -> list[Text]:
    """Returns all texts of the sets below a folder, in an order that mixes the sets. All texts of one row are on the
    same side."""
    found: list[Text] = []
    for source in LICENCES:
        for row, question in enumerate(_questions(folder, source)):
            held_out = Random(f"channels held out {source} {row}").random() < _HELD_OUT
            found += (Text(source, row, text, held_out) for text in _pieces(question))
    Random("channels order").shuffle(found)
    return found


def _questions(folder: Path, source: str) -> Iterator[str]:
    if source == "gsm8k":
        yield from (row["question"] for row in _lines(folder / "gsm8k" / "train.jsonl"))
    elif source == "svamp":
        rows = json.loads((folder / "svamp" / "SVAMP.json").read_text(encoding="utf-8"))
        yield from (f"{row['Body'].rstrip('. ')}. {row['Question']}" for row in rows)
    elif source == "csqa":
        yield from (row["question"]["stem"] for row in _lines(folder / "csqa" / "train_rand_split.jsonl"))
    else:
        rows = json.loads((folder / "commonsense" / source / "train.json").read_text(encoding="utf-8"))
        for row in rows:
            if match := _QUESTION.search(row["instruction"]):
                yield match.group(1)


def _lines(path: Path) -> Iterator[Any]:
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def _pieces(question: str) -> Iterator[str]:
    """Yields a question in pieces of whole sentences that are short enough; a longer sentence is left out."""
    piece: list[str] = []
    for sentence in (*_SENTENCE_END.split(" ".join(question.split())), None):
        words = sentence.split() if sentence else []
        if piece and (sentence is None or len(piece) + len(words) > _MOST_WORDS):
            if _LEAST_WORDS <= len(piece) <= _MOST_WORDS and " ".join(piece).isascii():
                yield " ".join(piece)
            piece = []
        piece += words
