"""Labels: one of a list that all questions share, as the queues of a help desk are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from llmkit.errors import DataError
from llmkit.prompts import render
from llmkit.registry import nearest
from llmkit.tasks.kinds import Kind, kind
from llmkit.tasks.readers import UNCLEAR, Reader, first_line, last_affirmed, paragraph
from llmkit.tasks.text import normalise
from llmkit.types import Question

_OUTSIDE = " \t\r\n*_`\"'“”‘’.,;:!?()[]{}<>#-–—"


class LabelReader:
    """A label as it is written, whatever its case. Of several in a text without a marker none is the answer."""

    def __init__(self, labels: tuple[str, ...]) -> None:
        self._labels = _unmistaken(labels)
        longest_first = sorted({label.casefold() for label in labels}, key=len, reverse=True)
        self._named = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first)) or '(?!)'})(?!\w)")

    def leading(self, content: str) -> str | None:
        line = first_line(content)
        start = self._named.match(line.casefold().lstrip(_OUTSIDE))
        return self._whole(line) or (self._labels.get(start[0]) if start else None)

    def near(self, content: str) -> str | None:
        match = last_affirmed(self._named, paragraph(content).casefold())
        return self._labels.get(match[0]) if match else None

    def revised(self, content: str) -> str | None:
        return self.near(content)

    def anywhere(self, text: str) -> str | None:
        lines = text.strip().split("\n")
        if whole := self._whole(text) or self._whole(lines[-1]) or self._whole(lines[0]):
            return whole
        named = {match[0] for match in self._named.finditer(text.casefold())}
        return self._labels.get(named.pop()) if len(named) == 1 else UNCLEAR if named else None

    def _whole(self, text: str) -> str | None:
        stripped = text.strip(_OUTSIDE)
        return self._labels.get(stripped.casefold()) or self._labels.get(normalise(stripped))


_reader = lru_cache(maxsize=256)(LabelReader)  # compiles a pattern for each list of labels


def _unmistaken(labels: Sequence[str]) -> dict[str, str]:
    """Returns labels by their text in small letters, and by letters and digits where these tell them apart."""
    keys = [normalise(label) for label in labels]
    by_letters = {key: label for key, label in zip(keys, labels, strict=True) if key and keys.count(key) == 1}
    return by_letters | {label.casefold(): label for label in labels}


@kind("label")
class Label(Kind):
    """One of a list of labels that all questions share: `data.labels`, else all that the rows have."""

    exact = True
    lists_labels = True
    of_all = ("macro_f1",)

    def labels_in(self, gold: Any) -> list[str]:
        return [str(gold).strip()]

    def canonical(self, gold: str, options: Sequence[str] = ()) -> str:
        label = _unmistaken(options).get(gold.strip().casefold())
        if label is None:
            close = nearest(gold, options)
            hint = f"did you mean `{close[0]}`?" if close else f"the labels are {', '.join(options)}"
            raise DataError(f"the answer {gold!r} is none of the labels", hint)
        return label

    def reader(self, question: Question) -> Reader:
        return _reader(question.labels)

    def same(self, parsed: str, gold: str) -> bool:
        return parsed == gold

    def asks(self, question: Question) -> str:
        return render("format/label-v1", labels=", ".join(question.labels))

    def chance(self, gold: str, options: Sequence[str] = ()) -> float:
        return 1 / len(options) if options else 0.0

    def continuations(self, question: Question) -> list[tuple[str, str]]:
        return [(label, f"The answer is {label}") for label in question.labels]
