"""API keys, credentials and the vault's own records."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from claude_code_api.storage.tables import UTCDateTime

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "vault_records",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("secret", sa.LargeBinary, nullable=False),
        sa.Column("created_at", UTCDateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_vault_records"),
    )
    op.create_table(
        "credentials",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("token", sa.LargeBinary),
        sa.Column("hint", sa.String(4), nullable=False),
        sa.Column("created_at", UTCDateTime, nullable=False),
        sa.Column("replaced_at", UTCDateTime),
        sa.Column("removed_at", UTCDateTime),
        sa.Column("refused_at", UTCDateTime),
        sa.Column("limit_status", sa.String(64)),
        sa.Column("limit_type", sa.String(64)),
        sa.Column("limit_resets_at", sa.BigInteger),
        sa.Column("limit_seen_at", UTCDateTime),
        sa.PrimaryKeyConstraint("id", name="pk_credentials"),
    )
    living = sa.text("removed_at IS NULL")
    op.create_index(
        "uq_credentials_name", "credentials", ["name"], unique=True, sqlite_where=living, postgresql_where=living
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
        sa.Column("checksummed", sa.Boolean, nullable=False),
        sa.Column("hint", sa.String(4), nullable=False),
        sa.Column("credential_id", sa.String(32), nullable=False),
        sa.Column("models", sa.JSON, nullable=False),
        sa.Column("rate_limit", sa.String(200)),
        sa.Column("created_at", UTCDateTime, nullable=False),
        sa.Column("created_by", sa.String(100), nullable=False),
        sa.Column("expires_at", UTCDateTime),
        sa.Column("revoked_at", UTCDateTime),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.UniqueConstraint("hash", name="uq_api_keys_hash"),
        sa.ForeignKeyConstraint(["credential_id"], ["credentials.id"], name="fk_api_keys_credential_id"),
    )
    op.create_index("ix_api_keys_name", "api_keys", ["name"])
    op.create_index("ix_api_keys_credential_id", "api_keys", ["credential_id"])
