"""From the journal into the tables, in groups. A request counts once, however often its line is read."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import lru_cache

import structlog
from msgspec import structs
from sqlalchemy import Select, case, delete, insert, select
from sqlalchemy.dialects.sqlite import Insert
from sqlalchemy.ext.asyncio import AsyncConnection

from claude_code_api.storage.database import Database, insert_or
from claude_code_api.storage.tables import usage_hours, usage_last_uses, usage_records
from claude_code_api.usage.journal import Segment
from claude_code_api.usage.record import Record
from claude_code_api.usage.sums import add_to_all, add_to_hours, day_of, hour_of, rebuild_day

log = structlog.get_logger(__name__)

GROUP = 500
"""Records in one transaction: some milliseconds, which is how long another writer waits."""


@lru_cache
def _note_use(dialect: str) -> Insert:
    """Built once: for a few records that costs as much as to execute it."""
    uses = insert_or(dialect, usage_last_uses)
    known, given = usage_last_uses.c.used_at, uses.excluded.used_at
    return uses.on_conflict_do_update(
        index_elements=["key_id", "credential_id"], set_={"used_at": case((given > known, given), else_=known)}
    )


async def fold(database: Database, segment: Segment) -> None:
    """All records of a segment, which is deleted when the last of them is committed."""
    batches = segment.batches(GROUP)
    damaged = 0
    while batch := await asyncio.to_thread(next, batches, None):
        records, corrupt = batch
        damaged += corrupt
        if records:
            async with database.write() as connection:
                await add(connection, records)
    if damaged:
        log.warning("lines of the usage journal are damaged and were left out", lines=damaged, file=segment.path.name)
    await asyncio.to_thread(segment.remove)


async def add(connection: AsyncConnection, records: Iterable[Record]) -> int:
    """Adds what is not there yet, to the records and to the sums alike; how many those were."""
    given = {record.request_id: record for record in records}
    known = set(await connection.scalars(_known_among(list(given))))
    new = [record for request_id, record in given.items() if request_id not in known]
    if new:
        await connection.execute(insert(usage_records), [structs.asdict(record) for record in new])
        await add_to_all(connection, new)
        await _note_uses(connection, new)
    return len(new)


def _known_among(request_ids: list[str]) -> Select[str]:
    """Those that are there. A few lengths serve all, for every other statement stays in memory a while."""
    length = 1 << (len(request_ids) - 1).bit_length()
    padded = request_ids + request_ids[-1:] * (length - len(request_ids))
    return select(usage_records.c.request_id).where(usage_records.c.request_id.in_(padded))


async def rebuild_hours(database: Database, since: datetime) -> int:
    """Adds up anew, from the records, the hours that lie wholly after `since`, and the days that these are of; how
    many hours there were.
    """
    begin = hour_of(since) + timedelta(hours=1)
    async with database.read() as connection:
        moments = await connection.scalars(
            select(usage_records.c.started_at).where(usage_records.c.started_at >= begin)
        )
        hours = {hour_of(moment) for moment in moments}
        old = await connection.scalars(select(usage_hours.c.hour).where(usage_hours.c.hour >= begin).distinct())
        hours.update(old)
    for hour in sorted(hours):
        within = (usage_records.c.started_at >= hour) & (usage_records.c.started_at < hour + timedelta(hours=1))
        async with database.write() as connection:
            await connection.execute(delete(usage_hours).where(usage_hours.c.hour == hour))
            result = await connection.stream(select(usage_records).where(within))
            async for rows in result.mappings().partitions(GROUP):
                await add_to_hours(connection, [Record(**row) for row in rows])
    for day in sorted({day_of(hour) for hour in hours}):
        async with database.write() as connection:
            await rebuild_day(connection, day)
    return len(hours)


async def _note_uses(connection: AsyncConnection, records: list[Record]) -> None:
    """When each key last used each credential (policy K4, T6): no write of its own, it goes with the records."""
    last: dict[tuple[str, str], datetime] = {}
    for record in records:
        pair = (record.key_id, record.credential_id)
        last[pair] = max(record.started_at, last.get(pair, record.started_at))
    await connection.execute(
        _note_use(connection.dialect.name),
        [{"key_id": key, "credential_id": credential, "used_at": at} for (key, credential), at in last.items()],
    )
