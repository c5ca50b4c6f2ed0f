"""What is too old leaves the tables."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from claude_code_api.settings import Settings
from claude_code_api.storage.database import Database
from claude_code_api.storage.tables import usage_hours, usage_records


async def tidy(database: Database, settings: Settings) -> None:
    """Deletes records and hours past their time."""
    await database.delete(usage_records, usage_records.c.started_at < records_from(settings))
    hours_from = datetime.now(UTC) - timedelta(settings.usage_hours_days)
    await database.delete(usage_hours, usage_hours.c.hour < hours_from)


def records_from(settings: Settings) -> datetime:
    """The moment from which on there are records."""
    return datetime.now(UTC) - timedelta(settings.usage_days)
