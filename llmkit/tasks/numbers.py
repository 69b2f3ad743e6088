"""Numbers in running text: found, read exactly, written in one form, compared."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Context, Decimal

_EXACT = Context(prec=60)
_QUOTIENT = Context(prec=12)
_LONGEST = 40  # digits on either side of the point; longer runs are not quantities

_PLAIN = str.maketrans(
    {"\u2212": "-", "\ufe63": "-", "\uff0d": "-", "\uff0c": ",", "\uff0e": ".", "\u2044": "/"}
    | {chr(0xFF10 + i): str(i) for i in range(10)}
    | {c: f"^{i}" for i, c in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")}
    | {"¼": " 1/4", "½": " 1/2", "¾": " 3/4", "⅓": " 1/3", "⅔": " 2/3", "⅕": " 1/5", "⅛": " 1/8"}
)
_GROUPING = re.compile(r"(?<=\d)(?:[\u00a0\u2009\u202f]|\\,|\{,\})(?=\d{3}(?!\d))")
_LATEX_FRACTION = re.compile(r"\\[dt]?frac\s?\{\s?(\d{1,12})\s?\}\s?\{\s?(\d{1,12})\s?\}")

# Possessive or bounded throughout: the time is linear in the text.
_NUMBER = re.compile(
    r"""(?<!\w)(?<!\d[./])(?:
        (?:(?P<whole>\d{1,9})\s)?(?P<top>\d{1,12}+)/(?P<bottom>\d{1,12}+)(?![\d/.])     # 1/2, 2 1/2, not 05/01/2021
      | (?P<plain>(?:\d{1,3}(?:,\d{3})++(?!\d)|\d++)(?:\.\d++)?|\.\d++)                 # 18, 1,200.50, .5
        (?!(?:st|nd|rd|th)\b)                                                           # not 2nd
        (?:[eE](?P<exp>[+-]?\d{1,3})(?!\w)|\s?(?:x|×|\*|\\times)\s?10\^\{?(?P<power>-?\d{1,3}))?
    )""",
    re.VERBOSE,
)

# A minus that is no subtraction: nothing that could be taken from stands before it.
_SIGN = re.compile(r"(?:^|[^\w)\]\s]|(?<![\w)\]])\s)-[$€£¥]?\s?$|(?:^|[^\w)\]])[$€£¥]-$")


@dataclass(frozen=True, slots=True)
class Found:
    """A number in a text; `start` and `end` are offsets in the text as `plain` writes it."""

    start: int
    end: int
    value: Decimal


def plain(text: str) -> str:
    """The text with minus signs, digits, fractions and digit grouping as ASCII writes them."""
    return _LATEX_FRACTION.sub(r"\1/\2", _GROUPING.sub(",", text.translate(_PLAIN).replace("\\$", "$")))


def find(text: str) -> Iterator[Found]:
    """Every number in a `plain` text, from left to right."""
    for match in _NUMBER.finditer(text):
        value = _value(match)
        if value is not None:
            before = text[max(0, match.start() - 4) : match.start()]
            yield Found(match.start(), match.end(), -value if _SIGN.search(before) else value)


def _value(match: re.Match[str]) -> Decimal | None:
    if match["top"] is not None:
        bottom = Decimal(match["bottom"])
        if not bottom:
            return None
        return Decimal(match["whole"] or 0) + _QUOTIENT.divide(Decimal(match["top"]), bottom)
    digits = match["plain"].replace(",", "")
    if len(digits) > _LONGEST:
        return None
    shift = int(match["exp"] or match["power"] or 0)
    return Decimal(digits).scaleb(shift, _EXACT) if abs(shift) <= _LONGEST else None


def parse(text: str) -> Decimal | None:
    """The number that a text consists of, with `$`, `%`, `,` and units put aside; None where there is not exactly one.

    >>> parse("$1,200.50"), parse("1/2"), parse("3 to 4")
    (Decimal('1200.50'), Decimal('0.5'), None)
    """
    numbers = list(find(plain(text)))
    return numbers[0].value if len(numbers) == 1 else None


def write(value: Decimal) -> str:
    """The shortest plain decimal: no exponent, no trailing zeros.

    >>> write(Decimal("39.0")), write(Decimal("0.50")), write(Decimal("1E+3"))
    ('39', '0.5', '1000')
    """
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def same(a: Decimal, b: Decimal) -> bool:
    """Equal to one part in a million; or, where both have at least two decimals, after rounding to the fewer of them.

    >>> same(Decimal("18.333"), Decimal("18.33")), same(Decimal("18.3"), Decimal("18"))
    (True, False)
    """
    if abs(a - b) <= Decimal("1e-6") * max(Decimal(1), abs(b)):
        return True
    decimals = min(_decimals(a), _decimals(b))
    return decimals >= 2 and round(a, decimals) == round(b, decimals)


def _decimals(value: Decimal) -> int:
    exponent = value.normalize(_EXACT).as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0
