"""From a reply to an answer: found by kind, written in one form, scored.

An explicit marker decides: `####`, `\\boxed{}`, "the answer is", "Answer:". Of several the last one with an answer
right behind it, then the last one with an answer in its paragraph. Only a reply without a readable marker falls back
to its last number, its last standing label, an option's text, its last yes or no, or its last line.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from llmkit.tasks import language, numbers
from llmkit.tasks.readers import Reader, reader
from llmkit.tasks.text import LABELS, normalise
from llmkit.types import Question

_REACH = 2000  # characters read behind a marker
_MOST = 100  # markers read, counted from the last
_MARKER = re.compile(
    r"""(?P<hash>\#{4})(?!\#)
      | (?P<box>\\(?:boxed|fbox)\s{0,3}\{)
      | <(?P<tag>final[_ ]?answer|answer|ans)>
      | (?P<phrase>\b(?:answer|(?:correct|right|best)\s(?:option|choice|one|solution|ending))\b
        (?!\s(?:choices|options|format)\b)
        [^.\n:={}]{0,60}?(?:\b(?:is|are|be|equals)\b|[:=：]))
      | (?P<bare>^[\s>*_#-]{0,9}(?:final\s)?(?:answer|result|total|conclusion|ans|solution)\b
        (?:[*_\s]{0,9}[-\u2013—]\s|[*_:=\s]{0,9})
        | \bthe\s(?:final\s)?(?:result|total|solution|value)\s(?:is|equals)\b)""",
    re.VERBOSE | re.IGNORECASE | re.MULTILINE,
)
_FOREIGN = re.compile(
    rf"(?P<named>(?:{language.ANSWER})[^\d\n.。:：=]{{0,40}}?(?:{language.IS}|[:：=]))|(?P<bare>{language.ANSWER})",
    re.IGNORECASE,
)
_REVERSED = re.compile(
    r"\b(?:is|as|will be|would be)\s(?:the|my|our)\s(?:(?:final|correct|right)\s){0,2}answer\b"
    r"(?!\s?[:=]|\s(?:is|to|of|for)\b)"
    r"|\b(?:es|est|ist|é)\s(?:la|die|a)\s(?:\w+\s)?(?:respuesta|réponse|Antwort|resposta)\b(?!\s?:)"
    r"|(?:が|は)(?:正解|答え)(?:です|だ|となる)|是(?:最终)?(?:正确)?(?:的)?答案",
    re.IGNORECASE,
)
_NEXT_QUESTION = re.compile(
    r"\S\s{0,9}\n\s{0,3}(?:Q|Question|Pregunta|Pergunta|Frage|Вопрос|问题|問題|質問|प्रश्न|প্রশ্ন|السؤال|سوال|User|Human)\s?[:：]"
    r"|\S\s{0,9}(?:<\|im_start\|>|<\|user\|>|\[INST\])"
)
_THOUGHT = re.compile(r"</(?:think|thinking|thought|reasoning|reflection|analysis|scratchpad)>", re.IGNORECASE)


def extract(text: str, question: Question) -> str | None:
    """The answer that a reply gives, in the canonical form of the question's kind; None where it gives none.

    `text` is the reply alone, never the prompt; where a base model goes on to invent the next question, it is read up
    to there. Takes time linear in the text and never raises.
    """
    thought = next(iter(deque(_THOUGHT.finditer(text), maxlen=1)), None)
    if thought and text[thought.end() :].strip():
        text = text[thought.end() :]
    if question.kind == "numeric":
        text = numbers.plain(text, question.text)
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
    read = reader(question.kind, question.options, question.text if question.kind == "numeric" else "")
    marked = [*_marked(text)][::-1]
    for marker in marked:
        if (found := read.leading(marker.content)) is not None:
            return _withdrawn(text, marker.end, read) or found or None
    for marker in marked:
        if marker.full:
            opens = not text[: marker.start].strip(" \t\r\n*_#>-")
            found = read.anywhere(text[marker.end :]) if opens else read.near(marker.content)
            if found is not None:
                return _withdrawn(text, marker.end, read) or found or None
    for match in deque(_REVERSED.finditer(text), maxlen=1):
        line = text[max(text.rfind("\n", 0, match.start()) + 1, match.start() - _REACH) : match.start()]
        if (found := read.anywhere(line)) is not None:
            return found or None
    return _withdrawn(text, 0, read) or read.anywhere(text) or None


def _withdrawn(text: str, start: int, read: Reader) -> str | None:
    """The answer that replaces the one at `start`, where it is taken back: "63... actually, it should be 64"."""
    behind = text[max(start, len(text) - _REACH) :]
    match = next(iter(deque(language.RETRACTED.finditer(behind), maxlen=1)), None)
    return read.revised(behind[match.end() :]) if match else None


@dataclass(frozen=True, slots=True)
class Marker:
    """A place that announces the answer, with what stands behind it as far as it could matter.

    `full` unless only an answer right behind it counts: "#### Step 2" is a heading, "the result" a common word.
    """

    start: int
    end: int
    content: str
    full: bool


def _marked(text: str) -> Iterator[Marker]:
    found = sorted([*_last_ones(_MARKER, text), *_last_ones(_FOREIGN, text)], key=lambda m: m.start())
    for match in found:
        content = text[match.end() : match.end() + _REACH]
        kind = match.lastgroup
        if kind == "box":
            content = _braced(content)
        elif kind == "tag":
            content = content.split("</", 1)[0]
        yield Marker(match.start(), match.end(), content, kind not in ("bare", "hash"))


def _last_ones(pattern: re.Pattern[str], text: str) -> deque[re.Match[str]]:
    return deque(pattern.finditer(text), maxlen=_MOST)


def _braced(content: str) -> str:
    """Up to the brace that closes the one before `content`."""
    depth = 1
    for i, char in enumerate(content):
        depth += (char == "{") - (char == "}")
        if depth == 0:
            return content[:i]
    return content
