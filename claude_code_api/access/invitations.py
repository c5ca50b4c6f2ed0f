"""Invitations: how somebody becomes an administrator beside the owner. A link, good once, for one name and one role."""

from __future__ import annotations

import asyncio
import builtins
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, delete, exists, select

from claude_code_api.access import names
from claude_code_api.access.administrator import Administrator, Role, checked
from claude_code_api.access.keyed_hash import KeyedHash
from claude_code_api.access.names import COMMAND_LINE
from claude_code_api.access.password_hash import PasswordHasher
from claude_code_api.access.password_rules import check_strength
from claude_code_api.audit import AuditLog
from claude_code_api.errors import Conflict, NotFound, Unauthenticated
from claude_code_api.secret import Secret
from claude_code_api.storage.database import Database
from claude_code_api.storage.tables import administrators, invitations

GOOD_FOR = timedelta(days=1)
TOKEN_BYTES = 32
INVITATION = "invitation"
"""Who makes a change that came by one."""

_COLUMNS = [column for column in invitations.c if column.name != "hash"]


class Invitation(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str
    role: Role
    created_at: datetime
    created_by: str
    expires_at: datetime


class Invitations:
    def __init__(self, database: Database, pepper: bytes, audit: AuditLog, hasher: PasswordHasher) -> None:
        self._database = database
        self._audit = audit
        self._hasher = hasher
        self._hash = KeyedHash(pepper, "invitations")

    async def invite(self, name: str, role: Role, *, by: str = COMMAND_LINE) -> tuple[Invitation, Secret]:
        """And the token, which cannot be had again; one from before for the same name ends.

        InvalidRequest for a name that cannot be, Conflict where there is one of this name, or no owner yet.
        """
        token, now = Secret(secrets.token_urlsafe(TOKEN_BYTES)), datetime.now(UTC)
        invitation = Invitation(
            id=names.new_id("invitation"),
            name=checked(name),
            role=role,
            created_at=now,
            created_by=by[: names.LONGEST],
            expires_at=now + GOOD_FOR,
        )
        async with self._audit.change(by) as change:
            connection = change.connection
            if not await connection.scalar(select(exists().where(administrators.c.role == "owner"))):
                raise Conflict("There is no owner yet; `admin set-password` makes one.")
            if await connection.scalar(select(exists().where(administrators.c.name == invitation.name))):
                raise Conflict(f"There is an administrator {invitation.name!r} already.", param="name")
            over = (invitations.c.name == invitation.name) | (invitations.c.expires_at <= now)
            await connection.execute(delete(invitations).where(over))
            row = msgspec.structs.asdict(invitation)
            await connection.execute(invitations.insert().values(**row, hash=self._hash.of(token)))
            await change.note(
                "administrator.invited",
                invitation.id,
                name=invitation.name,
                role=role,
                until=invitation.expires_at,
            )
        return invitation, token

    async def list(self) -> builtins.list[Invitation]:
        """Those that are good, in the order in which they were made."""
        query = select(*_COLUMNS).where(invitations.c.expires_at > datetime.now(UTC))
        async with self._database.read() as connection:
            rows = await connection.execute(query.order_by(invitations.c.created_at, invitations.c.id))
            return [Invitation(**row) for row in rows.mappings()]

    async def withdraw(self, invitation_id: str, *, by: str = COMMAND_LINE) -> None:
        """NotFound for one that is used, or never was; InvalidRequest for what is no id."""
        this = invitations.c.id == names.checked(invitation_id, "id")
        async with self._audit.change(by) as change:
            name = await change.connection.scalar(select(invitations.c.name).where(this))
            if name is None:
                raise NotFound("There is no such invitation (any more).")
            await change.connection.execute(delete(invitations).where(this))
            await change.note("administrator.invitation_withdrawn", invitation_id, name=name)

    async def find(self, token: Secret) -> Invitation | None:
        """The invitation of this token, as long as it is good."""
        async with self._database.read() as connection:
            row = (await connection.execute(select(*_COLUMNS).where(self._good(token)))).mappings().one_or_none()
        return None if row is None else Invitation(**row)

    async def accept(self, token: Secret, password: Secret) -> Administrator:
        """Makes the administrator. Unauthenticated, always the same, for a token that is not good (any more);
        InvalidRequest for a weak password, and the token stays good.
        """
        invitation = await self.find(token)
        if invitation is None:
            raise _not_good()  # before any costly work: nobody has proved anything yet
        await asyncio.to_thread(check_strength, password, invitation.name)
        kept = await self._hasher.hash(password)
        now = datetime.now(UTC)
        row: dict[str, Any] = {
            "id": names.new_id("admin"),
            "name": invitation.name,
            "role": invitation.role,
            "password_set_at": now,
            "sessions_valid_from": now,
            "created_at": now,
            "created_by": invitation.created_by,
        }
        async with self._audit.change(INVITATION, announced=True) as change:
            used = await change.connection.execute(delete(invitations).where(self._good(token)))
            taken = exists().where(administrators.c.name == invitation.name)
            if used.rowcount != 1 or await change.connection.scalar(select(taken)):
                raise _not_good()
            await change.connection.execute(administrators.insert().values(**row, password_hash=kept))
            await change.note("administrator.created", row["id"], name=row["name"], role=row["role"])
        return Administrator(**row)

    def _good(self, token: Secret) -> ColumnElement[bool]:
        return (invitations.c.hash == self._hash.of(token)) & (invitations.c.expires_at > datetime.now(UTC))


def _not_good() -> Unauthenticated:
    return Unauthenticated(
        "This invitation is not good (any more): it works once and for a day. Ask for a new one.",
        code="invalid_invitation",
    )
