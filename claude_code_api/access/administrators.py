"""Administrators and their passwords (policy A3, A5). There is no default one: an owner is made, or makes himself."""

from __future__ import annotations

import asyncio
import builtins
import hmac
import secrets
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import msgspec
from sqlalchemy import delete, exists, select
from sqlalchemy.ext.asyncio import AsyncConnection

from claude_code_api.access import endings, names
from claude_code_api.access.administrator import LONGEST_NAME_GIVEN, Administrator, Role, checked, grants, plain
from claude_code_api.access.names import COMMAND_LINE
from claude_code_api.access.password_hash import PasswordHasher, derived
from claude_code_api.access.password_rules import check_strength
from claude_code_api.audit import AuditLog, Change
from claude_code_api.errors import Conflict, NotFound, Overloaded, StorageFailure, Unauthenticated
from claude_code_api.secret import Secret
from claude_code_api.storage.database import Database
from claude_code_api.storage.tables import administrators, setup_links

DEFAULT_NAME = "admin"
LINK_GOOD_FOR = timedelta(hours=1)
TOKEN_BYTES = 32
SETUP_LINK = "set-up link"
"""Who makes a change that came by one."""

_COLUMNS = [column for column in administrators.c if column.name != "password_hash"]
_HAS_OWNER = select(exists().where(administrators.c.role == "owner"))


class Administrators:
    """The administrators of one database. Names are compared without regard to case, and kept in small letters."""

    def __init__(self, database: Database, pepper: bytes, audit: AuditLog, hasher: PasswordHasher) -> None:
        self._database = database
        self._audit = audit
        self._hasher = hasher
        self._mac = hmac.new(derived(pepper, "set-up links"), digestmod="sha256")

    async def list(self) -> builtins.list[Administrator]:
        """All of them, in the order in which they were made."""
        order = administrators.c.created_at, administrators.c.id
        async with self._database.read() as connection:
            rows = await connection.execute(select(*_COLUMNS).order_by(*order))
            return [Administrator(**row) for row in rows.mappings()]

    async def get(self, name: str) -> Administrator:
        """NotFound for an unknown name."""
        async with self._database.read() as connection:
            return await find_administrator(connection, name)

    async def has_owner(self) -> bool:
        async with self._database.read() as connection:
            return bool(await connection.scalar(_HAS_OWNER))

    async def check(self, name: str, password: Secret) -> Administrator:
        """The administrator of this name and password; Unauthenticated, always the same and at the same cost, else.

        A hash of less work than the setting asks for is made anew. Overloaded where too many are checked at once.
        """
        wanted = plain(name) if len(name) <= LONGEST_NAME_GIVEN else None
        async with self._database.read() as connection:
            rows = (await connection.execute(select(administrators))).mappings().all()
        row = next((dict(row) for row in rows if row["name"] == wanted), None)
        kept = None if row is None else row["password_hash"]
        matches = await self._hasher.matches(password, kept, [each["password_hash"] for each in rows])
        if row is None or not matches:
            raise Unauthenticated("The name or the password is wrong.", code="invalid_login")
        if self._hasher.is_outdated(row["password_hash"]):
            with suppress(Overloaded, StorageFailure):  # the next login will do it
                await self._hash_anew(row, password)
        del row["password_hash"]
        return Administrator(**row)

    async def set_password(self, name: str, password: Secret, *, by: str = COMMAND_LINE) -> Administrator:
        """A new password, which ends the administrator's sessions and turns his second factor off: the way back.

        Without an owner, the first one is made.

        InvalidRequest for a weak one, NotFound for an unknown name where there is an owner.
        """
        name = checked(name)
        kept = await self._hashed(password, name)
        now = datetime.now(UTC)
        async with self._audit.change(by, announced=True) as change:
            this = administrators.c.name == name
            row = (await change.connection.execute(select(*_COLUMNS).where(this))).mappings().one_or_none()
            if row is None:
                if await change.connection.scalar(_HAS_OWNER):
                    raise NotFound(f"There is no administrator {name!r}; `admin list` shows those that there are.")
                return await self._make_owner(change, name, kept)
            new = {"password_set_at": now, "sessions_valid_from": now}
            await change.connection.execute(administrators.update().where(this).values(**new, password_hash=kept))
            await change.note("administrator.password_set", row["id"], name=name)
            await endings.end_sessions(change, row["id"])
            await endings.turn_off_second_factor(change, row["id"], name)
        return Administrator(**{**row, **new})

    async def make_first(self, password: Secret, *, by: str) -> Administrator | None:
        """The owner `admin`, with this password; None where there is an owner already, whose password stays.

        InvalidRequest for a weak one, in both cases.
        """
        await asyncio.to_thread(check_strength, password, DEFAULT_NAME)
        if await self.has_owner():
            return None
        kept = await self._hasher.hash(password)
        async with self._audit.change(by, announced=True) as change:
            if await change.connection.scalar(_HAS_OWNER):
                return None
            return await self._make_owner(change, DEFAULT_NAME, kept)

    # --- roles ------------------------------------------------------------------------------------------

    async def set_role(self, name: str, role: Role, *, by: str = COMMAND_LINE) -> Administrator:
        """Holds at once, for sessions too; tokens of his that may more than he are revoked.

        NotFound for an unknown name, Conflict for the last owner.
        """
        async with self._audit.change(by, announced=True) as change:
            found = await find_administrator(change.connection, name)
            if found.role == role:
                return found
            await _not_the_last_owner(change.connection, found)
            this = administrators.c.id == found.id
            await change.connection.execute(administrators.update().where(this).values(role=role))
            await change.note("administrator.role_set", found.id, name=found.name, role=role, before=found.role)
            await endings.revoke_tokens(change, found.id, [each for each in get_args(Role) if not grants(role, each)])
        return msgspec.structs.replace(found, role=role)

    async def remove(self, name: str, *, by: str = COMMAND_LINE) -> Administrator:
        """With his sessions, second factor and tokens. NotFound for an unknown name, Conflict for the last owner."""
        async with self._audit.change(by, announced=True) as change:
            found = await find_administrator(change.connection, name)
            await _not_the_last_owner(change.connection, found)
            await endings.end_sessions(change, found.id)
            await endings.turn_off_second_factor(change, found.id, found.name)
            await endings.revoke_tokens(change, found.id, get_args(Role))
            await change.connection.execute(delete(administrators).where(administrators.c.id == found.id))
            await change.note("administrator.removed", found.id, name=found.name, role=found.role)
        return found

    # --- the one-time link ------------------------------------------------------------------------------

    async def new_setup_token(self, *, by: str) -> Secret | None:
        """What makes the first owner, once and within the hour; those from before end. None where there is an owner."""
        token = Secret(secrets.token_urlsafe(TOKEN_BYTES))
        ends = datetime.now(UTC) + LINK_GOOD_FOR
        async with self._audit.change(by) as change:
            if await change.connection.scalar(_HAS_OWNER):
                return None
            await change.connection.execute(delete(setup_links))
            await change.connection.execute(setup_links.insert().values(hash=self._hash(token), expires_at=ends))
            await change.note("administrator.setup_link_made", expires_at=ends)
        return token

    async def use_setup_token(self, token: Secret, name: str, password: Secret) -> Administrator:
        """Makes the owner. Unauthenticated, always the same, for a token that is unknown, used or past its time, and
        for any once there is an owner; InvalidRequest for a wrong name or a weak password, and the token stays good.
        """
        good = (setup_links.c.hash == self._hash(token)) & (setup_links.c.expires_at > datetime.now(UTC))
        async with self._database.read() as connection:
            if not await connection.scalar(select(exists().where(good))):
                raise _no_such_link()  # before any costly work: nobody has proved anything yet
        name = checked(name)
        kept = await self._hashed(password, name)
        async with self._audit.change(SETUP_LINK, announced=True) as change:
            used = await change.connection.execute(delete(setup_links).where(good))
            if used.rowcount != 1 or await change.connection.scalar(_HAS_OWNER):
                raise _no_such_link()
            return await self._make_owner(change, name, kept)

    # --- parts ------------------------------------------------------------------------------------------

    async def _make_owner(self, change: Change, name: str, kept: str) -> Administrator:
        now = datetime.now(UTC)
        row: dict[str, Any] = {
            "id": names.new_id("admin"),
            "name": name,
            "role": "owner",
            "password_set_at": now,
            "sessions_valid_from": now,
            "created_at": now,
            "created_by": change.by,
        }
        await change.connection.execute(delete(setup_links))
        await change.connection.execute(administrators.insert().values(**row, password_hash=kept))
        await change.note("administrator.created", row["id"], name=name, role="owner")
        return Administrator(**row)

    async def _hashed(self, password: Secret, name: str) -> str:
        await asyncio.to_thread(check_strength, password, name)
        return await self._hasher.hash(password)

    async def _hash_anew(self, row: dict[str, Any], password: Secret) -> None:
        """Only in the place of what was checked: a password that was changed meanwhile stays."""
        kept = await self._hasher.hash(password)
        checked = (administrators.c.id == row["id"]) & (administrators.c.password_hash == row["password_hash"])
        async with self._database.write() as connection:
            await connection.execute(administrators.update().where(checked).values(password_hash=kept))

    def _hash(self, token: Secret) -> bytes:
        mac = self._mac.copy()
        mac.update(token.reveal().encode(errors="surrogatepass"))
        return mac.digest()


async def find_administrator(connection: AsyncConnection, name: str) -> Administrator:
    """The same as a part of a transaction."""
    wanted = plain(name) if len(name) <= LONGEST_NAME_GIVEN else ""
    if not wanted.isprintable():  # nobody is called so, and not every database takes it
        wanted = ""
    query = select(*_COLUMNS).where(administrators.c.name == wanted)
    row = (await connection.execute(query)).mappings().one_or_none()
    if row is None:
        raise NotFound(f"There is no administrator {wanted[: names.LONGEST]!r}.", param="name")
    return Administrator(**row)


async def _not_the_last_owner(connection: AsyncConnection, administrator: Administrator) -> None:
    others = (administrators.c.role == "owner") & (administrators.c.id != administrator.id)
    if administrator.role == "owner" and not await connection.scalar(select(exists().where(others))):
        raise Conflict(f"{administrator.name!r} is the last owner; make another one first.", code="last_owner")


def _no_such_link() -> Unauthenticated:
    return Unauthenticated(
        "This link is not good (any more): it works once and for an hour, and only as long as there is no owner. "
        "A start without an owner prints a new one.",
        code="invalid_setup_link",
    )
