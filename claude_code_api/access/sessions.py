"""Administrators' sessions, kept on the server (policy A2, A4). The database holds hashes alone."""

from __future__ import annotations

import builtins
import secrets
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import RowMapping, delete, or_, select

from claude_code_api.access import endings, names
from claude_code_api.access.administrator import Administrator
from claude_code_api.access.keyed_hash import KeyedHash
from claude_code_api.access.names import COMMAND_LINE
from claude_code_api.audit import AuditLog, Change
from claude_code_api.errors import NotFound, StorageFailure, Unauthenticated
from claude_code_api.operations.addresses import shortened
from claude_code_api.operations.redaction import redact
from claude_code_api.secret import Secret
from claude_code_api.settings import Settings
from claude_code_api.storage.database import Database
from claude_code_api.storage.tables import admin_sessions, administrators

SECRET_BYTES = 32
MOST = 20
"""Sessions of one administrator; one more ends the one that was not used for the longest."""
TOUCHED_EVERY = timedelta(minutes=1)
"""The last use is written down no more often."""
LONGEST_ADDRESS = 64
LONGEST_DEVICE = 200

_ADMINISTRATOR = [
    column.label(f"administrator_{column.name}") for column in administrators.c if column.name != "password_hash"
]
_SESSION = [column for column in admin_sessions.c if column.name not in {"hash", "administrator_id"}]
_JOINED = admin_sessions.join(administrators, admin_sessions.c.administrator_id == administrators.c.id)


class ListedSession(msgspec.Struct, frozen=True, kw_only=True):
    """A session as it is listed. `device` is what the browser calls itself; `last_used_at` is true to the minute."""

    id: str
    administrator: Administrator
    created_at: datetime
    last_used_at: datetime
    ends_at: datetime
    address: str
    device: str


class Session(ListedSession, frozen=True, kw_only=True):
    """The session of whoever showed its secret. `csrf_token` goes into its forms; it is made from the secret."""

    csrf_token: Secret


class Sessions:
    """The identifier is random (256 bits) and new at every sign-in; nothing that a browser brought becomes one."""

    def __init__(
        self,
        database: Database,
        pepper: bytes,
        audit: AuditLog,
        settings: Settings,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._audit = audit
        self._hash = KeyedHash(pepper, "sessions")
        self._csrf = KeyedHash(pepper, "forms of sessions")
        self._longest = timedelta(hours=settings.session_hours)
        self._idle = timedelta(minutes=settings.session_idle_minutes)
        self._now = now

    async def begin(self, administrator: Administrator, *, address: str, device: str) -> tuple[Session, Secret]:
        """A session and its secret, for an administrator who has just proved who he is.

        Unauthenticated where his password was changed, or he was removed, since then.
        """
        secret, now = Secret(secrets.token_urlsafe(SECRET_BYTES)), self._now()
        row: dict[str, Any] = {
            "id": names.new_id("session"),
            "created_at": now,
            "last_used_at": now,
            "ends_at": now + self._longest,
            "address": address[:LONGEST_ADDRESS],
            "device": _shown(device),
        }
        async with self._audit.change(administrator.actor) as change:
            connection = change.connection
            # A password that is being changed comes before or after this.
            this = select(administrators.c.sessions_valid_from).where(administrators.c.id == administrator.id)
            if await connection.scalar(this) != administrator.sessions_valid_from:
                raise Unauthenticated("The name or the password is wrong.", code="invalid_login")
            await self._make_room(change, administrator.id)
            values = {"administrator_id": administrator.id, "valid_from": administrator.sessions_valid_from}
            await connection.execute(admin_sessions.insert().values(**row, **values, hash=self._hash.of(secret)))
            await change.note(
                "session.begun",
                administrator.id,
                session=row["id"],
                name=administrator.name,
                address=shortened(address),
            )
        return Session(**row, administrator=administrator, csrf_token=self._csrf_token(secret)), secret

    async def check(self, secret: Secret) -> Session:
        """The live session of this secret; Unauthenticated, always the same, for any other."""
        this = admin_sessions.c.hash == self._hash.of(secret)
        async with self._database.read() as connection:
            found = await connection.execute(select(*_SESSION, *_ADMINISTRATOR).select_from(_JOINED).where(this))
            row = found.mappings().one_or_none()
        now = self._now()
        if row is None or not self._is_live(row, now):
            raise Unauthenticated("This session has ended, or never was; sign in.", code="invalid_session")
        touched = now if now - row["last_used_at"] >= TOUCHED_EVERY else row["last_used_at"]
        if touched is now:
            with suppress(StorageFailure):  # who may read should, also where nothing can be written
                async with self._database.write() as connection:
                    await connection.execute(admin_sessions.update().where(this).values(last_used_at=now))
        return Session(**{**self._told(row), "last_used_at": touched}, csrf_token=self._csrf_token(secret))

    async def list(self, administrator_id: str | None = None) -> builtins.list[ListedSession]:
        """The live sessions, of one administrator or of all, the one used last first."""
        query = select(*_SESSION, *_ADMINISTRATOR).select_from(_JOINED)
        if administrator_id is not None:
            query = query.where(admin_sessions.c.administrator_id == administrator_id)
        now = self._now()
        async with self._database.read() as connection:
            rows = await connection.execute(query.order_by(admin_sessions.c.last_used_at.desc(), admin_sessions.c.id))
            return [ListedSession(**self._told(row)) for row in rows.mappings() if self._is_live(row, now)]

    async def end(self, session_id: str, *, by: str = COMMAND_LINE, administrator_id: str | None = None) -> None:
        """Its secret is good for nothing when this returns. NotFound, also for one that is not this administrator's;
        InvalidRequest for what is no id.
        """
        this = admin_sessions.c.id == names.checked(session_id, "id")
        if administrator_id is not None:
            this &= admin_sessions.c.administrator_id == administrator_id
        async with self._audit.change(by) as change:
            if not await endings.end_these_sessions(change, this):
                raise NotFound("There is no such session (any more).", param="session")

    async def end_all(self, administrator_id: str, except_id: str | None = None, *, by: str = COMMAND_LINE) -> int:
        """Ends an administrator's sessions, but for the one that is named; how many they were."""
        async with self._audit.change(by) as change:
            return await endings.end_sessions(change, administrator_id, except_id)

    # --- parts ------------------------------------------------------------------------------------------

    def _is_live(self, row: RowMapping, now: datetime) -> bool:
        """A setting that was lowered meanwhile counts for older sessions too."""
        ends_at: datetime = min(row["ends_at"], row["created_at"] + self._longest, row["last_used_at"] + self._idle)
        unchanged: bool = row["valid_from"] == row["administrator_sessions_valid_from"]
        return unchanged and now < ends_at

    def _told(self, row: RowMapping) -> dict[str, Any]:
        prefix = "administrator_"
        administrator = {name.removeprefix(prefix): row[name] for name in row if name.startswith(prefix)}
        told = {name: row[name] for name in ListedSession.__struct_fields__ if name != "administrator"}
        ends_at = min(row["ends_at"], row["created_at"] + self._longest)
        return {**told, "ends_at": ends_at, "administrator": Administrator(**administrator)}

    async def _make_room(self, change: Change, administrator_id: str) -> None:
        """For one more: removes all that have ended by themselves, and the oldest where there are too many."""
        row, now = admin_sessions.c, self._now()
        ended = or_(row.ends_at <= now, row.created_at <= now - self._longest, row.last_used_at <= now - self._idle)
        await change.connection.execute(delete(admin_sessions).where(ended))
        his = select(row.id).where(row.administrator_id == administrator_id).order_by(row.last_used_at.desc(), row.id)
        too_many = (await change.connection.scalars(his.offset(MOST - 1))).all()
        await endings.end_these_sessions(change, row.id.in_(too_many))

    def _csrf_token(self, secret: Secret) -> Secret:
        return Secret(self._csrf.of(secret).hex())


def _shown(device: str) -> str:
    """What a browser says of itself, as one short line without anything that looks like a secret."""
    line = "".join(sign if sign.isprintable() else " " for sign in device[: 4 * LONGEST_DEVICE])
    return redact(" ".join(line.split()))[:LONGEST_DEVICE]
