"""Administrators, and the one-time link that makes the first."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from claude_code_api.storage.tables import UTCDateTime

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "administrators",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("password_hash", sa.String(100), nullable=False),
        sa.Column("password_set_at", UTCDateTime, nullable=False),
        sa.Column("sessions_valid_from", UTCDateTime, nullable=False),
        sa.Column("created_at", UTCDateTime, nullable=False),
        sa.Column("created_by", sa.String(100), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_administrators"),
        sa.UniqueConstraint("name", name="uq_administrators_name"),
    )
    op.create_table(
        "setup_links",
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
        sa.Column("expires_at", UTCDateTime, nullable=False),
        sa.PrimaryKeyConstraint("hash", name="pk_setup_links"),
    )
