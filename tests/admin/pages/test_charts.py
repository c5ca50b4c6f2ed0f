"""Charts: numbers become places, and everything that a chart says is text."""

from __future__ import annotations

from xml.etree.ElementTree import Element, fromstring

import pytest

from claude_code_api.admin.pages.charts import BASE, LEFT, TOP, Point, bars, lines, nice, share


def points(*values: tuple[float | None, ...]) -> list[Point]:
    return [Point(f"{at}:00", each, f"{each} told") for at, each in enumerate(values)]


def told(number: float) -> str:
    return f"{number:g} x"


def rects(picture: Element, kind: str) -> list[dict[str, float]]:
    return [
        {name: float(rect.attrib[name].rstrip("%")) for name in ("x", "y", "width", "height")}
        for rect in picture.iter("rect")
        if rect.attrib["class"] == kind
    ]


def test_a_bar_is_as_high_as_its_share_of_the_axis() -> None:
    picture = fromstring(bars("n", "Requests", "All.", points((50, 0), (100, 0)), told))
    first, second = rects(picture, "a")
    assert second["height"] == pytest.approx(BASE - TOP)
    assert first["height"] == pytest.approx((BASE - TOP) / 2)
    assert first["y"] + first["height"] == pytest.approx(BASE)


def test_the_second_series_stands_upon_the_first() -> None:
    picture = fromstring(bars("n", "Requests", "All.", points((30, 10)), told))
    (lower,), (upper,) = rects(picture, "a"), rects(picture, "b")
    assert upper["y"] + upper["height"] == pytest.approx(lower["y"])
    assert upper["x"] == lower["x"]


def test_everything_lies_within_the_picture() -> None:
    picture = fromstring(bars("n", "t", "s", points(*[(at * 7 % 23, at % 5) for at in range(60)]), told))
    for rect in picture.iter("rect"):
        x, width = (float(rect.attrib[name].rstrip("%")) for name in ("x", "width"))
        y, height = (float(rect.attrib[name].rstrip("%")) for name in ("y", "height"))
        assert LEFT <= x <= x + width <= 100.1
        assert TOP - 0.1 <= y <= y + height <= BASE + 0.1


def test_each_point_tells_its_numbers_and_the_picture_what_it_is() -> None:
    picture = fromstring(bars("cost", "Cost", "By the hour.", points((1, 2), (3, 4)), told))
    assert [group.findtext("title") for group in picture.iter("g")] == ["0:00: (1, 2) told", "1:00: (3, 4) told"]
    assert picture.attrib["role"] == "img"
    assert picture.attrib["aria-labelledby"] == "cost-title cost-summary"
    assert [picture.find(f"*[@id='{name}']").text for name in ("cost-title", "cost-summary")] == [
        "Cost",
        "By the hour.",
    ]


def test_a_line_is_broken_where_nothing_was_measured() -> None:
    picture = fromstring(lines("n", "t", "s", points((1,), (2,), (None,), (4,)), told))
    runs = [line.attrib["points"].split() for line in picture.iter("polyline")]
    assert [len(run) for run in runs] == [2, 2]  # the last one is a point alone, drawn as a dash
    assert runs[1][0].split(",")[1] == runs[1][1].split(",")[1] == "0"


@pytest.mark.parametrize("draw", [bars, lines])
def test_nothing_to_show_is_an_empty_plane(draw: object) -> None:
    for values in ([], points((0, 0)), points((None, None), (None, None))):
        picture = fromstring(draw("n", "t", "s", values, told))  # type: ignore[operator]
        assert rects(picture, "a") == []
        assert [text.text for text in picture.findall("text")][:2] == ["2 x", "1 x"]


def test_labels_are_escaped_and_styles_are_classes() -> None:
    text = bars("n", "<b>", "&", [Point("<i>", (1,), '"<u>')], told)
    assert "<b>" not in text
    assert "<i>" not in text
    assert "<u>" not in text
    assert "style=" not in text


@pytest.mark.parametrize(
    ("most", "top"), [(0, 2), (1, 2), (3, 4), (4.1, 5), (7, 10), (100, 100), (101, 200), (2.5e9, 4e9)]
)
def test_an_axis_ends_at_a_number_that_reads_well(most: float, top: float) -> None:
    assert nice(most) == pytest.approx(top)


def test_a_share_is_a_part_of_the_whole() -> None:
    assert 'width="25%"' in share(1, 4)
    assert 'width="0%"' in share(0, 0)
