"""The place of the answer in a reply. How it is read there is up to a `Reader`, which each kind of answer has.

An explicit marker decides: `####`, `\\boxed{}`, "the answer is", "Answer:". Of several the last one with an answer
right behind it, then the last one with an answer in its paragraph. Only a reply without a readable marker falls back
to its last number, its last standing label, an option's text, its last yes or no, or its last line.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from llmkit.tasks import language
from llmkit.tasks.readers import Reader

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


def without_reasoning(text: str) -> str:
    """Returns what follows the last end of a block of reasoning (`</think>`), where anything follows."""
    thought = next(iter(deque(_THOUGHT.finditer(text), maxlen=1)), None)
    return text[thought.end() :] if thought and text[thought.end() :].strip() else text


def marked_answer(text: str, reader: Reader) -> str | None:
    """Returns the answer that a reply gives, in canonical form, or None where it gives none.

    Where a base model goes on to invent the next question, the reply is read up to there, and to its end only if that
    part gives no answer.
    """
    invented = _NEXT_QUESTION.search(text)
    answer = _read(text[: invented.start() + 1], reader) if invented else None
    return _read(text, reader) if answer is None else answer


def _read(text: str, reader: Reader) -> str | None:
    markers = [*_marked(text)][::-1]
    for marker in markers:
        if (answer := reader.leading(marker.content)) is not None:
            return _withdrawn(text, marker.end, reader) or answer or None
    for marker in markers:
        if marker.full:
            opens = not text[: marker.start].strip(" \t\r\n*_#>-")
            answer = reader.anywhere(text[marker.end :]) if opens else reader.near(marker.content)
            if answer is not None:
                return _withdrawn(text, marker.end, reader) or answer or None
    for match in deque(_REVERSED.finditer(text), maxlen=1):
        line = text[max(text.rfind("\n", 0, match.start()) + 1, match.start() - _REACH) : match.start()]
        if (answer := reader.anywhere(line)) is not None:
            return answer or None
    return _withdrawn(text, 0, reader) or reader.anywhere(text) or None


def _withdrawn(text: str, start: int, reader: Reader) -> str | None:
    """Returns the answer that replaces a withdrawn one at `start`, as in "63... actually, it should be 64"."""
    behind = text[max(start, len(text) - _REACH) :]
    match = next(iter(deque(language.RETRACTED.finditer(behind), maxlen=1)), None)
    return reader.revised(behind[match.end() :]) if match else None


@dataclass(frozen=True, slots=True)
class Marker:
    """A place that announces the answer, and the text behind it that may hold the answer.

    `full` unless only an answer right behind it counts: "#### Step 2" is a heading, "the result" a common word.
    """

    start: int
    end: int
    content: str
    full: bool


def _marked(text: str) -> Iterator[Marker]:
    matches = sorted([*_last_ones(_MARKER, text), *_last_ones(_FOREIGN, text)], key=lambda m: m.start())
    for match in matches:
        content = text[match.end() : match.end() + _REACH]
        form = match.lastgroup
        if form == "box":
            content = _braced(content)
        elif form == "tag":
            content = content.split("</", 1)[0]
        yield Marker(match.start(), match.end(), content, form not in ("bare", "hash"))


def _last_ones(pattern: re.Pattern[str], text: str) -> deque[re.Match[str]]:
    return deque(pattern.finditer(text), maxlen=_MOST)


def _braced(content: str) -> str:
    """Returns the text up to the brace that closes the one before `content`."""
    depth = 1
    for i, char in enumerate(content):
        depth += (char == "{") - (char == "}")
        if depth == 0:
            return content[:i]
    return content
