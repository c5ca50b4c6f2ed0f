"""Usage: the records of requests, their sums by the hour, and when each key was last used."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from claude_code_api.storage.tables import UTCDateTime

revision = "0003"
down_revision = "0002"

TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
FIRST_TOKEN = [f"first_token_{n}" for n in range(19)]


def numbers(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger, nullable=False) for name in names]


def upgrade() -> None:
    op.create_table(
        "usage_records",
        sa.Column("request_id", sa.String(40), nullable=False),
        sa.Column("key_id", sa.String(32), nullable=False),
        sa.Column("credential_id", sa.String(32), nullable=False),
        sa.Column("endpoint", sa.String(40), nullable=False),
        sa.Column("model", sa.String(100), nullable=False),
        sa.Column("stream", sa.Boolean, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("error", sa.String(64)),
        sa.Column("started_at", UTCDateTime, nullable=False),
        sa.Column("first_token_ms", sa.BigInteger),
        *numbers("duration_ms", *TOKENS),
        sa.Column("cost", sa.BigInteger),
        sa.PrimaryKeyConstraint("request_id", name="pk_usage_records"),
    )
    op.create_index("ix_usage_records_started_at", "usage_records", ["started_at"])
    op.create_index("ix_usage_records_key_id_started_at", "usage_records", ["key_id", "started_at"])
    op.create_table(
        "usage_hours",
        sa.Column("hour", UTCDateTime, nullable=False),
        sa.Column("key_id", sa.String(32), nullable=False),
        sa.Column("credential_id", sa.String(32), nullable=False),
        sa.Column("model", sa.String(100), nullable=False),
        sa.Column("status", sa.Integer, nullable=False, autoincrement=False),
        *numbers("requests", *TOKENS, "cost", "unpriced", "duration_ms", *FIRST_TOKEN),
        sa.PrimaryKeyConstraint("hour", "key_id", "credential_id", "model", "status", name="pk_usage_hours"),
    )
    op.create_index("ix_usage_hours_key_id_hour", "usage_hours", ["key_id", "hour"])
    op.create_table(
        "usage_last_uses",
        sa.Column("key_id", sa.String(32), nullable=False),
        sa.Column("credential_id", sa.String(32), nullable=False),
        sa.Column("used_at", UTCDateTime, nullable=False),
        sa.PrimaryKeyConstraint("key_id", "credential_id", name="pk_usage_last_uses"),
    )
    op.create_index("ix_usage_last_uses_credential_id", "usage_last_uses", ["credential_id"])
