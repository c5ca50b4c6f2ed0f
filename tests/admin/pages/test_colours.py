"""The colours of the pages against WCAG 2.2 AA: 4.5 to 1 for text, 3 to 1 for the edges of fields and for charts."""

from __future__ import annotations

import re
from itertools import product

import pytest

from claude_code_api.admin.pages.rendering import assets

GROUNDS = ("paper", "card", "sunk")
TEXT = [
    *product(("ink", "dim", "accent", "bad", "accent-strong"), GROUNDS),
    ("accent-strong", "accent-wash"), ("accent", "accent-wash"), ("ink", "accent-wash"),
    ("good", "good-wash"), ("warn", "warn-wash"), ("bad", "bad-wash"), ("bad-strong", "bad-wash"),
    ("on-accent", "accent"), ("on-accent", "accent-strong"), ("on-bad", "bad"), ("on-bad", "bad-strong"),
]  # fmt: skip
GRAPHICS = [*product(("edge", "accent"), GROUNDS), ("series-a", "card"), ("series-b", "card"), ("bad", "card")]


def tokens(scheme: str) -> dict[str, str]:
    css = assets()["admin.css"].body.decode()
    blocks = re.findall(r":root \{(.*?)\}", css, re.DOTALL)
    found = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", blocks[0]))
    if scheme == "dark":
        assert "prefers-color-scheme: dark" in css.partition(blocks[1])[0]
        dark = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", blocks[1]))
        assert set(dark) == set(found)
        return dark
    return found


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_black_on_white_is_the_most_there_is() -> None:
    assert round(contrast("#000000", "#ffffff"), 2) == 21


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read(scheme: str) -> None:
    colours = tokens(scheme)
    weak = {(a, b): round(contrast(colours[a], colours[b]), 2) for a, b in TEXT}
    assert {pair: ratio for pair, ratio in weak.items() if ratio < 4.5} == {}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_edges_and_charts_can_be_seen(scheme: str) -> None:
    colours = tokens(scheme)
    weak = {(a, b): round(contrast(colours[a], colours[b]), 2) for a, b in GRAPHICS}
    assert {pair: ratio for pair, ratio in weak.items() if ratio < 3} == {}


def test_colours_come_from_tokens_alone() -> None:
    """Else nobody would know of them here; the white around a code that cameras read is no matter."""
    css = assets()["admin.css"].body.decode()
    rest = re.sub(r":root \{.*?\}", "", css, flags=re.DOTALL)
    assert set(re.findall(r"#[0-9a-fA-F]{3,8}\b(?=[;, )])", rest)) <= {"#ffffff"}
