"""The geometry of charts: from values to coordinates. Templates turn these into SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from llmkit.report.elements import Chart, Point
from llmkit.report.written import tick

_LETTER = 7  # units of width that a letter of a name takes at most
_LINE = 14  # units from one name to the next below it


@dataclass(frozen=True, slots=True)
class Tick:
    """A number on an axis."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Name:
    """The name of a series, beside what it names; (x, y) is the start of its base line."""

    x: float
    y: float
    text: str
    colour: int


@dataclass(frozen=True, slots=True)
class Dot:
    """A point with the ends of its interval, in units of the picture."""

    x: float
    y: float
    low: float
    high: float
    point: Point


@dataclass(frozen=True, slots=True)
class Curve:
    """A line through dots and the band of their intervals, as SVG paths."""

    colour: int
    path: str
    band: str
    dots: tuple[Dot, ...]


@dataclass(frozen=True, slots=True)
class Scale:
    """A view box with margins, and the ticks of both axes in it."""

    chart: Chart
    width: int
    height: int
    left: int
    right: int
    bottom: int
    top: int

    def x(self, value: float) -> float:
        """Returns where a value lies from left to right."""
        return self.left + value / self.chart.x_ticks[-1] * (self.width - self.left - self.right)

    def y(self, value: float) -> float:
        """Returns where a value lies from top to bottom."""
        return self.height - self.bottom - value / self.chart.ticks[-1] * (self.height - self.bottom - self.top)

    def dot(self, point: Point) -> Dot:
        """Returns where a point and the ends of its interval lie."""
        return Dot(self.x(point.x), self.y(point.value), self.y(point.low), self.y(point.high), point)

    @property
    def xs(self) -> list[Tick]:
        return [Tick(self.x(value), tick(value)) for value in self.chart.x_ticks]

    @property
    def ys(self) -> list[Tick]:
        return [Tick(self.y(value), tick(value)) for value in self.chart.ticks]

    @property
    def middle(self) -> float:
        """The x of the middle of the plot."""
        return (self.left + self.width - self.right) / 2


@dataclass(frozen=True, slots=True)
class Picture:
    """A chart of lines or points in units of its view box."""

    scale: Scale
    dots: tuple[Dot, ...] = ()
    curves: tuple[Curve, ...] = ()
    names: tuple[Name, ...] = ()


def ticks(most: float) -> tuple[float, ...]:
    """Returns round numbers from 0 to at least `most` (> 0), six at the most.

    >>> ticks(0.83)
    (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    """
    unit = 10.0 ** math.floor(math.log10(most))
    step = next(s * unit for s in (0.2, 0.5, 1, 2) if most / (s * unit) < 5.001)
    return tuple(float(f"{i * step:.6g}") for i in range(math.ceil(most / step - 0.001) + 1))


def percent(x: float, top: float) -> str:
    """Returns how far along a bar a value lies, as SVG takes it.

    >>> percent(0.25, 0.5)
    '50.00%'
    """
    return f"{100 * max(0.0, min(x, top)) / top:.2f}%"


def around(x: float, reach: float) -> str:
    """Returns where a difference lies on a line whose middle is 0 and whose ends are -reach and reach.

    >>> around(0.0, 0.2), around(-0.5, 0.2)
    ('50.00%', '1.00%')
    """
    return f"{50 + 49 * max(-reach, min(reach, x)) / reach:.2f}%"


def lines(chart: Chart) -> Picture:
    """Returns a chart of lines, the name of each beside its end."""
    scale = Scale(chart, 460, 260, left=40, right=116, bottom=36, top=12)
    curves = []
    for series in chart.series:
        dots = tuple(scale.dot(point) for point in series.points)
        band = [(dot.x, dot.high) for dot in dots] + [(dot.x, dot.low) for dot in reversed(dots)]
        curves.append(Curve(series.colour, _path([(dot.x, dot.y) for dot in dots]), _path(band) + "Z", dots))
    ends = [(curve.dots[-1].y, curve.colour, s.name) for curve, s in zip(curves, chart.series, strict=True)]
    ends.sort(key=lambda end: end[0])
    heights = _apart([height for height, _, _ in ends], scale.height - scale.bottom)
    beside = scale.width - scale.right + 8
    names = [Name(beside, height, name, colour) for height, (_, colour, name) in zip(heights, ends, strict=True)]
    return Picture(scale, curves=tuple(curves), names=tuple(names))


def points(chart: Chart) -> Picture:
    """Returns a chart of single points, each named where there is room beside it."""
    scale = Scale(chart, 700, 320, left=44, right=24, bottom=40, top=14)
    dots: list[Dot] = []
    for series in chart.series:
        dot = scale.dot(series.points[0])
        while any(abs(other.x - dot.x) < _LETTER for other in dots):  # what has the same x is drawn side by side
            dot = replace(dot, x=dot.x + _LETTER)
        dots.append(dot)
    taken = [(dot.x - 6, dot.high, dot.x + 6, dot.low) for dot in dots]
    names = []
    for dot, series in zip(dots, chart.series, strict=True):
        box = _free(dot, _LETTER * len(series.name), taken, scale)
        if box:
            taken.append(box)
            names.append(Name(box[0], box[3] - 3, series.name, dot.point.colour))
    return Picture(scale, dots=tuple(dots), names=tuple(names))


def spark(values: Sequence[float], width: int, height: int, margin: int = 4) -> list[tuple[float, float]]:
    """Returns the corners of a line through values from left to right, from the lowest at the bottom to the highest.

    >>> spark([0.5, 0.7], 20, 10)
    [(4.0, 6.0), (16.0, 4.0)]
    """
    low, reach = min(values), max(values) - min(values)
    step = (width - 2 * margin) / max(len(values) - 1, 1)
    rise = (height - 2 * margin) / reach if reach else 0.0
    base = height - margin if reach else height / 2
    return [(margin + step * i, base - rise * (value - low)) for i, value in enumerate(values)]


def _path(corners: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in corners)


def _apart(heights: Sequence[float], bottom: float) -> list[float]:
    """Returns ascending heights moved apart so that names do not overlap and none is below `bottom`."""
    moved: list[float] = []
    for height in heights:
        moved.append(max(height, moved[-1] + _LINE) if moved else height)
    limit = bottom
    for i in reversed(range(len(moved))):
        moved[i] = min(moved[i], limit)
        limit = moved[i] - _LINE
    return moved


Box = tuple[float, float, float, float]  # left, top, right, bottom


def _free(dot: Dot, wide: float, taken: Sequence[Box], scale: Scale) -> Box | None:
    """Returns a place for a name of this width right, left, above or below its dot; None where all are taken."""
    middle = dot.y + 4
    places = (
        (dot.x + 9, middle),
        (dot.x - 9 - wide, middle),
        (dot.x - wide / 2, dot.high - 6),
        (dot.x - wide / 2, dot.low + 14),
    )
    for left, base in places:
        box = (left, base - 11, left + wide, base + 3)
        inside = left > scale.left and box[2] < scale.width and box[3] < scale.height - scale.bottom
        if inside and not any(
            box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3] for other in taken
        ):
            return box
    return None
