"""Ways to find entries of the audit log by who did it, what was done and to what; and who spends most on a model."""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    for column in ("actor", "target", "action"):
        op.create_index(f"ix_audit_entries_{column}_number", "audit_entries", [column, "number"])
    columns = ["model", "key_id", "hour", "cost", "requests"]
    op.create_index("ix_usage_hours_model_key_id_hour_cost_requests", "usage_hours", columns)
