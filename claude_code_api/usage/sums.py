"""Sums of requests in several grains, kept up with every record, so that no page has to add up many rows.

    usage_hours     hour × key × credential × model × status      whatever else is asked for
    usage_totals    minute, hour and day × credential × model × status      charts, reports without a key
    usage_days      day × key      who spends most

Minutes are kept for a few hours only. All are exact: a request counts once in each.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Literal

from sqlalchemy import RowMapping, Table, case, delete, func, literal, select
from sqlalchemy.dialects.sqlite import Insert
from sqlalchemy.ext.asyncio import AsyncConnection

from claude_code_api.storage.database import insert_or
from claude_code_api.storage.tables import (
    FIRST_TOKEN_BOUNDS,
    USAGE_SUMS,
    UTCDateTime,
    usage_days,
    usage_hours,
    usage_totals,
)
from claude_code_api.usage.record import Record

Span = Literal["minute", "hour", "day"]

OK = 200
COUNTED = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "duration_ms",
)

_Sums = dict[str, int]
_Groups = dict[tuple[Any, ...], _Sums]


def minute_of(moment: datetime) -> datetime:
    return moment.replace(second=0, microsecond=0)


def hour_of(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


def day_of(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


BEGIN_OF: dict[Span, Callable[[datetime], datetime]] = {"minute": minute_of, "hour": hour_of, "day": day_of}


def failed_of(table: Table) -> Any:
    """How many requests of a row have failed."""
    return table.c.failed if "failed" in table.c else case((table.c.status == OK, 0), else_=table.c.requests)


async def add_to_hours(connection: AsyncConnection, records: Iterable[Record]) -> None:
    await _upsert(connection, usage_hours, _gathered(records, _hour_key))


async def add_to_all(connection: AsyncConnection, records: Iterable[Record], sign: int = 1) -> None:
    """To all sums; with -1 as the sign, away from them."""
    fine = _gathered(records, lambda record: (minute_of(record.started_at), *_hour_key(record)), sign)
    hours: _Groups = {}
    totals: _Groups = {}
    days: _Groups = {}
    for (minute, hour, key_id, *group), sums in fine.items():
        day = day_of(hour)
        _add(hours, (hour, key_id, *group), sums)
        for span, begins_at in (("minute", minute), ("hour", hour), ("day", day)):
            _add(totals, (span, begins_at, *group), sums)
        failed = 0 if group[-1] == OK else sums["requests"]
        _add(days, (key_id, day), {"failed": failed, **sums})
    for table, groups in ((usage_hours, hours), (usage_totals, totals), (usage_days, days)):
        await _upsert(connection, table, groups)


async def take_from_totals(connection: AsyncConnection, rows: Iterable[RowMapping]) -> None:
    """Takes rows of `usage_hours` away from the sums of all keys by hour and day."""
    totals: _Groups = {}
    for row in rows:
        sums = {name: -row[name] for name in USAGE_SUMS}
        for span, begins_at in (("hour", row["hour"]), ("day", day_of(row["hour"]))):
            _add(totals, (span, begins_at, row["credential_id"], row["model"], row["status"]), sums)
    await _upsert(connection, usage_totals, totals)
    await connection.execute(delete(usage_totals).where(usage_totals.c.requests <= 0))


async def rebuild_day(connection: AsyncConnection, day: datetime) -> None:
    """Adds up anew, from the hours of a day, what else is kept of it; but for its minutes."""
    await connection.execute(delete(usage_days).where(usage_days.c.day == day))
    within = (usage_totals.c.begins_at >= day) & (usage_totals.c.begins_at < day + timedelta(days=1))
    await connection.execute(delete(usage_totals).where(within, usage_totals.c.span.in_(["hour", "day"])))
    group = [usage_hours.c[name] for name in ("credential_id", "model", "status")]
    sums = [func.sum(usage_hours.c[name]) for name in USAGE_SUMS]
    whole = literal(day, UTCDateTime)
    for table, columns, by in (
        (usage_totals, [literal("hour"), usage_hours.c.hour, *group, *sums], [usage_hours.c.hour, *group]),
        (usage_totals, [literal("day"), whole, *group, *sums], group),
        (usage_days, [usage_hours.c.key_id, whole, func.sum(failed_of(usage_hours)), *sums], [usage_hours.c.key_id]),
    ):
        of_day = (usage_hours.c.hour >= day) & (usage_hours.c.hour < day + timedelta(days=1))
        rows = select(*columns).where(of_day).group_by(*by)
        await connection.execute(table.insert().from_select([column.name for column in table.c], rows))


def _hour_key(record: Record) -> tuple[Any, ...]:
    return hour_of(record.started_at), record.key_id, record.credential_id, record.model, record.status


def _gathered(records: Iterable[Record], key_of: Callable[[Record], tuple[Any, ...]], sign: int = 1) -> _Groups:
    groups: _Groups = {}
    for record in records:
        row = groups.setdefault(key_of(record), dict.fromkeys(USAGE_SUMS, 0))
        row["requests"] += sign
        row["cost"] += sign * (record.cost or 0)
        row["unpriced"] += sign * (record.cost is None)
        for name in COUNTED:
            row[name] += sign * getattr(record, name)
        if record.first_token_ms is not None:
            row[f"first_token_{bisect_left(FIRST_TOKEN_BOUNDS, record.first_token_ms)}"] += sign
    return groups


def _add(groups: _Groups, key: tuple[Any, ...], sums: _Sums) -> None:
    row = groups.get(key)
    if row is None:
        groups[key] = dict(sums)
        return
    for name, value in sums.items():
        if value:
            row[name] += value


async def _upsert(connection: AsyncConnection, table: Table, groups: _Groups) -> None:
    names = [column.name for column in table.primary_key]
    rows = [dict(zip(names, key, strict=True)) | sums for key, sums in groups.items()]
    if rows:
        await connection.execute(_statement(connection.dialect.name, table), rows)


@lru_cache
def _statement(dialect: str, table: Table) -> Insert:
    """Built once: for a few records that costs as much as to execute it."""
    statement = insert_or(dialect, table)
    keys = [column.name for column in table.primary_key]
    sums = {column.name: column + statement.excluded[column.name] for column in table.c if not column.primary_key}
    return statement.on_conflict_do_update(index_elements=keys, set_=sums)
