"""From a reply to an answer: found by kind, written in one form, scored.

An explicit marker decides: `####`, `\\boxed{}`, "the answer is", "Answer:". Of several the last one with an answer
right behind it, then the last one with an answer in its paragraph. Only a reply without a readable marker falls back
to its last number, its last standing label, an option's text, its last yes or no, or its last line.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator

from llmkit.tasks import numbers
from llmkit.tasks.readers import reader
from llmkit.tasks.text import LABELS, normalise
from llmkit.types import Question

_REACH = 2000  # characters read behind a marker
_MOST = 100  # markers read, counted from the last
_MARKER = re.compile(
    r"""\#{4}(?!\#)
      | \\(?:boxed|fbox)\s{0,3}\{
      | \b(?:answer|(?:correct|right|best)\s(?:option|choice|one|solution|ending))\b(?!\s(?:choices|options|format)\b)
        [^.\n:={}]{0,60}?(?:\bis\b|\bare\b|\bbe\b|[:=])""",
    re.VERBOSE | re.IGNORECASE,
)
_NEXT_QUESTION = re.compile(r"\S\s{0,9}\n\s{0,3}(?:Q|Question)\s?:")


def extract(text: str, question: Question) -> str | None:
    """The answer that a reply gives, in the canonical form of the question's kind; None where it gives none.

    `text` is the reply alone, never the prompt; where a base model goes on to invent the next question, it is read up
    to there. Takes time linear in the text and never raises.
    """
    invented = _NEXT_QUESTION.search(text)
    found = _read(text[: invented.start() + 1], question) if invented else None
    return _read(text, question) if found is None else found


def score(parsed: str | None, question: Question) -> bool:
    """Whether an extracted answer is the gold one. Numbers agree by value, free text by its letters and digits."""
    if parsed is None:
        return False
    if question.kind == "numeric":
        given, gold = numbers.parse(parsed), numbers.parse(question.gold)
        return given is not None and gold is not None and numbers.same(given, gold)
    return normalise(parsed) == normalise(question.gold)


def gold_text(question: Question) -> str:
    """The gold answer as one would write it: "18", "(B) library", "yes"."""
    if question.kind == "choice":
        return f"({question.gold}) {question.options[LABELS.index(question.gold)]}"
    return question.gold


def _read(text: str, question: Question) -> str | None:
    read = reader(question.kind, question.options)
    marked = [*_marked(text)][::-1]
    for _, content in marked:
        if (found := read.leading(content)) is not None:
            return found
    for marker, content in marked:
        if marker != "####" and (found := read.near(content)) is not None:  # "#### Step 2" is a heading
            return found
    return read.anywhere(text)


def _marked(text: str) -> Iterator[tuple[str, str]]:
    """Each marker with what stands behind it, as far as it could matter."""
    for match in deque(_MARKER.finditer(text), maxlen=_MOST):
        content = text[match.end() : match.end() + _REACH]
        yield match[0], _braced(content) if match[0][0] == "\\" else content


def _braced(content: str) -> str:
    """Up to the brace that closes the one before `content`."""
    depth = 1
    for i, char in enumerate(content):
        depth += (char == "{") - (char == "}")
        if depth == 0:
            return content[:i]
    return content
