"""Sessions, second factors, invitations and tokens of administrators."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from claude_code_api.storage.tables import UTCDateTime

revision = "0007"
down_revision = "0006"


def moment(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, UTCDateTime, nullable=nullable)


def administrator_of(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["administrator_id"], ["administrators.id"], name=f"fk_{table}_administrator_id")


def upgrade() -> None:
    op.create_table(
        "invitations",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        moment("created_at"),
        sa.Column("created_by", sa.String(100), nullable=False),
        moment("expires_at"),
        sa.PrimaryKeyConstraint("id", name="pk_invitations"),
        sa.UniqueConstraint("hash", name="uq_invitations_hash"),
        sa.UniqueConstraint("name", name="uq_invitations_name"),
    )
    op.create_table(
        "admin_sessions",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
        sa.Column("administrator_id", sa.String(32), nullable=False),
        moment("valid_from"),
        moment("created_at"),
        moment("last_used_at"),
        moment("ends_at"),
        sa.Column("address", sa.String(64), nullable=False),
        sa.Column("device", sa.String(200), nullable=False),
        administrator_of("admin_sessions"),
        sa.PrimaryKeyConstraint("id", name="pk_admin_sessions"),
        sa.UniqueConstraint("hash", name="uq_admin_sessions_hash"),
    )
    op.create_index("ix_admin_sessions_administrator_id", "admin_sessions", ["administrator_id"])
    op.create_table(
        "second_factors",
        sa.Column("administrator_id", sa.String(32), nullable=False),
        sa.Column("secret", sa.LargeBinary, nullable=False),
        moment("created_at"),
        moment("confirmed_at", nullable=True),
        sa.Column("last_step", sa.BigInteger, nullable=False),
        administrator_of("second_factors"),
        sa.PrimaryKeyConstraint("administrator_id", name="pk_second_factors"),
    )
    op.create_table(
        "recovery_codes",
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
        sa.Column("administrator_id", sa.String(32), nullable=False),
        administrator_of("recovery_codes"),
        sa.PrimaryKeyConstraint("hash", name="pk_recovery_codes"),
    )
    op.create_index("ix_recovery_codes_administrator_id", "recovery_codes", ["administrator_id"])
    op.create_table(
        "admin_tokens",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
        sa.Column("hint", sa.String(4), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("administrator_id", sa.String(32)),
        moment("created_at"),
        sa.Column("created_by", sa.String(200), nullable=False),
        moment("expires_at"),
        moment("last_used_at", nullable=True),
        moment("revoked_at", nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_admin_tokens"),
        sa.UniqueConstraint("hash", name="uq_admin_tokens_hash"),
    )
    op.create_index("ix_admin_tokens_administrator_id", "admin_tokens", ["administrator_id"])
