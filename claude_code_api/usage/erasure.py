"""Erasing all that is recorded of what a key was used for (policy L6), out of the sums of all keys too."""

from __future__ import annotations

import asyncio

from sqlalchemy import delete, select, tuple_

from claude_code_api.audit import AuditLog
from claude_code_api.storage.database import DELETED_AT_ONCE, Database
from claude_code_api.storage.tables import usage_days, usage_hours, usage_last_uses, usage_records
from claude_code_api.usage.sums import take_from_totals


async def erase(database: Database, audit: AuditLog, key_id: str, name: str, *, by: str) -> int:
    """How many requests those were. The key itself stays, and the sums of all keys by minute, which pass within hours.

    What a server has not yet brought into the database is not erased: settle that before (`recorder.settle`).
    """
    erased = await database.delete(usage_records, usage_records.c.key_id == key_id)
    await _erase_hours(database, key_id)
    async with audit.change(by) as change:
        await change.connection.execute(usage_last_uses.delete().where(usage_last_uses.c.key_id == key_id))
        await change.note("key.usage_erased", key_id, name=name, requests=erased)
    return erased


async def _erase_hours(database: Database, key_id: str) -> None:
    """In groups small enough that nobody waits; each leaves sums that agree."""
    group = select(usage_hours).where(usage_hours.c.key_id == key_id).limit(DELETED_AT_ONCE)
    names = [column.name for column in usage_hours.primary_key]
    while True:
        async with database.write() as connection:
            rows = (await connection.execute(group)).mappings().all()
            if rows:
                await take_from_totals(connection, rows)
                gone = [tuple(row[name] for name in names) for row in rows]
                this = tuple_(*usage_hours.primary_key)
                await connection.execute(delete(usage_hours).where(this.in_(gone)))
            if len(rows) < DELETED_AT_ONCE:
                await connection.execute(delete(usage_days).where(usage_days.c.key_id == key_id))
                return
        await asyncio.sleep(0)
