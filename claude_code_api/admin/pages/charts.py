"""Charts as SVG within a page: from numbers to markup, with classes alone (the pages' policy allows no styles).

Places are shares of the picture, so a chart fills its card at any width and its text keeps its size. What a chart
shows stands beside it as a table, too; each of its points tells its numbers when pointed at.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import groupby
from xml.etree.ElementTree import Element, SubElement, tostring

import msgspec
from markupsafe import Markup

TOP, BASE = 12.0, 84.0
"""Where the largest value and zero lie, in hundredths of the height; above and below stand the labels."""
SERIES = ("a", "b")
"""The classes of the first and the second series."""
LEFT = 9.0
"""Where the first point begins, in hundredths of the width: before it stand the values of the axis."""
WIDEST = 4.0
"""A bar is never wider than this, in hundredths: few bars would be blocks."""


class Point(msgspec.Struct, frozen=True):
    """What is told of one span of time: a value for each series, None where nothing was measured.

    `clock` is the moment that the label tells, if it is a time of day: a script tells it in the reader's zone.
    """

    label: str
    values: tuple[float | None, ...]
    told: str
    clock: str = ""


def bars(name: str, title: str, summary: str, points: Sequence[Point], told: Callable[[float], str]) -> Markup:
    """A bar for each point, the series upon each other. `name` is unique in the page, `told` writes a value."""
    picture = _picture(name, title, summary)
    most = nice(max((sum(value or 0 for value in point.values) for point in points), default=0))
    _grid(picture, most, told)
    step = _step(points)
    width = min(step * 0.72, WIDEST)
    for number, point in enumerate(points):
        group = _hit(picture, point, LEFT + number * step, step)
        foot = BASE
        for kind, value in zip(SERIES, point.values, strict=False):
            height = (value or 0) / most * (BASE - TOP)
            foot -= height
            if height:
                _rect(group, kind, x=LEFT + number * step + (step - width) / 2, y=foot, width=width, height=height)
    _labels(picture, points)
    return _markup(picture)


def lines(name: str, title: str, summary: str, points: Sequence[Point], told: Callable[[float], str]) -> Markup:
    """A line for each series, broken where nothing was measured."""
    picture = _picture(name, title, summary)
    most = nice(max((value or 0 for point in points for value in point.values), default=0))
    _grid(picture, most, told)
    step = _step(points)
    plane = SubElement(
        picture, "svg", x=f"{LEFT}%", y=f"{TOP}%", width=f"{100 - LEFT}%", height=f"{BASE - TOP}%",
        viewBox="0 0 100 100", preserveAspectRatio="none",
    )  # fmt: skip
    for index, kind in enumerate(SERIES[: len(points[0].values) if points else 0]):
        placed = [
            ((number + 0.5) * 100 / len(points), None if value is None else 100 - value / most * 100)
            for number, value in enumerate(point.values[index] for point in points)
        ]
        for measured, run in groupby(placed, key=lambda place: place[1] is not None):
            if measured:
                _line(plane, kind, [(x, y) for x, y in run if y is not None], 100 / len(points))
    for number, point in enumerate(points):
        _hit(picture, point, LEFT + number * step, step)
    _labels(picture, points)
    return _markup(picture)


def share(part: float, whole: float) -> Markup:
    """A bar in a table's cell, beside the number that it shows."""
    picture = Element("svg", {"class": "share", "aria-hidden": "true"})
    SubElement(picture, "rect", width=f"{_short(100 * part / whole if whole else 0)}%", height="100%")
    return _markup(picture)


def nice(most: float) -> float:
    """The next number that reads well at the top of an axis, and half of it in the middle; 2 at least."""
    if most <= 2:
        return 2
    magnitude = 10.0 ** math.floor(math.log10(most))
    return next(step * magnitude for step in (1, 2, 4, 5, 10) if most <= step * magnitude * (1 + 1e-9))


# --- parts ------------------------------------------------------------------------------------------------


def _picture(name: str, title: str, summary: str) -> Element:
    marks = {"class": "plot", "role": "img", "aria-labelledby": f"{name}-title {name}-summary"}
    picture = Element("svg", marks)
    SubElement(picture, "title", id=f"{name}-title").text = title
    SubElement(picture, "desc", id=f"{name}-summary").text = summary
    return picture


def _grid(picture: Element, most: float, told: Callable[[float], str]) -> None:
    for part, kind in ((1.0, "grid"), (0.5, "grid"), (0.0, "base")):
        y = f"{_short(BASE - part * (BASE - TOP))}%"
        SubElement(picture, "line", {"class": kind}, x1="0", x2="100%", y1=y, y2=y)
        if part:
            SubElement(picture, "text", x="0", y=y, dy="-4").text = told(most * part)


def _labels(picture: Element, points: Sequence[Point]) -> None:
    """The first, the middle and the last; a phone has no room for more."""
    middle, last = len(points) // 2, len(points) - 1
    places = {0: ("start", LEFT), middle: ("middle", LEFT + (middle + 0.5) * _step(points)), last: ("end", 100.0)}
    for number, (kind, x) in places.items():
        if 0 <= number <= last:
            label = SubElement(picture, "text", {"class": kind}, x=f"{_short(x)}%", y="100%", dy="-2")
            _clock(label, points[number])
            label.text = points[number].label


def _step(points: Sequence[Point]) -> float:
    """The width of a point's place."""
    return (100 - LEFT) / max(1, len(points))


def _hit(picture: Element, point: Point, x: float, width: float) -> Element:
    """The place of a point from top to bottom, which tells its numbers."""
    group = SubElement(picture, "g")
    title = SubElement(group, "title")
    title.text = f"{point.label}: {point.told}"
    _clock(title, point)
    _rect(group, "hit", x=x, y=TOP, width=width, height=BASE - TOP)
    return group


def _clock(element: Element, point: Point) -> None:
    if point.clock:
        element.set("data-clock", point.clock)


def _line(plane: Element, kind: str, run: list[tuple[float, float]], step: float) -> None:
    if len(run) == 1:  # a point alone would not be seen
        (x, y) = run[0]
        run = [(x - step / 3, y), (x + step / 3, y)]
    SubElement(
        plane, "polyline", {"class": f"line {kind}"}, points=" ".join(f"{_short(x)},{_short(y)}" for x, y in run)
    )


def _rect(parent: Element, kind: str, **places: float) -> None:
    SubElement(parent, "rect", {"class": kind, **{name: f"{_short(place)}%" for name, place in places.items()}})


def _short(number: float) -> str:
    return f"{number:.2f}".rstrip("0").rstrip(".")


def _markup(picture: Element) -> Markup:
    return Markup(tostring(picture, encoding="unicode"))  # noqa: S704 - made of elements, so its text is escaped
