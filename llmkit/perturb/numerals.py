"""The numbers of a text: in figures, in the numerals of every script, and in English words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from itertools import chain
from sys import maxunicode

from llmkit.perturb.protection import Span
from llmkit.types import Edit

_BELOW_TWENTY = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
BELOW_TWENTY = tuple(_BELOW_TWENTY.split())
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_LARGE = ["hundred", "thousand", "million", "billion", "trillion"]
_ORDINALS = {
    "one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth",
    "twelve": "twelfth",
}  # fmt: skip
_OTHERS = (
    "half halves quarter quarters third thirds dozen dozens pair pairs couple once twice thrice single double doubles "
    "doubled doubling triple triples tripled tripling quadruple quadrupled halved halving none nil nought naught ones "
    "twos threes fours fives sixes sevens eights nines tens"
)


def _number_words() -> Iterator[str]:
    cardinals = [*BELOW_TWENTY, *TENS, *_LARGE]
    joined_words = [tens + unit for tens in TENS for unit in BELOW_TWENTY[1:10]]
    yield from (*cardinals, *joined_words, *_OTHERS.split())
    yield from (f"{word}fold" for word in cardinals[1:])
    yield from (f"{word}s" for word in _LARGE)
    yield from (f"{tens[:-1]}ies" for tens in TENS)
    ordinals = [_ordinal(word) for word in cardinals[1:]]
    ordinals += [tens + _ordinal(unit) for tens in TENS for unit in BELOW_TWENTY[1:10]]
    yield from ordinals
    yield from (f"{word}s" for word in ordinals if word not in ("first", "second"))  # "seconds" are a unit


def _ordinal(word: str) -> str:
    return _ORDINALS.get(word) or (f"{word[:-1]}ieth" if word.endswith("y") else f"{word}th")


NUMBER_WORDS = frozenset(_number_words())
"""English words for numbers: cardinals, ordinals, fractions, multiples, groups such as "dozen"."""

NUMBER = re.compile(r"\d+(?:[.,:/]\d+)*")
_AMOUNT = re.compile(r"[$€£¥₹]?\s?[-+]?\d+(?:[.,:/]\d+)*(?:\s?/\s?\d+|\s?%)?")
_THOUSANDS = re.compile(r",(?<=\d,)(?=\d{3}(?!\d))")
_LETTERS = re.compile(r"[^\W\d_]+")
_JOINT = re.compile(r"[\s-]*(?:(?:and|an?|of)\b[\s-]*)*")  # between the words of one number: "three and a half"
JOINTS = frozenset({"and", "a", "an", "of", "And", "A", "An", "Of", "AND", "AN", "OF"})
_NEXT_WORD = re.compile(r"[\s-]*([^\W\d_]+)")
_ARTICLE = re.compile(r"(?<!\w)an?\s+\Z", re.IGNORECASE)
_MORE_NUMERALS = "两半俩仨双雙"  # numerals to a reader; Unicode gives them no value


def is_numeral(character: str) -> bool:
    """Returns whether a character stands for a number: a digit of any script, a Roman or Chinese numeral, a
    fraction."""
    return character.isnumeric() or character in _MORE_NUMERALS


@cache
def _numerals() -> re.Pattern[str]:
    """Builds the pattern of `NUMBER` for every character that `is_numeral` accepts."""
    numeral_signs = [
        character
        for character in map(chr, range(128, maxunicode + 1))
        if is_numeral(character) and not character.isdecimal()
    ]
    numeral_run = rf"[\d{''.join(numeral_signs)}]+"
    return re.compile(rf"{numeral_run}(?:[.,:/]{numeral_run})*")


def _pattern(text: str) -> re.Pattern[str]:
    """Returns the pattern that finds every number in figures: the wide one only if a text needs it, because it is
    slower."""
    has_other_numerals = not text.isascii() and any(
        not character.isascii() and not character.isdecimal() and is_numeral(character) for character in text
    )
    return _numerals() if has_other_numerals else NUMBER


def numbers(text: str, words: bool = True) -> Counter[str]:
    """Returns the numbers of a text as written, thousands separators aside, with how often each occurs; `words`, too.

    >>> sorted(numbers("1,250 pens at 7.5 each, 3/4 of them by 10:30. Twenty-one left.").elements())
    ['10:30', '1250', '3/4', '7.5', 'one', 'twenty']
    >>> numbers("小明有二百四十个苹果")
    Counter({'二百四十': 1})
    """
    counts = Counter(_pattern(text).findall(_THOUSANDS.sub("", text)))
    if words:
        counts.update(number_words(text))
    return counts


def number_words(text: str) -> list[str]:
    """Returns the English number words of a text, in order and in lower case."""
    return list(chain.from_iterable(map(_number_words_in, text.split(" "))))


@lru_cache(maxsize=1 << 16)
def _number_words_in(token: str) -> tuple[str, ...]:
    return tuple(word for word in _LETTERS.findall(token.lower()) if word in NUMBER_WORDS)


def amounts(text: str) -> list[Span]:
    """Finds the numbers in figures, with their currency, sign and per cent.

    >>> [text[a:b] for text in ["Pay $ 7.50 or 9% of it."] for a, b in amounts(text)]
    ['$ 7.50', ' 9%']
    """
    spans = [match.span() for match in _AMOUNT.finditer(text)]
    if (pattern := _pattern(text)) is not NUMBER:
        spans += [match.span() for match in pattern.finditer(text)]
    return spans


def phrases(text: str) -> list[Span]:
    """Finds the number words; a number of several words is one span, and its article belongs to it.

    >>> [text[a:b] for text in ["Two hundred and one, three and a half, a dozen"] for a, b in phrases(text)]
    ['Two hundred and one', 'three and a half', 'a dozen']
    """
    number_spans: list[Span] = []
    for start, end in _number_word_spans(text):
        if number_spans and _JOINT.fullmatch(text, number_spans[-1][1], start):
            number_spans[-1] = (number_spans[-1][0], end)
        else:
            article = _ARTICLE.search(text, max(0, start - 8), start)
            number_spans.append((article.start() if article else start, end))
    return number_spans


def _number_word_spans(text: str) -> Iterator[Span]:
    token_start = 0
    for token in text.split(" "):
        if _number_words_in(token):
            yield from (
                match.span()
                for match in _LETTERS.finditer(text, token_start, token_start + len(token))
                if is_number_word(match.group())
            )
        token_start += len(token) + 1


def may_join(text: str, word_end: int) -> bool:
    """Returns whether a word of `JOINTS` that ends here may belong to a number; not where another word comes next."""
    following = _NEXT_WORD.match(text, word_end)
    return following is not None and (following[1] in JOINTS or is_number_word(following[1]))


def keeps_numbers(edits: Sequence[Edit], text: str, with_words: bool = True) -> bool:
    """Returns whether words took the place of words everywhere, and no number word's: then a text's numbers are kept.

    `text` is what the edits made. A quick check, made before the numbers of both texts are compared.
    """
    starts, ends, old_parts, new_parts = zip(*edits, strict=True)
    changed_words = " ".join(old_parts + new_parts)
    if not (all(old_parts) and all(new_parts) and changed_words.replace(" ", "").isalpha()):
        return False
    if not changed_words.isascii() and any(map(is_numeral, changed_words)):
        return False
    if not with_words:
        return True
    if not NUMBER_WORDS.isdisjoint(changed_words.lower().split(" ")):
        return False
    padded = f"{text} "  # a space follows the last word and, at index -1, precedes the first
    inside_words = [
        padded[edit_start - 1].isalpha() or padded[edit_end].isalpha()
        for edit_start, edit_end in zip(starts, ends, strict=True)
    ]
    return True not in inside_words or not any(_meets_number_word(text, *edit) for edit in edits)


def _meets_number_word(text: str, start: int, end: int, old_part: str, new_part: str) -> bool:
    """Returns whether an edit inside a word took or made a number word."""
    word_start, word_end = start, end
    while word_start and text[word_start - 1].isalpha():
        word_start -= 1
    while word_end < len(text) and text[word_end].isalpha():
        word_end += 1
    before, after = text[word_start:start], text[end:word_end]
    return not NUMBER_WORDS.isdisjoint(f"{before}{new_part}{after} {before}{old_part}{after}".lower().split(" "))


def is_number_word(word: str) -> bool:
    """Returns whether an English word stands for a number, in any case."""
    return word.lower() in NUMBER_WORDS
