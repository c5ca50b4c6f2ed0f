"""One API key: as it is shown, and as it is read from the database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import RowMapping, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from claude_code_api.access import names
from claude_code_api.access.version import version_of
from claude_code_api.errors import Conflict, NotFound
from claude_code_api.storage.tables import api_keys, usage_last_uses

UNUSED_AFTER = timedelta(days=90)
"""A live key that nobody used for so long is pointed out (policy K5)."""

COLUMNS = [column for column in api_keys.c if column.name not in {"hash", "checksummed"}]
LAST_USE = (
    select(func.max(usage_last_uses.c.used_at)).where(usage_last_uses.c.key_id == api_keys.c.id).scalar_subquery()
).label("last_used_at")


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """An API key as it is shown; its text was shown once, when it was made.

    `hint` is its last four characters, `models` what it may use (empty: every model), `rate_limit` as in
    "100/minute", `max_concurrent` the answers that it may have under way at once. `last_used_at` comes from the
    usage records, without a write of its own; it is None until there are any, and for a key that was verified.
    """

    id: str
    name: str
    credential_id: str
    hint: str
    models: tuple[str, ...]
    rate_limit: str | None
    max_concurrent: int | None
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    replaced_by: str | None = None

    @property
    def version(self) -> str:
        """Another text once anything of it was changed; its use is no change."""
        return version_of(msgspec.structs.replace(self, last_used_at=None))

    @property
    def is_live(self) -> bool:
        return self.revoked_at is None and (self.expires_at is None or datetime.now(UTC) < self.expires_at)

    @property
    def is_unused(self) -> bool:
        """Whether it lives, and nobody has used it for long."""
        return self.is_live and datetime.now(UTC) - (self.last_used_at or self.created_at) > UNUSED_AFTER


def api_key(row: RowMapping | dict[str, Any]) -> ApiKey:
    return ApiKey(**{"last_used_at": None, **row, "models": tuple(row["models"])})


async def find_key(connection: AsyncConnection, id_or_name: str) -> ApiKey:
    sought = names.checked(id_or_name)
    rows = await connection.execute(
        select(*COLUMNS, LAST_USE)
        .where(or_(api_keys.c.id == sought, api_keys.c.name == sought))
        .order_by(api_keys.c.created_at.desc())
    )
    found = [api_key(row) for row in rows.mappings()]
    live = [key for key in found if key.is_live and not key.replaced_by]
    for key in found:
        if key.id == sought:
            return key
    if not found:
        raise NotFound(f"There is no API key {sought!r}.")
    if len(live) > 1:
        raise Conflict(f"{len(live)} API keys are named {sought!r}: use an id ({', '.join(key.id for key in live)}).")
    return (live or found)[0]
