"""Numbers in running text: found, read exactly by the text's own way of writing them, written in one form, compared."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import ClassVar

from llmkit.tasks import numerals
from llmkit.tasks.language import AMBIGUOUS, writes_comma

_EXACT = Context(prec=60)
_QUOTIENT = Context(prec=12)
_LONGEST = 40  # digits on either side of the point; longer runs are not quantities


class _Plain(dict[int, str]):
    """A `str.translate` table, filled as it is asked: every script's digits, full-width ASCII, signs, fractions."""

    _written: ClassVar[dict[str, str]] = {
        "\u2212": "-", "\ufe63": "-", "\u2010": "-", "\u2011": "-",
        "\u2012": "\u2013", "\u066b": ".", "\u066c": ",", "\u2044": "/", "\u22c5": "*",
        "¼": " 1/4", "½": " 1/2", "¾": " 3/4", "⅓": " 1/3", "⅔": " 2/3", "⅕": " 1/5", "⅖": " 2/5", "⅗": " 3/5",
        "⅘": " 4/5", "⅙": " 1/6", "⅚": " 5/6", "⅛": " 1/8", "⅜": " 3/8", "⅝": " 5/8", "⅞": " 7/8",
        "，": "，",  # a comma between clauses, unlike the one that groups digits
    }  # fmt: skip

    def __missing__(self, code: int) -> str:
        char = chr(code)
        if char in self._written:
            written = self._written[char]
        elif char in "⁰¹²³⁴⁵⁶⁷⁸⁹":
            written = f"^{unicodedata.digit(char)}"
        elif unicodedata.category(char) == "Nd":
            written = str(unicodedata.decimal(char))
        elif 0xFF01 <= code <= 0xFF5E:
            written = chr(code - 0xFEE0)
        else:
            written = char
        self[code] = written
        return written


_PLAIN = _Plain()
_SPACED_FRACTION = re.compile(r"(?<=\d)[ \u00a0\u2009\u202f](?=[¼½¾⅓-⅞])")  # 2 ½
_CENTS = re.compile(
    r"(?:(?P<sign>[$€])(?P<whole>\d{1,9}+)|(?<![\d.,])(?P<number>\d{1,9}+)\s(?P<unit>dollars?|euros?))"
    r"(?:,|\sand)?\s(?P<cents>\d\d?+)\scents?\b"
)
_CALCULATOR = re.compile(r"<<[^<>\n]{0,200}>>")  # GSM8K's annotations repeat what stands around them
_WIDE_COMMA = re.compile(r"(?<=[\uff10-\uff19])\uff0c(?=[\uff10-\uff19]{3}(?![\uff10-\uff19]))")
_LATEX_COMMA = re.compile(r"(?<=\d)(?:\\[,! ]|\{,\})(?=\d{3}(?!\d))")
_LATEX_FRACTION = re.compile(
    r"(?:(\d)[ ]?)?\\[dtc]?frac\s?(?:\{\s?(\d{1,12})\s?\}|(\d))\s?(?:\{\s?(\d{1,12})\s?\}|(\d))"
)
_MYRIADS = re.compile(r"(?<![\d.,])(\d{1,8})[万萬](\d{1,4})(?![\d.,万萬亿億])")
_LIST = re.compile(r"(?<![\d.,])\d++(?:,\d++){2,}+|(?<=[(\[])\d++,\d++(?=[)\]])")
_GROUPED = re.compile(r"\d{1,3}(?:,\d{3})+|\d{1,2}(?:,\d\d)+,\d{3}")

# Possessive or bounded throughout: the time is linear in the text.
_NUMBER = re.compile(
    rf"""(?:
        (?:(?P<whole>\d{{1,9}})(?:\s|-|\sand\s))?(?P<top>\d{{1,12}}+)/(?P<bottom>\d{{1,12}}+)(?!\d|/|\.\d)  # 2 1/2
      | (?P<hours>\d{{1,3}}+):(?P<minutes>\d{{1,3}}+)(?!:\d)                                                # 10:30
      | (?P<plain>
            \d{{1,3}}(?P<group>[,.'’_\u00a0\u2009\u202f\x20])\d{{3}}(?:(?P=group)\d{{3}}){{0,12}}+(?!\d|/\d)
                (?:(?!(?P=group))[.,]\d++)?+
          | \d{{1,2}}(?:,\d\d){{1,6}},\d{{3}}(?!\d)(?:\.\d++)?+
          | \d++(?:[.,]\d++)?+
          | \.\d++)
        (?:(?P<ordinal>(?:st|nd|rd|th)\b)
          | [eE](?P<exponent>[+-]?\d{{1,3}})(?!\w)
          | \s?(?:x|×|\*|·|\\times|\\cdot)\s?10\s?\^?\s?\{{?(?P<power>(?<=[\^{{\s])-?\d{{1,3}}|(?:\^\d){{1,3}})
          | \^\{{?(?P<raised>\d{{1,2}})(?!\d))?
        (?P<scale>{numerals.SCALE})?
    )""",
    re.VERBOSE,
)
_LETTER = re.compile(r"[A-Za-zªµÀ-ɏͰ-ԯ]")
_CURRENCY = re.compile(r"(?:^|[^A-Za-z])(?:USD|EUR|GBP|INR|CNY|RMB|JPY|BRL|RUB|BDT|PKR|CHF|AED|SAR|NT|HK|Rs|Tk|R)\.?$")

# A minus that is no subtraction: nothing that could be taken from stands before it, and it is no bullet of a list.
_MONEY = r"(?:[$€£¥₹₽৳﷼₨]\s?)?"
_SIGN = re.compile(
    rf"(?:^|[^\w)\]}}\s]\s?|[^\W\d_]\s|[\n\r\t]\s*|(?<=[^\w)\]}}\s])\s)[-\u2013]{_MONEY}$|(?:^|\s)[$€£¥]-$"
)
_SPACED_SIGN = re.compile(
    rf"(?:^\s*|[:=(≈,*\"']\s*|\b(?:is|be|to|of|equals|es|est|ist|é|gives?|are|about|around|approximately|exactly)\s)[-\u2013]\s{_MONEY}$"
)
_BULLETS = re.compile(r"\n\s{0,9}[-\u2013]\s")
_NEGATIVE = re.compile(
    rf"(?:\b(?:minus|negative|moins|menos|минус|ऋण|माइनस|ঋণাত্মক|মাইনাস|سالب|ناقص|منفی)\s|(?:负|負|マイナス)\s?){_MONEY}$",
    re.IGNORECASE,
)
_SUBTRACTED = re.compile(r"\d[)\]}%]?\s*(?:minus|moins|menos|минус|माइनस|মাইনাস|ناقص)\s$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class WrittenNumber:
    """A number in a text; `start` and `end` are offsets in the text as `plain` writes it."""

    start: int
    end: int
    value: Decimal
    ordinal: bool = False


def plain(text: str, context: str = "") -> str:
    """Returns the text with digits, signs, fractions and grouping as ASCII and English write them, lists set apart.

    `context` helps to tell the language: the question that the text answers.
    """
    if not text.isascii():
        text = _SPACED_FRACTION.sub("", _WIDE_COMMA.sub(",", text)).translate(_PLAIN)
    if "cent" in text:
        text = _CENTS.sub(_with_cents, text)
    text = _MYRIADS.sub(lambda m: str(int(m[1]) * 10_000 + int(m[2])), text)
    text = _LATEX_COMMA.sub(",", text)
    if "\\" in text:
        text = _LATEX_FRACTION.sub(_fraction, text).replace("\\$", "$").replace("\\%", "%")
    if "<<" in text:
        text = _CALCULATOR.sub("", text)
    text = _LIST.sub(lambda m: m[0] if _GROUPED.fullmatch(m[0]) else m[0].replace(",", ", "), text)
    if writes_comma(text, context):
        text = AMBIGUOUS.sub(lambda m: m[0].replace(".", "") if "." in m[0] else m[0].replace(",", "."), text)
    return text


def _with_cents(match: re.Match[str]) -> str:
    amount = f"{match['whole'] or match['number']}.{match['cents']:0>2}"
    return f"${amount}" if match["sign"] else f"{amount} {match['unit']}"


def _fraction(match: re.Match[str]) -> str:
    top, bottom = match[2] or match[3], match[4] or match[5]
    return f"{match[1]} {top}/{bottom}" if match[1] else f"{top}/{bottom}"


def find(text: str) -> Iterator[WrittenNumber]:
    """Yields every number in digits in a `plain` text, from left to right; ordinals ("2nd") among them."""
    position = 0
    while match := _NUMBER.search(text, position):
        position = match.end()
        before = text[max(0, match.start() - 16) : match.start()]
        if _part_of_a_name(before, match):
            digits = re.match(r"\d+", match[0])
            position = match.start() + (digits.end() if digits else 1)  # behind its digits, or its point
            continue
        value = _value(match)
        if value is not None:
            yield WrittenNumber(
                match.start(), match.end(), -value if _negative(text, match.start()) else value, bool(match["ordinal"])
            )


def _part_of_a_name(before: str, match: re.Match[str]) -> bool:
    """Returns whether the digits continue something else: "x2", the exponent of "m^2", a third part of a date."""
    if not before:
        return False
    last, inner = before[-1], before[-2:-1]
    if _LETTER.match(last):
        return match[0][0] == "." or not _CURRENCY.search(before)
    if last == "_":
        return bool(inner and (inner.isalnum() or inner in ")}]"))
    if last in "./":
        return inner.isdigit() or (last == "." and match[0][0] == ".")
    if last in "^:":
        return last == "^" or inner.isdigit()
    return before.endswith(("^{", "_{", "^-"))


def _negative(text: str, end: int) -> bool:
    if text[end - 1 : end] not in tuple("-\u2013 $€£¥₹₽৳﷼₨负負ス"):
        return False
    start = max(0, end - 16)
    if _SIGN.search(text, start, end) or (
        _SPACED_SIGN.search(text, start, end) and not _BULLETS.search(text, end, end + 300)
    ):
        return True
    return bool(_NEGATIVE.search(text, start, end)) and not _SUBTRACTED.search(text, start, end)


def _value(match: re.Match[str]) -> Decimal | None:
    if match["top"] is not None:
        bottom = Decimal(match["bottom"])
        if not bottom:
            return None
        return Decimal(match["whole"] or 0) + _QUOTIENT.divide(Decimal(match["top"]), bottom)
    if match["hours"] is not None:
        return _clock(match["hours"], match["minutes"])
    digits = _decimal(match["plain"], match["group"])
    if len(digits) > _LONGEST:
        return None
    value = Decimal(digits)
    if match["raised"]:
        value = _EXACT.power(value, int(match["raised"]))
        return value if value.adjusted() <= _LONGEST and value.is_finite() else None
    shift = int(match["exponent"] or (match["power"] or "0").replace("^", ""))
    if abs(shift) > _LONGEST:
        return None
    value = value.scaleb(shift, _EXACT)
    return value * numerals.scale(match["scale"]) if match["scale"] else value


def _clock(hours: str, minutes: str) -> Decimal | None:
    """Returns a time of day in hours, or a ratio as a quotient."""
    if len(minutes) == 2 and int(minutes) < 60 and int(hours) <= 24:
        return Decimal(hours) + _QUOTIENT.divide(Decimal(minutes), Decimal(60))
    return _QUOTIENT.divide(Decimal(hours), Decimal(minutes)) if int(minutes) else None


def _decimal(written: str, group: str | None) -> str:
    """Returns the digits with a decimal point at most. A lone point is one; a lone comma before three digits groups."""
    if group is None:
        if written.count(",") > 1 or ("," in written and "." in written):
            return written.replace(",", "")  # 1,00,000.50
        return written.replace(",", ".")
    lone = written.count(group) == 1 and len(re.findall(r"\D", written)) == 1
    if group in ".," and lone and (written[0] == "0" or group == "."):
        return written.replace(",", ".")
    return written.replace(group, "").replace(",", ".")


def parse(text: str) -> Decimal | None:
    """Returns the number in a text, with `$`, `%`, `,` and units put aside; None where there is not exactly one.

    >>> parse("$1,200.50"), parse("1/2"), parse("3 to 4")
    (Decimal('1200.50'), Decimal('0.5'), None)
    """
    numbers = list(find(plain(text)))
    numbers = [n for n in numbers if not n.ordinal] or numbers
    return numbers[0].value if len(numbers) == 1 else None


def write(value: Decimal) -> str:
    """Returns the shortest plain decimal: no exponent, no trailing zeros.

    >>> write(Decimal("39.0")), write(Decimal("0.50")), write(Decimal("1E+3"))
    ('39', '0.5', '1000')
    """
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def same(a: Decimal, b: Decimal) -> bool:
    """Returns whether two numbers agree: to one part in a million, or rounded to the fewer decimals, of two at least.

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
