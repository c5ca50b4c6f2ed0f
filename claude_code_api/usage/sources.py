"""Where the figures that are asked for stand: the coarsest sums that have them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

import msgspec
from sqlalchemy import ColumnElement, Table, select

from claude_code_api.storage.tables import api_keys, usage_days, usage_hours, usage_totals
from claude_code_api.usage.sums import day_of, hour_of

By = Literal["key", "model", "credential", "day"]

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for. Hours of which `since` to `until` (now, if None) holds any part count whole."""

    since: datetime
    until: datetime | None = None
    key_id: str | None = None
    model: str | None = None
    credential_id: str | None = None


class Source(NamedTuple):
    """Rows of a table, and the column that has their time."""

    table: Table
    time: ColumnElement[datetime]
    wanted: list[ColumnElement[bool]]


def sources(by: By, asked: Filter) -> list[Source]:
    """Whole days where there are sums of them, hours before and after these. Together they count each request once."""
    since = hour_of(asked.since.astimezone(UTC))
    until = None if asked.until is None else _end(asked.until.astimezone(UTC), HOUR)
    first = _end(since, DAY)
    last = None if until is None else day_of(until)
    if not _has_days(by, asked) or (last is not None and last <= first):
        return [_hours(by, since, until, asked)]
    found = [_days(by, first, last, asked)]
    if since < first:
        found.append(_hours(by, since, first, asked))
    if last is not None and until is not None and last < until:
        found.append(_hours(by, last, until, asked))
    return found


def by_key_and_day(asked: Filter) -> Source:
    """All of each key, with days for which the time asked for holds any part counted whole."""
    since = day_of(asked.since.astimezone(UTC))
    until = None if asked.until is None else _end(asked.until.astimezone(UTC), DAY)
    return (_days if _has_days("key", asked) else _hours)("key", since, until, asked)


def _has_days(by: By, asked: Filter) -> bool:
    return asked.key_id is None and (by != "key" or asked.model is None)


def _days(by: By, since: datetime, until: datetime | None, asked: Filter) -> Source:
    if by == "key":
        return _source(usage_days, usage_days.c.day, since, until, asked)
    days = _source(usage_totals, usage_totals.c.begins_at, since, until, asked)
    return days._replace(wanted=[usage_totals.c.span == "day", *days.wanted])


def _hours(by: By, since: datetime, until: datetime | None, asked: Filter) -> Source:
    if by == "key" or asked.key_id is not None:
        return _source(usage_hours, usage_hours.c.hour, since, until, asked)
    hours = _source(usage_totals, usage_totals.c.begins_at, since, until, asked)
    return hours._replace(wanted=[usage_totals.c.span == "hour", *hours.wanted])


def _source(
    table: Table, time: ColumnElement[datetime], since: datetime, until: datetime | None, asked: Filter
) -> Source:
    wanted = [time >= since]
    if until is not None:
        wanted.append(time < until)
    if asked.key_id is not None:
        wanted.append(table.c.key_id == asked.key_id)
    if asked.model is not None:
        wanted.append(table.c.model == asked.model)
    if asked.credential_id is not None and table is usage_days:  # a key stays with its credential
        theirs = select(api_keys.c.id).where(api_keys.c.credential_id == asked.credential_id)
        wanted.append(table.c.key_id.in_(theirs))
    elif asked.credential_id is not None:
        wanted.append(table.c.credential_id == asked.credential_id)
    return Source(table, time, wanted)


def _end(moment: datetime, span: timedelta) -> datetime:
    """The end of the hour or day that holds it; where one begins just then, that beginning."""
    begin = hour_of(moment) if span == HOUR else day_of(moment)
    return begin if begin == moment else begin + span
