"""The benchmark's figures: what they say, and the picture of them."""

from __future__ import annotations

from xml.etree import ElementTree as Xml

from bench.figures import Figure, Series
from bench.pictures import picture

TURN = Figure(
    measured=Series("first token <of a turn>", (0.020, 0.022, 0.024)),
    baseline=Series("the bare program", (0.018, 0.020, 0.030)),
    goal=1.3,
)
MEMORY = Figure(measured=Series("memory", (70.0,), "MB"), goal=60)


def test_a_figure_holds_the_ratio_of_the_medians_against_its_goal() -> None:
    assert (f"{TURN.value:.2f}", TURN.met, TURN.verdict) == ("1.10", True, "**1.1** | ≤ 1.3")
    assert TURN.measured.spread == "22 ms (24 ms)"


def test_a_figure_without_a_baseline_holds_the_median_against_its_goal_and_tells_a_miss() -> None:
    assert (MEMORY.met, MEMORY.verdict) == (False, "**70 MB** | ≤ 60 MB, missed")


def test_the_picture_is_sound_and_the_same_for_the_same_figures() -> None:
    drawn = picture([TURN, MEMORY], "Title & more")
    assert drawn == picture([TURN, MEMORY], "Title & more")
    texts = [element.text for element in Xml.fromstring(drawn).iter() if element.text]
    assert {"first token <of a turn>", "22 ms", "the bare program", "20 ms", "70 MB", "goal"} <= set(texts)
    assert texts.count("Title & more") == 1


def test_the_longest_bar_or_mark_fills_the_scale_and_the_others_keep_their_proportion() -> None:
    svg = "{http://www.w3.org/2000/svg}"
    root = Xml.fromstring(picture([TURN], ""))
    ours, other = (
        float(bar.get("width", "")) for bar in root.iter(f"{svg}rect") if bar.get("class") in ("ours", "other")
    )
    assert f"{ours / other:.2f}" == f"{TURN.value:.2f}"
