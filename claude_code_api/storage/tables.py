"""The tables. Types are portable between SQLite and PostgreSQL; `migrations/` makes exactly these."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    text,
)


class UTCDateTime(TypeDecorator[datetime]):
    """A moment, kept in UTC. Goes in and comes out with its time zone; one without is refused."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment without a time zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Sealed(LargeBinary):
    """Bytes that the vault has sealed. Its tables have one primary key; a rotation finds every column of this type."""


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

vault_records = Table(
    "vault_records",
    metadata,
    Column("id", String(32), primary_key=True),  # what the secret is for: "pepper", …
    Column("secret", Sealed, nullable=False),
    Column("created_at", UTCDateTime, nullable=False),
)

# One row. What `storage/generation.py` is to the processes of one machine, this is to machines.
generation = Table(
    "generation",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("number", BigInteger, nullable=False),
)

credentials = Table(
    "credentials",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", String(100), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("token", Sealed),  # none once the credential is removed
    Column("hint", String(4), nullable=False),
    Column("created_at", UTCDateTime, nullable=False),
    Column("replaced_at", UTCDateTime),
    # A removed credential stays as a row without its token, because keys and usage refer to it.
    Column("removed_at", UTCDateTime),
    Column("refused_at", UTCDateTime),
    Column("limit_status", String(64)),
    Column("limit_type", String(64)),
    Column("limit_resets_at", BigInteger),  # seconds since the epoch
    Column("limit_seen_at", UTCDateTime),
)
Index(
    "uq_credentials_name",
    credentials.c.name,
    unique=True,
    sqlite_where=text("removed_at IS NULL"),
    postgresql_where=text("removed_at IS NULL"),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", String(100), nullable=False, index=True),
    Column("hash", LargeBinary(32), nullable=False, unique=True),  # HMAC-SHA-256 under the pepper
    Column("checksummed", Boolean, nullable=False),  # of our own form; an imported key may have any
    Column("hint", String(4), nullable=False),
    Column("credential_id", ForeignKey("credentials.id"), nullable=False, index=True),
    Column("models", JSON, nullable=False),  # a list of names; an empty one allows every model
    Column("rate_limit", String(200)),
    Column("created_at", UTCDateTime, nullable=False),
    Column("created_by", String(100), nullable=False),
    Column("expires_at", UTCDateTime),
    Column("revoked_at", UTCDateTime),
    Column("max_concurrent", Integer),  # requests at once; none of its own where it is empty
    Column("replaced_by", String(32)),  # the key that a rotation put in its place
)

# --- administrators -------------------------------------------------------------------------------------

administrators = Table(
    "administrators",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", String(100), nullable=False, unique=True),  # in small letters
    Column("role", String(16), nullable=False),  # owner, admin or viewer
    Column("password_hash", String(100), nullable=False),  # bcrypt of a pre-hash under the pepper
    Column("password_set_at", UTCDateTime, nullable=False),
    Column("sessions_valid_from", UTCDateTime, nullable=False),
    Column("created_at", UTCDateTime, nullable=False),
    Column("created_by", String(100), nullable=False),
)

setup_links = Table(
    "setup_links",
    metadata,
    Column("hash", LargeBinary(32), primary_key=True),  # HMAC-SHA-256 under the pepper
    Column("expires_at", UTCDateTime, nullable=False),
)

# Who was invited, and has not set a password yet.
invitations = Table(
    "invitations",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("hash", LargeBinary(32), nullable=False, unique=True),  # HMAC-SHA-256 under the pepper
    Column("name", String(100), nullable=False, unique=True),
    Column("role", String(16), nullable=False),
    Column("created_at", UTCDateTime, nullable=False),
    Column("created_by", String(100), nullable=False),
    Column("expires_at", UTCDateTime, nullable=False),
)

admin_sessions = Table(
    "admin_sessions",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("hash", LargeBinary(32), nullable=False, unique=True),  # HMAC-SHA-256 under the pepper
    Column("administrator_id", ForeignKey("administrators.id"), nullable=False, index=True),
    Column("valid_from", UTCDateTime, nullable=False),  # the administrator's `sessions_valid_from` at its beginning
    Column("created_at", UTCDateTime, nullable=False),
    Column("last_used_at", UTCDateTime, nullable=False),  # to the minute
    Column("ends_at", UTCDateTime, nullable=False),
    Column("address", String(64), nullable=False),
    Column("device", String(200), nullable=False),
)

second_factors = Table(
    "second_factors",
    metadata,
    Column("administrator_id", ForeignKey("administrators.id"), primary_key=True),
    Column("secret", Sealed, nullable=False),
    Column("created_at", UTCDateTime, nullable=False),
    Column("confirmed_at", UTCDateTime),  # not asked for before it was confirmed
    Column("last_step", BigInteger, nullable=False),  # the newest 30 seconds whose code was taken
)

recovery_codes = Table(
    "recovery_codes",
    metadata,
    Column("hash", LargeBinary(32), primary_key=True),  # HMAC-SHA-256 under the pepper, with the administrator's id
    Column("administrator_id", ForeignKey("administrators.id"), nullable=False, index=True),
)

admin_tokens = Table(
    "admin_tokens",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", String(100), nullable=False),
    Column("hash", LargeBinary(32), nullable=False, unique=True),  # HMAC-SHA-256 under the pepper
    Column("hint", String(4), nullable=False),
    Column("role", String(16), nullable=False),
    # No foreign key: a token that has ended stays for the record when its maker is removed.
    Column("administrator_id", String(32), index=True),  # none for the command line
    Column("created_at", UTCDateTime, nullable=False),
    Column("created_by", String(200), nullable=False),
    Column("expires_at", UTCDateTime, nullable=False),
    Column("last_used_at", UTCDateTime),  # to the minute
    Column("revoked_at", UTCDateTime),
)

# --- usage ----------------------------------------------------------------------------------------------

usage_records = Table(
    "usage_records",
    metadata,
    Column("request_id", String(40), primary_key=True),
    # No foreign keys: what was used stays true, whatever becomes of the key and the credential.
    Column("key_id", String(32), nullable=False),
    Column("credential_id", String(32), nullable=False),
    Column("endpoint", String(40), nullable=False),
    Column("model", String(100), nullable=False),
    Column("stream", Boolean, nullable=False),
    Column("status", Integer, nullable=False),
    Column("error", String(64)),
    Column("started_at", UTCDateTime, nullable=False, index=True),
    Column("first_token_ms", BigInteger),
    Column("duration_ms", BigInteger, nullable=False),
    Column("input_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    Column("cache_read_tokens", BigInteger, nullable=False),
    Column("cache_write_tokens", BigInteger, nullable=False),
    Column("reasoning_tokens", BigInteger, nullable=False),
    Column("cost", BigInteger),  # billionths of a US dollar; none where the price is unknown
    Index(None, "key_id", "started_at"),
)

FIRST_TOKEN_BOUNDS = (10, 20, 30, 50, 75, 100, 150, 200, 300, 500, 750, 1000, 1500, 2000, 3000, 5000, 10_000, 30_000)
"""Milliseconds; `first_token_N` counts answers whose first token came within the Nth bound, the last one all others."""

USAGE_SUMS = (
    "requests", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens",
    "cost",  # of those with a price
    "unpriced",  # requests without
    "duration_ms",
    *(f"first_token_{n}" for n in range(len(FIRST_TOKEN_BOUNDS) + 1)),
)  # fmt: skip
"""What is added up of requests."""


def _sums() -> list[Column[int]]:
    return [Column(name, BigInteger, nullable=False) for name in USAGE_SUMS]


usage_hours = Table(
    "usage_hours",
    metadata,
    Column("hour", UTCDateTime, primary_key=True),
    Column("key_id", String(32), primary_key=True),
    Column("credential_id", String(32), primary_key=True),
    Column("model", String(100), primary_key=True),
    Column("status", Integer, primary_key=True, autoincrement=False),
    *_sums(),
    Index(None, "key_id", "hour"),
    Index(None, "model", "key_id", "hour", "cost", "requests"),  # who spends most on a model
)

# Of all keys together, so that ten thousand of them cost a chart nothing.
usage_totals = Table(
    "usage_totals",
    metadata,
    Column("span", String(8), primary_key=True),  # minute, hour or day: each request counts in all three
    Column("begins_at", UTCDateTime, primary_key=True),
    Column("credential_id", String(32), primary_key=True),
    Column("model", String(100), primary_key=True),
    Column("status", Integer, primary_key=True, autoincrement=False),
    *_sums(),
)

usage_days = Table(
    "usage_days",
    metadata,
    Column("key_id", String(32), primary_key=True),
    Column("day", UTCDateTime, primary_key=True),  # its beginning
    Column("failed", BigInteger, nullable=False),
    *_sums(),
    Index(None, "key_id", "day", "cost", "requests"),  # who spends most, without a look into the table
)

usage_last_uses = Table(
    "usage_last_uses",
    metadata,
    Column("key_id", String(32), primary_key=True),
    Column("credential_id", String(32), primary_key=True, index=True),
    Column("used_at", UTCDateTime, nullable=False),
)

# --- the audit log --------------------------------------------------------------------------------------

audit_entries = Table(
    "audit_entries",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("at", UTCDateTime, nullable=False),
    Column("actor", String(200), nullable=False),
    Column("action", String(64), nullable=False),
    Column("target", String(200)),
    Column("details", Text, nullable=False),  # JSON, to the letter: the code binds its bytes
    Column("code", LargeBinary(32), nullable=False),
    # Who looks for a person or a thing does not walk through a million entries of others; nor who looks for a time.
    Index(None, "at", "number"),
    Index(None, "actor", "number"),
    Index(None, "target", "number"),
    Index(None, "action", "number"),
)
