"""How each kind of answer is read: right behind a marker, near it, or anywhere in a reply without one."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from decimal import Decimal
from typing import Protocol

from llmkit.tasks import claims, language, numbers, numerals
from llmkit.tasks.text import LABELS, normalise

_OPENING = " \t\r\n*_`\"'“”‘’:：$\\([{（「【→>-–—"
_CLOSING = " \t\r\n*_`\"'“”‘’.,;:!$\\)]}<。，！）」】।۔؟"

_ARTICLE = re.compile(r"^(?:the|an?)\s+")


UNCLEAR = ""  # read, but not one answer: "5 to 10", "B or C"


class Reader(Protocol):
    """Each method returns an answer in its canonical form, `UNCLEAR`, or None where it finds none.

    `leading` reads the text right behind a marker, `near` its paragraph, `anywhere` a text without a marker, and
    `revised` what follows a withdrawal ("wait, ...").
    """

    def leading(self, content: str) -> str | None: ...
    def near(self, content: str) -> str | None: ...
    def anywhere(self, text: str) -> str | None: ...
    def revised(self, content: str) -> str | None: ...


def first_line(content: str) -> str:
    """Returns the first line that holds more than decoration."""
    return content.lstrip(" \t\r\n*_:").split("\n", 1)[0]


def paragraph(content: str) -> str:
    """Returns the text up to the first blank line."""
    return re.split(r"\n\s*\n", content.lstrip(), maxsplit=1)[0]


class NumberReader:
    """A number in a `numbers.plain` text: "$1,200.50" is "1200.5", "1/2" is "0.5", "sixty-four" is "64".

    Right behind a marker the first number counts, or what an equation that begins there comes to; else see `claims`.
    """

    _lead = re.compile(
        r"[^\w\n]*+(?:(?:about|around|exactly|only|just|approximately|approx|roughly|therefore|thus|now|indeed|simply|equal\sto"
        r"|between|either|from|minus|negative|menos|moins|минус|the\snumber|unos|environ|etwa|cerca\sde|около|约|大约|約|USD|EUR|Rs|INR|[a-zA-Z](?=\s?=)"
        r")\b[^\w\n]*+){0,2}|(?:负|負|マイナス|是|为|約|约|共|大约|應該是|应该是)"
    )
    _operator = re.compile(
        r"[)\]}\s]*(?:[$€£]?(?:[+/×÷=≈^]|\*(?!\*))|\\(?:times|div|cdot)|[-\u2013]\s?[$€£(\d]|x\s?\d)"
    )
    _unsolved = re.compile(r"[\d\s+*/×÷().$x\u2013-]+")
    _alternative = re.compile(
        r"\s?(?:[\w%$€£°]+\s)?(?:\s?[\u2013—~]|(?:to|or|bis|oder|ou|até|a|o|или|до|至|到|或|या|से|或者|から))\s?[$€£]?|-[$€£]?"
    )
    _pair = re.compile(r"\s?(?:and|&|y|et|und|e|и|和|और)\s?[$€£]?")
    _between = re.compile(r"\b(?:between|entre|zwischen|между|either|от)\s[$€£]?$", re.IGNORECASE)

    def __init__(self, question: str = "") -> None:
        self._question = question

    def leading(self, content: str) -> str | None:
        line = first_line(content)
        digits = list(numbers.find(line))
        if not digits or digits[0].start > self._lead_end(line):
            return self._leading_word(line, digits)
        if self._several(line, digits):
            return UNCLEAR
        if self._operator.match(line, digits[0].end):
            sentence = _sentence(line, digits[0].end)
            if self._unsolved.fullmatch(sentence, digits[0].start):
                return UNCLEAR
            claimed = claims.claim(sentence, self._question)
            return numbers.write(claimed.value if claimed else digits[0].value)
        return numbers.write(digits[0].value)

    def near(self, content: str) -> str | None:
        return self.anywhere(paragraph(content))

    def anywhere(self, text: str) -> str | None:
        claimed = claims.claim(text, self._question)
        if claimed:
            return numbers.write(claimed.value)
        value = numerals.whole(text.strip(" \t\r\n*_.!\"'“”$。"))
        return None if value is None else numbers.write(value)

    def revised(self, content: str) -> str | None:
        claimed = claims.claim(content, self._question)
        return numbers.write(claimed.value) if claimed and claimed.firm else None

    def _lead_end(self, line: str) -> int:
        """Returns where the words end that may stand between a marker and its number ("about", "exactly")."""
        lead = self._lead.match(line)
        return lead.end() if lead else 0

    def _leading_word(self, line: str, digits: list[numbers.WrittenNumber]) -> str | None:
        """Returns a number in words right behind the marker; "one" counts where nothing follows it."""
        word = next(numerals.find(line), None)
        if word and word[0] <= self._lead_end(line) and not (digits and digits[0].start < word[1]):
            return numbers.write(word[2])
        value = numerals.whole(line.strip(" *_.!\"'“”$。है।"))
        return None if value is None else numbers.write(value)

    def _several(self, line: str, digits: list[numbers.WrittenNumber]) -> bool:
        """Returns whether two different numbers are given: "5 to 10", "12 or 14", "3 and 4"; "25% or 0.25" is one."""
        if len(digits) < 2 or "=" in line[digits[0].end :]:
            return False
        one, other = digits[0].value, digits[1].value
        if any(numbers.same(one, other * factor) for factor in (1, 100, Decimal("0.01"))):
            return False
        between = line[digits[0].end : digits[1].start]
        if self._between.search(line, 0, digits[0].start):
            return True
        return bool(self._alternative.fullmatch(between) or self._pair.fullmatch(between))


def _words(spaced: str, unspaced: str) -> str:
    """Returns a pattern for yes or no in every language; `unspaced` words count only before punctuation or the end."""
    longest = sorted(unspaced.split(), key=len, reverse=True)
    return (
        rf"(?<!{_IN_WORD})(?:{'|'.join(spaced.split())})(?!{_IN_WORD})"
        rf"|(?<!\w)(?:{'|'.join(longest)})(?=[\s，。、；,.!！*\"”)]|です|だ|$)"
    )


_IN_WORD = "[\\w\u0300-\u036f\u064b-\u0652\u0900-\u0963\u0981-\u09e3]"


class YesNoReader:
    """Yes or no; true and false count as them, and "not true" as no. "Yes, as no one came" is yes."""

    _yes = _words(language.YES, language.YES_UNSPACED)
    _no = (
        rf"(?!no\s(?:one|longer|more|matter|way|such|need|idea|other|doubt|evidence|reason|information|sé|lo|se|hay)\b)"
        rf"(?:{_words(language.NO, language.NO_UNSPACED)})"
    )
    _word = re.compile(rf"(?:\b(?P<not>not)\s{{1,3}})?(?:(?P<yes>{_yes})|(?P<no>{_no}))", re.IGNORECASE)
    _alone = re.compile(rf"(?:{_word.pattern})(?=[*_\"'”’)}}\]]{{0,3}}(?:[.,;:!?\n，。！、।۔،]|$))", re.IGNORECASE)
    _judged = re.compile(
        r"\b(?P<not>not\s)?(?:(?P<yes>correct|right|accurate)|(?P<no>incorrect|wrong|inaccurate))\b", re.IGNORECASE
    )
    _hedge = re.compile(
        r"(?:(?:most|very|quite)\s)?(?:likely|probably|definitely|certainly|clearly|simply|obviously|an?|i think|maybe)"
        r"[\s,*_]+",
        re.IGNORECASE,
    )
    _denied = re.compile(
        r"(?:not\b(?!\s(?:true|false|correct|incorrect|sure|clear|certain|enough|possible to))|unlikely\b)",
        re.IGNORECASE,
    )
    _both = re.compile(r"\W*(?:yes and no|yes or no|yes/no|sí y no|oui et non|ja und nein)\b", re.IGNORECASE)

    def leading(self, content: str) -> str | None:
        start = content.lstrip(_OPENING)
        if self._both.match(start):
            return UNCLEAR
        if hedge := self._hedge.match(start):
            start = start[hedge.end() :]
        if self._denied.match(start):
            return "no"
        return self._write(self._word.match(start))

    def near(self, content: str) -> str | None:
        return self.anywhere(paragraph(content))

    def anywhere(self, text: str) -> str | None:
        if self._both.match(text):
            return UNCLEAR
        first, last = self._alone.match(text.lstrip(_OPENING)), _last(self._alone, text)
        if first and last and not self._concludes(text, last.start()):
            last = first  # "Yes, because ...": what follows is the reason
        answer = self._write(last or _last(self._word, text) or _last(self._judged, text))
        if answer is None:
            sole = text.strip(_OPENING + _CLOSING)
            answer = "no" if _SURELY_NOT.fullmatch(sole) else "yes" if _SURELY.fullmatch(sole) else None
        return answer

    def revised(self, content: str) -> str | None:
        return self._write(_last(self._alone, content) or _last(self._word, content))

    @staticmethod
    def _concludes(text: str, start: int) -> bool:
        """Returns whether the sentence around `start` draws a conclusion."""
        begin = max(text.rfind(mark, 0, start) for mark in "\n.!?。") + 1
        return bool(language.CONCLUDED.match(text, begin))

    @staticmethod
    def _write(match: re.Match[str] | None) -> str | None:
        if match is None:
            return None
        return "yes" if bool(match["yes"]) != bool(match["not"]) else "no"


_SURELY = re.compile(
    r"(?:absolutely|definitely|certainly|of course|(?:most |very )?(?:likely|probably))", re.IGNORECASE
)
_SURELY_NOT = re.compile(
    r"(?:(?:most|very)\s)?(?:likely|probably|certainly|definitely)\snot|unlikely"
    r"|of course not|absolutely not|not really|not at all",
    re.IGNORECASE,
)


class TextReader:
    """Free text: the words behind the marker, else the last quoted words of the last line, else that line."""

    _quoted = re.compile(r"[\"“]([^\"“”\n]{1,200})[\"”]")

    def leading(self, content: str) -> str | None:
        line = first_line(content)
        quoted = self._quoted.match(line.lstrip(" *_`"))
        return (quoted[1] if quoted else line.strip(_OPENING + _CLOSING)) or None

    def near(self, content: str) -> str | None:
        return self.leading(content)

    def revised(self, content: str) -> str | None:
        return None

    def anywhere(self, text: str) -> str | None:
        line = text.rstrip().rsplit("\n", 1)[-1]
        quoted = self._quoted.findall(line)
        return (quoted[-1] if quoted else line.strip(_OPENING + _CLOSING)) or None


_LATIN = r"[A-Za-z0-9_'’\u00c0-\u024f]"


class ChoiceReader:
    """The label of an option; its own text or value counts too. The article "A" and the pronoun "I" are no labels."""

    def __init__(self, options: tuple[str, ...]) -> None:
        self._labels = LABELS[: len(options)]
        known = f"[A-{self._labels[-1]}]"
        either = f"[A-{self._labels[-1]}a-{self._labels[-1].lower()}]"
        unmistaken = rf"(?![ai]\b){either}"  # "a choice I made", "choice a person makes"
        # A label that is also a word stands before punctuation, the end, or a word that no noun phrase starts with.
        alone = (
            rf"(?!{_LATIN}|\s?[=+*/^])"
            r"(?:(?<![AI])|(?=\s*(?:[^\w\s]|$)|\s(?:because|since|as|is|and|or|which)\b))"
        )
        opening = r"(?:(?:[Oo]ption|[Cc]hoice|[Ll]etter)\s)?[(\[*_`\"'{\s]*(?:\\text\{)?"
        self._sole = re.compile(rf"{opening}({either})(?:\s?\)|[\W_]*$)")
        self._lead = re.compile(rf"{opening}({known}){alone}")
        self._opens = re.compile(rf"^[\s(*_]{{0,3}}({known})(?:[).:*_]|\s*$)", re.MULTILINE)
        self._marked = re.compile(
            rf"\(\s?({known})\s?\)|\*\*({known})\*\*|\b(?:[Oo]ption|[Cc]hoice)\s({unmistaken})(?!{_LATIN})"
        )
        self._bare = re.compile(rf"(?<!{_LATIN})({known}){alone}")
        label = rf"[(\[*_]{{0,3}}{known}[)\]*_]{{0,3}}"
        between = r"(?:\s?,?\s?(?:&|和|或|と|、)\s?|,?\s(?:and|or|y|o|et|ou|und|oder|и|или|या|और)\s)"
        pair = rf"{label}{between}{label}(?!{_LATIN})"
        listed = rf"\(?{known}\)[^().;\n]{{0,60}},\s?(?:and\s|or\s)?\({known}\)(?!\s(?:is|are)\b)"
        self._several = re.compile(rf"(?:(?i:either|both|entweder|soit)\s)?(?:{pair}|{listed})")
        self._all = re.compile(
            rf"\b(?i:both)\s{pair}|{pair}\s(?:are|could|is|may|might|can|seem)\s(?:be\s)?(?:both\s)?(?:correct|right|true|possible|valid)"
            rf"|\b(?:{known},\s)+{known},?\sor\s{known}\?\s*$"
        )
        self._named = re.compile(r"\b(?:answer|solution|option|ending|choice)\s?([1-9])\b", re.IGNORECASE)
        self._texts = _by_key(options, normalise)
        self._values = _by_key(options, _number)
        self._written = _by_key(options, lambda option: option.strip().casefold())
        longest_first = sorted(self._written, key=len, reverse=True)
        self._option = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first)) or '(?!)'})(?!\w)")

    def leading(self, content: str) -> str | None:
        line = first_line(content).translate(_NARROW)
        start = line.lstrip(_OPENING)
        if self._several.match(start):
            return UNCLEAR
        return (
            self._label(self._sole.match(start))
            or self._texts.get(normalise(line))
            or self._label(self._lead.match(start))
            or self._name(self._named.match(start))
            or self._text(
                self._option.match(start.casefold()) or self._option.match(_ARTICLE.sub("", start.casefold()))
            )
            or self._value(NumberReader().leading(numbers.plain(line)))
        )

    def near(self, content: str) -> str | None:
        text = paragraph(content).translate(_NARROW)
        return (
            self._label(last_affirmed(self._marked, text))
            or self._text(last_affirmed(self._option, text.casefold()))
            or self._label(last_affirmed(self._bare, text))
        )

    def revised(self, content: str) -> str | None:
        return self.near(content)

    def anywhere(self, text: str) -> str | None:
        text = text.translate(_NARROW)
        sole = text.strip(_OPENING + _CLOSING)
        if len(sole) == 1 and sole.upper() in self._labels:
            return sole.upper()
        if self._all.search(text):
            return UNCLEAR
        opening = self._opens.match(text)
        if opening and {match[1] for match in self._opens.finditer(text)} == {opening[1]}:
            return opening[1]  # "C. because A and B are wrong"
        return (
            self._label(last_affirmed(self._marked, text))
            or self._name(_last(self._named, text))
            or self._label(last_affirmed(self._bare, text))
            or (self._value(NumberReader().anywhere(numbers.plain(text))) if self._values else None)
            or self._text(last_affirmed(self._option, text.casefold()))
        )

    def _label(self, match: re.Match[str] | None) -> str | None:
        return next(group for group in match.groups() if group).upper() if match else None

    def _name(self, match: re.Match[str] | None) -> str | None:
        """Returns the label for an option's name in the LLM-Adapters form: "answer3" is C."""
        return self._labels[int(match[1]) - 1] if match and int(match[1]) <= len(self._labels) else None

    def _value(self, number: str | None) -> str | None:
        return self._values.get(number) if number else None

    def _text(self, match: re.Match[str] | None) -> str | None:
        return self._written.get(match[0]) if match else None


def _sentence(line: str, start: int) -> str:
    """Returns the line up to the end of the sentence that goes on at `start`."""
    end = re.compile(r"[.!?;。]+(?=\s|$)|。").search(line, start)
    return line[: end.start()] if end else line


def _last(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    return next(iter(deque(pattern.finditer(text), maxlen=1)), None)


def last_affirmed(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    """Returns the last match that is not denied, as in "rather than the library" or "(A) is wrong"."""
    last = None
    for match in pattern.finditer(text):
        before = text[max(0, match.start() - 32) : match.start()]
        if not language.NEGATED.search(before) and not _WRONG.match(text, match.end()):
            last = match
    return last


_WRONG = re.compile(
    r"[)*_\]]{0,3}\s(?:is|are|can be|was)\s(?:wrong|incorrect|not|eliminated|ruled out|false)\b", re.IGNORECASE
)
_NARROW = (
    {0xFF21 + i: 0x41 + i for i in range(26)} | {0xFF41 + i: 0x61 + i for i in range(26)} | {0xFF08: "(", 0xFF09: ")"}
)


def _number(option: str) -> str | None:
    value = numbers.parse(option)
    return None if value is None else numbers.write(value)


def _by_key(options: tuple[str, ...], key: Callable[[str], str | None]) -> dict[str, str]:
    """Returns labels by what `key` makes of their options, where it tells the options apart."""
    keys = [key(option) for option in options]
    return {k: label for k, label in zip(keys, LABELS, strict=False) if k and keys.count(k) == 1}
