"""Tokens for scripts of administrators: `adm-…`, each of one role and with an end (policy K1, T1)."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import msgspec
from sqlalchemy import select

from claude_code_api.access import key_text, names
from claude_code_api.access.administrator import Administrator, Role, grants
from claude_code_api.access.key_text import ADMIN_PREFIX
from claude_code_api.access.keyed_hash import KeyedHash
from claude_code_api.access.names import COMMAND_LINE, GATEWAY
from claude_code_api.audit import AuditLog, Refusals
from claude_code_api.errors import InvalidRequest, NotFound, PermissionDenied, StorageFailure, Unauthenticated
from claude_code_api.operations.addresses import shortened
from claude_code_api.secret import Secret
from claude_code_api.storage.database import Database
from claude_code_api.storage.tables import admin_tokens, administrators

GOOD_FOR = timedelta(days=90)
"""Unless another end is given."""
LONGEST = timedelta(days=366)
TOUCHED_EVERY = timedelta(minutes=1)
"""The last use is written down no more often."""

_COLUMNS = [column for column in admin_tokens.c if column.name != "hash"]


class AdminToken(msgspec.Struct, frozen=True, kw_only=True):
    """A token as it is shown; its text was shown once. `hint` is its last four characters.

    `administrator_id` is of whoever made it, None for the command line; `last_used_at` is true to the minute.
    """

    id: str
    name: str
    hint: str
    role: Role
    administrator_id: str | None
    created_at: datetime
    created_by: str
    expires_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None

    @property
    def is_live(self) -> bool:
        return self.revoked_at is None and datetime.now(UTC) < self.expires_at

    @property
    def actor(self) -> str:
        """What the audit log calls it where it does something; its id tells it from others of the same name."""
        return f"admin token {self.id} {self.name}"[: names.LONGEST]


class AdminTokens:
    """Stored as keyed hashes, as sessions are. Nothing is remembered in memory: a revoked one is refused at once."""

    def __init__(
        self,
        database: Database,
        pepper: bytes,
        audit: AuditLog,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._audit = audit
        self._hash = KeyedHash(pepper, "admin tokens")
        self._refusals = Refusals(audit, GATEWAY, "admin_token.refused")
        self._now = now

    async def create(
        self,
        name: str,
        role: Role,
        *,
        expires_at: datetime | None = None,
        maker: Administrator | None = None,
    ) -> tuple[AdminToken, Secret]:
        """A token, and its text, which cannot be had again. Without a maker it is the command line's.

        InvalidRequest for a wrong name or end; PermissionDenied where it could do more than its maker.
        """
        text, now = key_text.generate(ADMIN_PREFIX), self._now()
        ends = now + GOOD_FOR if expires_at is None else expires_at
        if ends.tzinfo is None or not now < ends <= now + LONGEST:
            raise InvalidRequest(
                f"A token's end lies in the future, {LONGEST.days} days at most, and has a time zone.",
                param="expires_at",
            )
        by = COMMAND_LINE if maker is None else maker.actor
        token = AdminToken(
            id=names.new_id("token"),
            name=names.checked(name),
            hint=text.hint,
            role=role,
            administrator_id=None if maker is None else maker.id,
            created_at=now,
            created_by=by,
            expires_at=ends.astimezone(UTC),
            last_used_at=None,
            revoked_at=None,
        )
        async with self._audit.change(by) as change:
            if maker is not None:  # as he is now, and stays until this is done
                row = select(administrators.c.role).where(administrators.c.id == maker.id)
                own = await change.connection.scalar(row)
                if own is None or not grants(own, role):
                    raise PermissionDenied("A token cannot do more than whoever makes it.", param="role")
            values = msgspec.structs.asdict(token)
            await change.connection.execute(admin_tokens.insert().values(**values, hash=self._hash.of(text)))
            await change.note("admin_token.created", token.id, name=token.name, role=role, until=token.expires_at)
        return token, text

    async def list(self) -> builtins.list[AdminToken]:
        """All of them, those that have ended too, in the order in which they were made."""
        order = admin_tokens.c.created_at, admin_tokens.c.id
        async with self._database.read() as connection:
            rows = await connection.execute(select(*_COLUMNS).order_by(*order))
            return [AdminToken(**row) for row in rows.mappings()]

    async def revoke(self, token_id: str, *, by: str = COMMAND_LINE) -> AdminToken:
        """Refused when this returns. Revoking again keeps the first time.

        NotFound for one that never was, InvalidRequest for what is no id.
        """
        this = admin_tokens.c.id == names.checked(token_id, "id")
        async with self._audit.change(by) as change:
            found = await change.connection.execute(select(*_COLUMNS).where(this))
            row = found.mappings().one_or_none()
            if row is None:
                raise NotFound("There is no such token; the list shows the ids of those that there are.")
            token = AdminToken(**row)
            if token.revoked_at is None:
                token = msgspec.structs.replace(token, revoked_at=self._now())
                await change.connection.execute(admin_tokens.update().where(this).values(revoked_at=token.revoked_at))
                await change.note("admin_token.revoked", token.id, name=token.name)
        return token

    async def check(self, presented: Secret, *, address: str = "") -> AdminToken:
        """The live token of this text; Unauthenticated, always the same, for any other, counted for the address."""
        token = await self._look_up(presented) if key_text.is_well_formed(presented, ADMIN_PREFIX) else None
        now = self._now()
        if token is None or token.revoked_at is not None or token.expires_at <= now:
            self._refusals.count(shortened(address))
            raise Unauthenticated(
                "The admin token is not valid: it is unknown, revoked or expired.", code="invalid_admin_token"
            )
        if token.last_used_at is None or now - token.last_used_at >= TOUCHED_EVERY:
            token = msgspec.structs.replace(token, last_used_at=now)
            with suppress(StorageFailure):  # who may read should, also where nothing can be written
                async with self._database.write() as connection:
                    this = admin_tokens.c.id == token.id
                    await connection.execute(admin_tokens.update().where(this).values(last_used_at=now))
        return token

    async def close(self) -> None:
        """Writes what is still to be told of refused tokens."""
        await self._refusals.close()

    async def _look_up(self, presented: Secret) -> AdminToken | None:
        this = admin_tokens.c.hash == self._hash.of(presented)
        async with self._database.read() as connection:
            row = (await connection.execute(select(*_COLUMNS).where(this))).mappings().one_or_none()
        return None if row is None else AdminToken(**row)
