"""The audit log by time, with the numbers at hand."""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.drop_index("ix_audit_entries_at", "audit_entries")
    op.create_index("ix_audit_entries_at_number", "audit_entries", ["at", "number"])
