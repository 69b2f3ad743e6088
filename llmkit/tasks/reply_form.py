"""The form of a reply: its words, its language, the label that it starts with, and whether it refuses."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, deque
from collections.abc import Iterator
from functools import cache

from llmkit.tasks import fact_words as lists
from llmkit.tasks import numbers

_WORD = re.compile(
    r"[\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7af]|[^\W\d_\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7af]+(?:['’][^\W\d_]{1,9}+)?"
)
STOP = frozenset(word for words in lists.FUNCTION_WORDS.values() for word in words.split())


def tokens(text: str) -> Iterator[tuple[int, str]]:
    """Yields the place and the case-folded form of each word."""
    for match in _WORD.finditer(text):
        yield match.start(), match[0].casefold().replace("’", "'")


def refuses(text: str) -> bool:
    """Returns whether a reply says, where it begins, that the application cannot or will not help.

    An apology alone is none: "I'm sorry to hear that" opens many an answer.
    """
    return lists.REFUSAL.search(text[: lists.REFUSAL_REACH]) is not None


_SCRIPTS = {
    "HIRAGANA": "ja", "KATAKANA": "ja", "CJK": "zh", "HANGUL": "ko", "CYRILLIC": "ru", "ARABIC": "ar",
    "DEVANAGARI": "hi", "BENGALI": "bn", "GREEK": "el", "HEBREW": "he", "THAI": "th",
}  # fmt: skip
_BY_LANGUAGE = {language: frozenset(words.split()) for language, words in lists.FUNCTION_WORDS.items()}
_READ = 4000  # characters; a language shows itself sooner


@cache
def _script(char: str) -> str | None:
    return _SCRIPTS.get(unicodedata.name(char, "").split(" ")[0].split("-")[0])


def language_of(text: str) -> str | None:
    """Returns the language of a text as its code: by its script, else by its function words; None where it is short.

    >>> language_of("Das ist nicht der Preis, den ich gezahlt habe."), language_of("OK")
    ('de', None)
    """
    text = text[:_READ]
    letters = [char for char in text if char.isalpha()]
    scripts = Counter(script for char in letters if not char.isascii() and (script := _script(char)))
    if scripts and scripts.total() > len(letters) / 2:
        return "ja" if scripts["ja"] else scripts.most_common(1)[0][0]
    words = [word for _, word in tokens(text)]
    hits = sorted(((sum(word in own for word in words), name) for name, own in _BY_LANGUAGE.items()), reverse=True)
    (most, name), (second, _) = hits[:2]
    return name if most >= 3 and most >= 1.5 * second else None


_ANSWER = re.compile(
    r"(?:\banswer\b[*_\s]{0,4}(?:is\b|[:：=])|\\boxed\{|\#{4})[\s:：*_$(\[\"“]{0,9}([^\n*_.;!?)\]}\"”]{1,40}(?:\.\d{1,9})?)",
    re.IGNORECASE,
)


_LETTER = re.compile(r"([B-HJ-Zb-hj-z]|[Aa](?!\s[a-z]))(?![\w'’])")


def answer_of(text: str) -> str | None:
    """Returns what a reply marks as its answer, the last of several: a number in plain form, or at most three words.

    >>> [answer_of(text) for text in ("3 + 4 = 7. The answer is 7.0 apples.", "#### 12", "Answer: (B)", "It is 7.")]
    ['7', '12', 'b', None]
    """
    last = next(iter(deque(_ANSWER.finditer(text), maxlen=1)), None)
    if last is None:
        return None
    letter = _LETTER.match(last[1])
    if letter:
        return letter[1].casefold()
    value = numbers.parse(last[1])
    words = last[1].casefold().split()
    return numbers.write(value) if value is not None else " ".join(words) if 0 < len(words) <= 3 else None


_LABEL = re.compile(
    r"[\s*_#>\"'“‘(\[-]*+(?P<head>[^\W\d_]{1,20}(?:[ /&-][^\W\d_]{1,20}){0,2})[*_\"'”’)\]]{0,4}"
    r"(?P<mark>[\s*_]{0,4}(?:[:：=]|[,.!;]|\s[-–—]\s|\n|$))"
)
_LABEL_VALUE = re.compile(
    r"[\s*_\"'“‘(\[]{0,9}([^\n*_\"”.,;:()\[\]]{1,40}?)[*_\"'”’)\]]{0,4}\s{0,9}(?:[.,;:()\n–—]|\s-|$)"
)
_YES_NO = {"yes": "yes", "yeah": "yes", "yep": "yes", "no": "no", "nope": "no", "true": "true", "false": "false"}


def label_of(text: str) -> str | None:
    """Returns the label that a reply starts with, case-folded, or that it is; None where it starts with a sentence.

    >>> [label_of(text) for text in ("**Category:** Refund", "Yes, you can.", "Billing: late", "It is nine o'clock.")]
    ['refund', 'yes', 'billing', None]
    """
    match = _LABEL.match(text)
    if not match:
        return None
    head, mark, behind = match["head"].casefold(), match["mark"].strip(" \t*_"), text[match.end() :]
    if head.split()[0] in _YES_NO and (mark != ":" or head in _YES_NO):
        return _YES_NO.get(head)
    if mark in (":", "：", "="):
        if head.split()[-1] in lists.LABEL_HEADS:
            value = _LABEL_VALUE.match(behind[:100])
            return " ".join(value[1].casefold().split()) if value and len(value[1].split()) <= 3 else None
        return None if lists.NO_LABEL & {*head.split()} else head
    whole = not behind.strip(" \t\r\n*_.!\"'”)]")
    alone_on_line = mark == "\n" or text[match.start("mark") :].lstrip("*_.!\"'”)] ").startswith("\n")
    if (whole or alone_on_line) and not lists.NO_LABEL & {*head.split()}:
        return head
    return None
