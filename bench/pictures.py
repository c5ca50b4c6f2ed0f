"""A figure as a picture: horizontal bars, ours over the baseline, and a mark at the goal. SVG, the same for the same
figures, in the colours of a light or a dark page.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as Xml

from bench.figures import Figure, Series

STYLE = Path(__file__).with_name("pictures.css")

MARGIN = 24
LABELS = 330  # where the bars begin
SCALE = 310  # width of the longest bar
WIDTH = MARGIN + LABELS + SCALE + 96
BAR = 18  # its height
ROW = BAR + 5
HEAD = 26  # what stands over the bars of a figure
BLOCK = HEAD + 2 * ROW + 34


def picture(figures: Sequence[Figure], title: str) -> str:
    height = 2 * MARGIN + BLOCK * len(figures) - 14
    box = {"viewBox": f"0 0 {WIDTH} {height}", "width": str(WIDTH), "height": str(height)}
    root = Xml.Element(
        "svg", {"xmlns": "http://www.w3.org/2000/svg", **box, "role": "img", "aria-labelledby": "title description"}
    )
    Xml.SubElement(root, "title", id="title").text = title
    Xml.SubElement(root, "desc", id="description").text = " ".join(map(_in_words, figures))
    Xml.SubElement(root, "style").text = STYLE.read_text()
    Xml.SubElement(root, "rect", {"class": "page", "width": "100%", "height": "100%", "rx": "10"})
    for number, figure in enumerate(figures):
        root.append(_bars(figure, MARGIN + number * BLOCK))
    Xml.indent(root)
    return Xml.tostring(root, encoding="unicode") + "\n"


def _bars(figure: Figure, top: int) -> Xml.Element:
    group = Xml.Element("g", transform=f"translate({MARGIN} {top})")
    rows = [("ours", "through the gateway", figure.measured)]
    if figure.baseline:
        rows.append(("other", figure.baseline.name, figure.baseline))
    goal = figure.goal * (figure.baseline.median if figure.baseline else 1)
    scale = SCALE / max(goal, *(series.median for _, _, series in rows))
    _text(group, figure.measured.name, 0, 14, "name")
    x, end = f"{LABELS + goal * scale:.1f}", HEAD + len(rows) * ROW
    for number, (kind, label, series) in enumerate(rows):
        y = HEAD + number * ROW
        width = series.median * scale
        size = {"width": f"{width:.1f}", "height": str(BAR), "rx": "2"}
        _text(group, label, 0, y + 13, "label")
        Xml.SubElement(group, "rect", {"class": kind, "x": str(LABELS), "y": str(y), **size})
    Xml.SubElement(group, "line", {"class": "goal", "x1": x, "x2": x, "y1": str(HEAD - 4), "y2": str(end)})
    for number, (_, _, series) in enumerate(rows):  # in front of the mark, which may stand at the same place
        y = HEAD + number * ROW + 13
        _text(group, series.shown(series.median), LABELS + series.median * scale + 8, y, "value")
    _text(group, "goal", LABELS + goal * scale, end + 11, "goal-name")
    return group


def _text(group: Xml.Element, text: str, x: float, y: int, kind: str) -> None:
    Xml.SubElement(group, "text", {"class": kind, "x": f"{x:.1f}", "y": str(y)}).text = text


def _in_words(figure: Figure) -> str:
    def said(one: Series) -> str:
        return f"{one.name}: {one.shown(one.median)}"

    against = f"; {said(figure.baseline)}" if figure.baseline else ""
    return f"{said(figure.measured)}{against}."
