"""Numbers written in words: "sixty-four", "two and a half", 六十四; and words that multiply ("1.5 million", 3万)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction

_SCALES = {
    10**2: "hundred",
    10**3: "thousand k mil mille tausend tsd тысяч тысяча тысячи тыс 千 हज़ार हजार হাজার ہزار ألف آلاف",
    10**4: "万 萬",
    10**5: "lakh lakhs लाख লাখ লক্ষ لاکھ",
    10**6: "million millions mn m mln mio millón millon millones milhão milhões millionen миллион миллиона миллионов "
    "млн 百万 مليون ملايين মিলিয়ন मिलियन ملین",
    10**7: "crore crores करोड़ কোটি کروڑ",
    10**8: "亿 億",
    10**9: "billion billions bn b milliard milliards milliarde milliarden mrd миллиард миллиарда миллиардов млрд 十亿",
    10**12: "trillion trillions tn 兆",
}
_SCALE_OF = {word: size for size, words in _SCALES.items() for word in words.split()}
_GLUED = {"k", "m", "b"}  # "12k" is a quantity; "12 k" and "5 m" are not
_SPACED = "|".join(sorted(_SCALE_OF.keys() - _GLUED, key=len, reverse=True))

SCALE = rf"(?:[kKMB](?![\w/^])|[\s-]?(?i:{_SPACED})(?![a-zà-ɏа-яё]))"
"""A regular expression for a word that multiplies the digits before it."""

_UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
)
_SMALL = {word: i for i, word in enumerate((_UNITS + " eighteen nineteen").split())}
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_SMALL |= {word: 10 * i for i, word in enumerate(_TENS.split(), 2)}
_LARGE = {"hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9}
_PARTS = {"half": 2, "halves": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "eighth": 8, "tenth": 10}
_PARTS |= {f"{word}s": part for word, part in _PARTS.items() if not word.endswith(("f", "s"))}

_WORD = "|".join(sorted([*_SMALL, *_LARGE, *_PARTS], key=len, reverse=True))
_RUN = re.compile(
    rf"\b(?:(?:minus|negative)\s)?(?:a\s)?(?:{_WORD})(?:(?:-|\s(?:and\s)?(?:a\s)?)(?:{_WORD}))*+\b", re.IGNORECASE
)

_HAN_DIGITS = {char: i for i, char in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2, "兩": 2}
_HAN_SCALES = {"十": 10, "百": 100, "千": 1000, "万": 10**4, "萬": 10**4, "亿": 10**8, "億": 10**8}
_HAN = re.compile(rf"(?<!第)负?[{''.join(_HAN_DIGITS)}{''.join(_HAN_SCALES)}]++")


_LONGEST = 24  # words or characters; longer runs are not quantities


def scale(word: str) -> int:
    """Returns what a word that `SCALE` matches multiplies by."""
    return _SCALE_OF[word.strip(" \t\r\n\u00a0\u202f-").lower()]


def find(text: str) -> Iterator[tuple[int, int, Decimal]]:
    """Yields start, end and value of each number in words; not "one" and 一 alone, which are mostly articles.

    >>> [str(value) for _, _, value in find("two hundred and five, three quarters, 六十四")]
    ['205', '0.75', '64']
    """
    for match in _RUN.finditer(text):
        value = _english(match[0].lower())
        if value is not None and match[0].lower() != "one":
            yield match.start(), match.end(), value
    if not text.isascii():
        for match in _HAN.finditer(text):
            count = _chinese(match[0].lstrip("负"))
            if count is not None and match[0] != "一":
                yield match.start(), match.end(), Decimal(-count if match[0][0] == "负" else count)


def whole(text: str) -> Decimal | None:
    """Returns the number that a text consists of, if it is nothing else; here "one" and 一 count."""
    stripped = text.strip()
    match = _RUN.fullmatch(stripped)
    if match:
        return _english(stripped.lower())
    match = _HAN.fullmatch(stripped)
    value = _chinese(stripped.lstrip("负")) if match else None
    return None if value is None else Decimal(-value if stripped[0] == "负" else value)


def _english(run: str) -> Decimal | None:
    """Returns the value of a run of number words; None where they do not make up one number ("two three")."""
    words = re.findall(r"[a-z]+", run)
    if len(words) > _LONGEST:
        return None
    negative = words[0] in ("minus", "negative")
    total, current, last_and = Fraction(0), Fraction(0), False
    counted = False  # whether a number or an "a" stands before a fraction: "third" alone is an ordinal
    for word in words[negative:]:
        if word in _SMALL:
            count, rest = _SMALL[word], current % 100
            if rest and not (count < 10 and rest >= 20 and rest % 10 == 0):
                return None
            current += count
        elif word in _LARGE:
            if word == "hundred":
                current = (current or Fraction(1)) * 100
            else:
                total, current = total + (current or Fraction(1)) * _LARGE[word], Fraction(0)
        elif word in _PARTS:
            if not counted and word != "half":
                return None
            part = Fraction(1, _PARTS[word])
            current = current + part if last_and or not current else current * part
        counted = counted or word != "and"
        last_and = word == "and" or (last_and and word == "a")
    value = total + current
    exact = Decimal(value.numerator) / Decimal(value.denominator)
    exact = exact if value.denominator == 1 else round(exact, 12).normalize()
    return -exact if negative else exact


def _chinese(run: str) -> int | None:
    """Returns the value of Chinese or Japanese numerals: 六十四, 三万五千, 二〇二四."""
    if len(run) > _LONGEST:
        return None
    if not any(char in _HAN_SCALES for char in run):
        return int("".join(str(_HAN_DIGITS[char]) for char in run))
    total = section = digit = 0
    for char in run:
        if char in _HAN_DIGITS:
            digit = _HAN_DIGITS[char]
        elif _HAN_SCALES[char] < 10**4:
            section, digit = section + (digit or 1) * _HAN_SCALES[char], 0
        else:
            total, section, digit = (total + section + digit or 1) * _HAN_SCALES[char], 0, 0
    return total + section + digit
