"""How each kind of answer is read: right behind a marker, near it, or anywhere in a reply without one."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache
from typing import Protocol

from llmkit.tasks import numbers
from llmkit.tasks.text import LABELS, normalise
from llmkit.types import Kind

_OPENING = " \t\r\n*_`\"'“”‘’:$\\([{→>-–"
_CLOSING = " \t\r\n*_`\"'“”‘’.,;:!$\\)]}<"

_ARTICLE = re.compile(r"^(?:the|an?)\s+")


class Reader(Protocol):
    """Each method returns an answer in its canonical form, or None."""

    def leading(self, content: str) -> str | None: ...
    def near(self, content: str) -> str | None: ...
    def anywhere(self, text: str) -> str | None: ...


def first_line(content: str) -> str:
    """The first line that holds more than decoration."""
    return content.lstrip(" \t\r\n*_:").split("\n", 1)[0]


def paragraph(content: str) -> str:
    """Up to the first blank line."""
    return re.split(r"\n\s*\n", content.lstrip(), maxsplit=1)[0]


class Numeric:
    """A number: "$1,200.50" is "1200.5", "1/2" is "0.5". On a line with an equation, what the last one equals."""

    _lead = re.compile(
        r"[\s*_`\"'“‘:$€£¥\\(\[{≈~=+-]*+(?:(?:about|approximately|therefore|thus|now|[a-zA-Z]\s?=)\s)?[\s*_`$€£¥\\({=-]*"
    )

    def leading(self, content: str) -> str | None:
        line = numbers.plain(first_line(content))
        found = list(numbers.find(line))
        if not found or found[0].start > self._lead.match(line).end():
            return None
        return numbers.write(self._equated(line, found))

    def near(self, content: str) -> str | None:
        return self.anywhere(paragraph(content))

    def anywhere(self, text: str) -> str | None:
        found = list(numbers.find(numbers.plain(text)))
        return numbers.write(found[-1].value) if found else None

    @staticmethod
    def _equated(line: str, found: list[numbers.Found]) -> Decimal:
        behind = line.rfind("=", found[0].end)
        return next((n.value for n in found if n.start > behind), found[0].value)


class Boolean:
    """Yes or no; true and false count as them, and "not true" as no. "Yes, as no one came" is yes."""

    _word = re.compile(
        r"\b(?:(not)\s{1,3})?(yes|true|false|no(?!\s(?:one|longer|more|matter|way|such|need|idea|other)\b))\b",
        re.IGNORECASE,
    )
    _alone = re.compile(_word.pattern + r"(?=[*_\"'”’)}\]]{0,3}(?:[.,;:!?\n]|$))", re.IGNORECASE)

    def leading(self, content: str) -> str | None:
        return self._write(self._word.match(content.lstrip(_OPENING)))

    def near(self, content: str) -> str | None:
        return self.anywhere(paragraph(content))

    def anywhere(self, text: str) -> str | None:
        return self._write(_last(self._alone, text) or _last(self._word, text))

    @staticmethod
    def _write(match: re.Match[str] | None) -> str | None:
        if match is None:
            return None
        affirmed = match[2].lower() in ("yes", "true")
        return "yes" if affirmed != bool(match[1]) else "no"


class Text:
    """Free text: what stands behind the marker, else the last quoted words of the last line, else that line."""

    _quoted = re.compile(r"[\"“]([^\"“”\n]{1,200})[\"”]")

    def leading(self, content: str) -> str | None:
        line = first_line(content)
        quoted = self._quoted.match(line.lstrip(" *_`"))
        return (quoted[1] if quoted else line.strip(_OPENING + _CLOSING)) or None

    def near(self, content: str) -> str | None:
        return self.leading(content)

    def anywhere(self, text: str) -> str | None:
        line = text.rstrip().rsplit("\n", 1)[-1]
        quoted = self._quoted.findall(line)
        return (quoted[-1] if quoted else line.strip(_OPENING + _CLOSING)) or None


class Choice:
    """The label of an option; its own text or value counts too. The article "A" and the pronoun "I" are no labels."""

    def __init__(self, options: tuple[str, ...]) -> None:
        self._labels = LABELS[: len(options)]
        known = f"[A-{self._labels[-1]}]"
        either = f"[A-{self._labels[-1]}a-{self._labels[-1].lower()}]"
        # A label that is also a word stands before punctuation, the end, or a word that no noun phrase starts with.
        alone = (
            r"(?![\w'’]|\s?[=+*/^])"
            r"(?:(?<![AI])|(?=\s*(?:[^\w\s]|$)|\s(?:because|since|as|is|and|or|which)\b))"
        )
        opening = r"(?:(?:[Oo]ption|[Cc]hoice|[Ll]etter)\s)?[(\[*_`\"'{\s]*(?:\\text\{)?"
        self._sole = re.compile(rf"{opening}({either})(?:\s?\)|[\W_]*$)")
        self._lead = re.compile(rf"{opening}({known}){alone}")
        self._opens = re.compile(rf"^[\s(*_]{{0,3}}({known})(?:[).:*_]|\s*$)", re.MULTILINE)
        self._marked = re.compile(
            rf"\(\s?({known})\s?\)|\*\*({known})\*\*|\b(?:[Oo]ption|[Cc]hoice)\s({known})(?![\w'’])"
        )
        self._bare = re.compile(rf"(?<![\w'’])({known}){alone}")
        self._named = re.compile(r"\b(?:answer|solution|option|ending|choice)\s?([1-9])\b", re.IGNORECASE)
        self._texts = _by_key(options, normalise)
        self._values = _by_key(options, _value)
        self._written = _by_key(options, lambda option: option.strip().casefold())
        longest_first = sorted(self._written, key=len, reverse=True)
        self._option = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first)) or '(?!)'})(?!\w)")

    def leading(self, content: str) -> str | None:
        line = first_line(content)
        start = line.lstrip(_OPENING)
        return (
            self._label(self._sole.match(start))
            or self._texts.get(normalise(line))
            or self._label(self._lead.match(start))
            or self._name(self._named.match(start))
            or self._text(
                self._option.match(start.casefold()) or self._option.match(_ARTICLE.sub("", start.casefold()))
            )
            or self._values.get(Numeric().leading(line))
        )

    def near(self, content: str) -> str | None:
        text = paragraph(content)
        return (
            self._label(_last(self._marked, text))
            or self._text(_last(self._option, text.casefold()))
            or self._label(_last(self._bare, text))
        )

    def anywhere(self, text: str) -> str | None:
        sole = text.strip(_OPENING + _CLOSING)
        if len(sole) == 1 and sole.upper() in self._labels:
            return sole.upper()
        opening = self._opens.match(text)
        if opening and {match[1] for match in self._opens.finditer(text)} == {opening[1]}:
            return opening[1]  # "C. because A and B are wrong"
        return (
            self._label(_last(self._marked, text))
            or self._name(_last(self._named, text))
            or self._label(_last(self._bare, text))
            or (self._values.get(Numeric().anywhere(text)) if self._values else None)
            or self._text(_last(self._option, text.casefold()))
        )

    def _label(self, match: re.Match[str] | None) -> str | None:
        return next(group for group in match.groups() if group).upper() if match else None

    def _name(self, match: re.Match[str] | None) -> str | None:
        """ "answer3", as data in the LLM-Adapters form has it, is (C)."""
        return self._labels[int(match[1]) - 1] if match and int(match[1]) <= len(self._labels) else None

    def _text(self, match: re.Match[str] | None) -> str | None:
        return self._written.get(match[0]) if match else None


def _last(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    return next(iter(deque(pattern.finditer(text), maxlen=1)), None)


def _value(option: str) -> str | None:
    value = numbers.parse(option)
    return None if value is None else numbers.write(value)


def _by_key(options: tuple[str, ...], key: Callable[[str], str | None]) -> dict[str | None, str]:
    """Labels by what `key` makes of their options, where it tells the options apart."""
    keys = [key(option) for option in options]
    return {k: label for k, label in zip(keys, LABELS, strict=False) if k and keys.count(k) == 1}


@lru_cache(maxsize=4096)
def reader(kind: Kind, options: tuple[str, ...]) -> Reader:
    """The reader for one kind of answer; `options` matter for `choice` alone."""
    if kind == "choice":
        return Choice(options)
    return {"numeric": Numeric, "boolean": Boolean, "text": Text}[kind]()
