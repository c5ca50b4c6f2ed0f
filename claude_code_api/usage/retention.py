"""What is too old leaves the tables."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from claude_code_api.settings import Settings
from claude_code_api.storage.database import Database
from claude_code_api.storage.tables import usage_days, usage_hours, usage_records, usage_totals

MINUTES_KEPT = timedelta(hours=3)


async def tidy(database: Database, settings: Settings) -> None:
    """Deletes records and sums past their time."""
    await database.delete(usage_records, usage_records.c.started_at < records_from(settings))
    now = datetime.now(UTC)
    hours_from = now - timedelta(settings.usage_hours_days)
    await database.delete(usage_hours, usage_hours.c.hour < hours_from)
    await database.delete(usage_days, usage_days.c.day < hours_from - timedelta(days=1))
    for span, begin in (("minute", now - MINUTES_KEPT), ("hour", hours_from), ("day", hours_from - timedelta(days=1))):
        await database.delete(usage_totals, (usage_totals.c.span == span) & (usage_totals.c.begins_at < begin))


def records_from(settings: Settings) -> datetime:
    """The moment from which on there are records."""
    return datetime.now(UTC) - timedelta(settings.usage_days)
