"""What is too old leaves the tables, in small groups, so that nobody waits for it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from sqlalchemy import ColumnElement, Table, delete, select, tuple_

from claude_code_api.settings import Settings
from claude_code_api.storage.database import Database
from claude_code_api.storage.tables import usage_hours, usage_records

GROUP = 1000
"""Rows deleted in one transaction."""


async def tidy(database: Database, settings: Settings) -> None:
    """Deletes records and hours past their time."""
    now = datetime.now(UTC)
    records_from, hours_from = now - timedelta(settings.usage_days), now - timedelta(settings.usage_hours_days)
    await delete_in_groups(database, usage_records, usage_records.c.started_at < records_from)
    await delete_in_groups(database, usage_hours, usage_hours.c.hour < hours_from)


async def delete_in_groups(database: Database, table: Table, which: ColumnElement[bool]) -> int:
    """Deletes the rows for which `which` holds; how many those were."""
    key = tuple_(*table.primary_key)
    group = select(*table.primary_key).where(which).limit(GROUP)
    deleted = 0
    while True:
        async with database.write() as connection:
            count = (await connection.execute(delete(table).where(key.in_(group)))).rowcount
        deleted += count
        if count < GROUP:
            return deleted
        await asyncio.sleep(0)
