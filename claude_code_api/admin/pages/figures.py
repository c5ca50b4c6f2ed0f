"""Figures of use as the cards of a page: a number, a chart, and a table of what the chart shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, timedelta

import msgspec
from markupsafe import Markup

from claude_code_api.admin.pages import charts
from claude_code_api.admin.pages.charts import Point
from claude_code_api.admin.pages.wording import count, duration, iso, short_count, tokens, usd
from claude_code_api.usage.figures import Figures
from claude_code_api.usage.overview import Window

Told = Callable[[float], str]
OAUTH_COST = "For an OAuth token: what the API would have charged"


class At(msgspec.Struct, frozen=True):
    """A span of time as it is labelled, in UTC; `clock` is when it began, where the label is a time of day."""

    label: str
    clock: str = ""


Series = Sequence[tuple[At, Figures]]


class Row(msgspec.Struct, frozen=True):
    at: At
    cells: Sequence[str]


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One card. `legend` names the series, `rows` have a cell for each of `columns`."""

    id: str
    title: str
    value: str
    chart: Markup
    columns: Sequence[str]
    rows: Sequence[Row]
    note: str = ""
    legend: Sequence[str] = ()


def of_window(window: Window) -> list[Figure]:
    """Requests, tokens, cost and time to the first token; times are in UTC."""
    moments = [window.begins_at + number * window.step for number in range(len(window.points))]
    daily = window.step >= timedelta(days=1)
    at = [_day(moment) if daily else At(f"{moment:%H:%M}", iso(moment)) for moment in moments]
    series = list(zip(at, window.points, strict=True))
    return [requests(series, window.total), _tokens(series, window.total), cost(series, window.total),
            _first_token(series, window.total)]  # fmt: skip


def by_day(lines: Iterable[tuple[str, Figures]], since: datetime, until: datetime) -> Series:
    """Days with nothing in them, too, from `since` to `until`."""
    there = dict(lines)
    first, last = since.astimezone(UTC).date(), until.astimezone(UTC).date()
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    return [(_day(day), there.get(day.isoformat(), Figures())) for day in days]


def requests(series: Series, total: Figures) -> Figure:
    share = f", {100 * total.failed / total.requests:.1f} %" if total.failed else ""
    return _bars(
        "requests", "Requests", count(total.requests), series,
        lambda each: (each.requests - each.failed, each.failed), ("answered", "failed"), count, short_count,
        note=f"{count(total.failed)} failed{share}",
    )  # fmt: skip


def cost(series: Series, total: Figures) -> Figure:
    unpriced = f"; {count(total.unpriced)} requests without a known price" if total.unpriced else ""
    return _bars(
        "cost", "Cost", usd(total.cost), series, lambda each: (each.cost,), ("cost",), usd, _short_usd,
        note=OAUTH_COST + unpriced,
    )  # fmt: skip


def _tokens(series: Series, total: Figures) -> Figure:
    return _bars(
        "tokens", "Tokens", count(tokens(total)), series,
        lambda each: (tokens(each) - each.output_tokens, each.output_tokens), ("in", "out"), count, short_count,
        note=f"{count(total.cache_read_tokens)} read from the cache",
    )  # fmt: skip


def _first_token(series: Series, total: Figures) -> Figure:
    legend = ("half within", "95 % within")
    measured = [(at, (each.first_token_ms(0.5), each.first_token_ms(0.95))) for at, each in series]
    points = [
        Point(
            at.label,
            values,
            ", ".join(f"{name} {duration(value)}" for name, value in zip(legend, values, strict=True)),
            at.clock,
        )
        for at, values in measured
    ]
    title, value = "Time to first token", duration(total.first_token_ms(0.5))
    return Figure(
        id="first-token",
        title=title,
        value=value,
        note=f"95 % within {duration(total.first_token_ms(0.95))}",
        chart=charts.lines("first-token", title, f"{value} for half of all answers.", points, _seconds),
        columns=legend,
        rows=[Row(at, [duration(value) for value in values]) for at, values in measured],
        legend=legend,
    )


def _bars(
    name: str, title: str, value: str, series: Series,
    values: Callable[[Figures], tuple[float, ...]], legend: Sequence[str], told: Told, on_axis: Told, note: str,
) -> Figure:  # fmt: skip
    valued = [(at, values(figures)) for at, figures in series]
    points = [
        Point(
            at.label,
            given,
            ", ".join(f"{told(each)} {what}" for each, what in zip(given, legend, strict=True)),
            at.clock,
        )
        for at, given in valued
    ]
    return Figure(
        id=name,
        title=title,
        value=value,
        note=note,
        chart=charts.bars(name, title, f"{value} in all.", points, on_axis),
        columns=legend,
        rows=[Row(at, [told(each) for each in given]) for at, given in valued],
        legend=legend if len(legend) > 1 else (),
    )


def _day(day: date) -> At:
    return At(f"{day:%-d %b}")


def _seconds(milliseconds: float) -> str:
    return f"{milliseconds / 1000:g} s"


def _short_usd(billionths: float) -> str:
    dollars = billionths / 1e9
    return f"${dollars:.2g}" if dollars < 10 else f"${short_count(dollars)}"
