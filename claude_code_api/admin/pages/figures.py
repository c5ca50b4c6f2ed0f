"""Figures of use as the cards of a page: a number, a chart, and a table of what the chart shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta

import msgspec
from markupsafe import Markup

from claude_code_api.admin.pages import charts
from claude_code_api.admin.pages.charts import Point
from claude_code_api.admin.pages.wording import count, duration, short_count, tokens, usd
from claude_code_api.usage.figures import Figures
from claude_code_api.usage.overview import Window

Told = Callable[[float], str]
OAUTH_COST = "For an OAuth token: what the API would have charged"


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One card. `legend` names the series, `rows` have a time and a text for each of `columns`."""

    id: str
    title: str
    value: str
    chart: Markup
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    legend: Sequence[str] = ()


def of_window(window: Window) -> list[Figure]:
    """Requests, tokens, cost and time to the first token; times are in UTC."""
    clock = "%H:%M" if window.step < timedelta(days=1) else "%-d %b"
    at = [f"{window.begins_at + number * window.step:{clock}}" for number in range(len(window.points))]
    series = list(zip(at, window.points, strict=True))
    return [requests(series, window.total), _tokens(series, window.total), cost(series, window.total),
            _first_token(series, window.total)]  # fmt: skip


def by_day(lines: Iterable[tuple[str, Figures]], since: datetime, until: datetime) -> list[tuple[str, Figures]]:
    """Days with nothing in them, too, from `since` to `until`."""
    there = dict(lines)
    first, last = since.astimezone(UTC).date(), until.astimezone(UTC).date()
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    return [(f"{day:%-d %b}", there.get(day.isoformat(), Figures())) for day in days]


def requests(series: Sequence[tuple[str, Figures]], total: Figures) -> Figure:
    share = f", {100 * total.failed / total.requests:.1f} %" if total.failed else ""
    return _bars(
        "requests", "Requests", count(total.requests), series,
        lambda each: (each.requests - each.failed, each.failed), ("answered", "failed"), count, short_count,
        note=f"{count(total.failed)} failed{share}",
    )  # fmt: skip


def cost(series: Sequence[tuple[str, Figures]], total: Figures) -> Figure:
    unpriced = f"; {count(total.unpriced)} requests without a known price" if total.unpriced else ""
    return _bars(
        "cost", "Cost", usd(total.cost), series, lambda each: (each.cost,), ("cost",), usd, _short_usd,
        note=OAUTH_COST + unpriced,
    )  # fmt: skip


def _tokens(series: Sequence[tuple[str, Figures]], total: Figures) -> Figure:
    return _bars(
        "tokens", "Tokens", count(tokens(total)), series,
        lambda each: (tokens(each) - each.output_tokens, each.output_tokens), ("in", "out"), count, short_count,
        note=f"{count(total.cache_read_tokens)} read from the cache",
    )  # fmt: skip


def _first_token(series: Sequence[tuple[str, Figures]], total: Figures) -> Figure:
    legend = ("half within", "95 % within")
    measured = [(at, (each.first_token_ms(0.5), each.first_token_ms(0.95))) for at, each in series]
    points = [
        Point(at, values, ", ".join(f"{name} {duration(value)}" for name, value in zip(legend, values, strict=True)))
        for at, values in measured
    ]
    title, value = "Time to first token", duration(total.first_token_ms(0.5))
    return Figure(
        id="first-token",
        title=title,
        value=value,
        note=f"95 % within {duration(total.first_token_ms(0.95))}",
        chart=charts.lines("first-token", title, f"{value} for half of all answers.", points, duration),
        columns=legend,
        rows=[(at, *map(duration, values)) for at, values in measured],
        legend=legend,
    )


def _bars(
    name: str, title: str, value: str, series: Sequence[tuple[str, Figures]],
    values: Callable[[Figures], tuple[float, ...]], legend: Sequence[str], told: Told, on_axis: Told, note: str,
) -> Figure:  # fmt: skip
    points = [
        Point(at, given, ", ".join(f"{told(each)} {what}" for each, what in zip(given, legend, strict=True)))
        for at, figures in series
        for given in [values(figures)]
    ]
    return Figure(
        id=name,
        title=title,
        value=value,
        note=note,
        chart=charts.bars(name, title, f"{value} in all.", points, on_axis),
        columns=legend,
        rows=[(point.label, *(told(each or 0) for each in point.values)) for point in points],
        legend=legend if len(legend) > 1 else (),
    )


def _short_usd(billionths: float) -> str:
    dollars = billionths / 1e9
    return f"${dollars:.2g}" if dollars < 10 else f"${short_count(dollars)}"
