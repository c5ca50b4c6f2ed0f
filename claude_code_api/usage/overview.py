"""The last hour, day and month at a glance: a figure for each, and evenly spaced ones for charts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from claude_code_api.storage.database import Database
from claude_code_api.storage.tables import usage_totals
from claude_code_api.usage.figures import Figures, figures_of, summed
from claude_code_api.usage.sums import BEGIN_OF, Span

_STEPS: dict[Span, timedelta] = {
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
}


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """`points` follow each other from `begins_at` on, each of them `step` long (in UTC); the last is still under way.

    `total` is their sum.
    """

    begins_at: datetime
    step: timedelta
    points: tuple[Figures, ...]
    total: Figures


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """60 minutes, 24 hours and 30 days."""

    hour: Window
    day: Window
    month: Window


async def overview(database: Database, now: datetime | None = None) -> Overview:
    """All keys together. What was used within the last seconds may be missing: it is on its way to the database."""
    now = datetime.now(UTC) if now is None else now.astimezone(UTC)
    async with database.read() as connection:
        return Overview(
            hour=await _window(connection, "minute", 60, now),
            day=await _window(connection, "hour", 24, now),
            month=await _window(connection, "day", 30, now),
        )


async def _window(connection: AsyncConnection, span: Span, number: int, now: datetime) -> Window:
    step = _STEPS[span]
    last = BEGIN_OF[span](now)
    begins_at = last - (number - 1) * step
    time = usage_totals.c.begins_at
    within = (usage_totals.c.span == span) & (time >= begins_at) & (time <= last)
    rows = await connection.execute(select(time, *summed(usage_totals)).where(within).group_by(time))
    found = {row["begins_at"]: figures_of(row) for row in rows.mappings()}
    points = tuple(found.get(begins_at + n * step, Figures()) for n in range(number))
    return Window(begins_at=begins_at, step=step, points=points, total=Figures.sum(points))
