"""Usage: sums of all keys together by minute, hour and day, and of each key by day; from the hours that there are."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from alembic import op

from claude_code_api.storage.tables import UTCDateTime

revision = "0008"
down_revision = "0007"

SUMS = (
    "requests", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens",
    "cost", "unpriced", "duration_ms", *(f"first_token_{n}" for n in range(19)),
)  # fmt: skip


def numbers(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger, nullable=False) for name in names]


def upgrade() -> None:
    totals = op.create_table(
        "usage_totals",
        sa.Column("span", sa.String(8), nullable=False),
        sa.Column("begins_at", UTCDateTime, nullable=False),
        sa.Column("credential_id", sa.String(32), nullable=False),
        sa.Column("model", sa.String(100), nullable=False),
        sa.Column("status", sa.Integer, nullable=False, autoincrement=False),
        *numbers(*SUMS),
        sa.PrimaryKeyConstraint("span", "begins_at", "credential_id", "model", "status", name="pk_usage_totals"),
    )
    days = op.create_table(
        "usage_days",
        sa.Column("key_id", sa.String(32), nullable=False),
        sa.Column("day", UTCDateTime, nullable=False),
        *numbers("failed", *SUMS),
        sa.PrimaryKeyConstraint("key_id", "day", name="pk_usage_days"),
    )
    op.create_index("ix_usage_days_key_id_day_cost_requests", "usage_days", ["key_id", "day", "cost", "requests"])
    fill(totals, days)


def fill(totals: sa.Table, days: sa.Table) -> None:
    group: list[Any] = [sa.column("credential_id"), sa.column("model"), sa.column("status")]
    hours = sa.table(
        "usage_hours", sa.column("hour", UTCDateTime), sa.column("key_id"), *group, *(sa.column(n) for n in SUMS)
    )
    sums = [sa.func.sum(hours.c[name]).label(name) for name in SUMS]
    failed = sa.func.sum(sa.case((hours.c.status == 200, 0), else_=hours.c.requests)).label("failed")
    connection = op.get_bind()
    moments = connection.execute(sa.select(hours.c.hour).distinct()).scalars()
    for day in sorted({moment.replace(hour=0) for moment in moments}):
        within = (hours.c.hour >= day) & (hours.c.hour < day + timedelta(days=1))
        whole = sa.literal(day, UTCDateTime)

        def add(table: sa.Table, *columns: Any, by: list[Any], within: Any = within) -> None:
            rows = sa.select(*columns).where(within).group_by(*by)
            connection.execute(table.insert().from_select([column.name for column in table.c], rows))

        add(totals, sa.literal("hour"), hours.c.hour, *group, *sums, by=[hours.c.hour, *group])
        add(totals, sa.literal("day"), whole, *group, *sums, by=group)
        add(days, hours.c.key_id, whole, failed, *sums, by=[hours.c.key_id])
