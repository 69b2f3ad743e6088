"""The written form of numbers: three places for values, two for the ends of intervals, a sign for differences."""

from __future__ import annotations

from typing import Protocol

from llmkit.report.elements import Cell, Emphasis, Span


class Measured(Protocol):
    """A measured value: `value` is None if it does not exist, and `reason` says why."""

    @property
    def value(self) -> float | None: ...
    @property
    def low(self) -> float | None: ...
    @property
    def high(self) -> float | None: ...


def rate(measured: Measured | None, note: str = "", emphasis: Emphasis = "") -> Cell:
    """Returns a share with its interval, 0.655 with .55 to .74; an empty cell for None."""
    if measured is None or measured.value is None or measured.low is None or measured.high is None:
        return missing(measured)
    ends = Span(short(measured.low), short(measured.high))
    return Cell(f"{measured.value:.3f}", ends, note=note, emphasis=emphasis)


def difference(measured: Measured | None, *, plus: bool = True, note: str = "", emphasis: Emphasis = "") -> Cell:
    """Returns a difference with its interval, +0.112 with +.08 to +.15; without `plus` a ratio, 0.655 with .19 to 1.04.

    A dash stands for a value that does not exist, an empty cell for None.
    """
    if measured is None or measured.value is None or measured.low is None or measured.high is None:
        return missing(measured)
    sign = "+" if plus else ""
    ends = Span(short(measured.low, sign), short(measured.high, sign), signed=True)
    return Cell(f"{measured.value:{sign}.3f}", ends, note=note, emphasis=emphasis)


def missing(measured: Measured | None) -> Cell:
    """Returns the cell for a value that does not exist: a dash with the reason, or nothing where none was asked for."""
    if measured is None:
        return Cell(hint="not measured")
    return Cell("-", emphasis="muted", hint=getattr(measured, "reason", None) or "not measured")


def short(x: float, sign: str = "") -> str:
    """Returns a number with two places and without the zero before the point.

    >>> short(0.05), short(-0.05, "+"), short(1.04)
    ('.05', '-.05', '1.04')
    """
    return f"{x:{sign}.2f}".replace("0.", ".", 1) if abs(x) < 1 else f"{x:{sign}.2f}"


def p_value(p: float | None) -> str:
    """Returns a p-value with three places; "" for None.

    >>> p_value(0.0004), p_value(0.25)
    ('<0.001', '0.250')
    """
    return "" if p is None else f"{p:.3f}" if p >= 0.001 else "<0.001"


def count(n: float) -> str:
    """Returns a whole number with separators.

    >>> count(12600)
    '12,600'
    """
    return f"{n:,.0f}"


def tick(x: float) -> str:
    """Returns a round number on an axis.

    >>> tick(0.0), tick(0.25), tick(1000.0)
    ('0', '0.25', '1000')
    """
    return f"{x:.6g}"


def figures(x: float) -> str:
    """Returns a number with three significant figures.

    >>> figures(1234.5), figures(0.01234)
    ('1,230', '0.0123')
    """
    return f"{float(f'{x:.3g}'):,g}"


def interval_words(measured: Measured) -> str:
    """Returns an interval in words, for a sentence: ".55 to .74"."""
    return f"{short(measured.low or 0)} to {short(measured.high or 0)}"
