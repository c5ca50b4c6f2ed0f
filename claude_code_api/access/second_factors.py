"""The second factor: an authenticator's codes, and recovery codes for when it is lost (policy A2, T2).

A code is taken once: the step of an authenticator's is written down, a recovery code's hash is erased, by a statement
of which only one of several at once can be the first. The authenticator's secret is sealed by the vault.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from claude_code_api.access import one_time_codes
from claude_code_api.access.administrator import Administrator
from claude_code_api.access.administrators import find_administrator
from claude_code_api.access.endings import turn_off_second_factor
from claude_code_api.access.keyed_hash import KeyedHash
from claude_code_api.access.names import COMMAND_LINE
from claude_code_api.access.one_time_codes import RECOVERY_CODES, is_of_time, new_recovery_code, steps_of, typed
from claude_code_api.access.own_password import OwnPassword
from claude_code_api.access.stored_vault import StoredVault
from claude_code_api.access.vault import Place
from claude_code_api.audit import AuditLog, Change
from claude_code_api.errors import Conflict, InvalidRequest, NotFound, Unauthenticated
from claude_code_api.secret import Secret
from claude_code_api.storage.database import Database
from claude_code_api.storage.tables import administrators, recovery_codes, second_factors

ISSUER = "Claude Code API"
CONFIRM_WITHIN = timedelta(hours=1)


class Enrolment(msgspec.Struct, frozen=True):
    """What goes into an authenticator: the secret to be typed, or the address, which the QR code (SVG) holds too."""

    secret: Secret
    address: Secret
    qr_code: Secret


class SecondFactor(msgspec.Struct, frozen=True):
    """That an administrator has one, since when, and how many recovery codes are left."""

    since: datetime
    recovery_codes: int


class SecondFactors:
    def __init__(
        self,
        database: Database,
        vault: StoredVault,
        pepper: bytes,
        audit: AuditLog,
        passwords: OwnPassword,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._vault = vault
        self._audit = audit
        self._passwords = passwords
        self._hash = KeyedHash(pepper, "recovery codes")
        self._clock = clock

    async def get(self, administrator_id: str) -> SecondFactor | None:
        async with self._database.read() as connection:
            return await _get(connection, administrator_id)

    async def administrators(self) -> set[str]:
        """The ids of those who have one."""
        query = select(second_factors.c.administrator_id).where(second_factors.c.confirmed_at.is_not(None))
        async with self._database.read() as connection:
            return set(await connection.scalars(query))

    # --- turning it on and off --------------------------------------------------------------------------

    async def begin(self, administrator: Administrator, password: Secret) -> Enrolment:
        """A new secret; nothing is asked for at a sign-in before `confirm`. Conflict where there is a second factor."""
        await self._passwords.prove(administrator, password)
        secret, this = one_time_codes.new_secret(), second_factors.c.administrator_id == administrator.id
        async with self._audit.change(administrator.actor) as change:
            connection = change.connection
            own = select(administrators.c.id).where(administrators.c.id == administrator.id)
            if await connection.scalar(own) is None:  # removed just now
                raise Unauthenticated("This session has ended, or never was; sign in.", code="invalid_session")
            if await _get(connection, administrator.id) is not None:
                raise Conflict("There is a second factor already; turn it off first.")
            sealed = await self._vault.seal(connection, secret, _place(administrator.id))
            row = {"secret": sealed, "created_at": self._now(), "last_step": 0}
            await connection.execute(delete(second_factors).where(this))
            await connection.execute(second_factors.insert().values(**row, administrator_id=administrator.id))
            await change.note("second_factor.begun", administrator.id, name=administrator.name)
        address = one_time_codes.address(secret, administrator.name, issuer=ISSUER)
        return Enrolment(one_time_codes.spelled(secret), address, await asyncio.to_thread(_qr_code, address))

    async def confirm(self, administrator: Administrator, code: str) -> list[Secret]:
        """Turns it on, and gives the recovery codes, which cannot be had again.

        InvalidRequest for a wrong code; NotFound where nothing was begun within the hour.
        """
        now, this = self._now(), second_factors.c.administrator_id == administrator.id
        begun = this & second_factors.c.confirmed_at.is_(None) & (second_factors.c.created_at > now - CONFIRM_WITHIN)
        async with self._audit.change(administrator.actor) as change:
            sealed = await change.connection.scalar(select(second_factors.c.secret).where(begun))
            if sealed is None:
                raise NotFound("No second factor is being set up; begin again.")
            secret = await self._vault.unseal(sealed, _place(administrator.id))
            given = typed(code)
            step = next(steps_of(secret, given, self._clock()), None) if is_of_time(given) else None
            if step is None:
                raise InvalidRequest(
                    "This is not the code that the authenticator shows now; is its clock right?",
                    code="invalid_code",
                    param="code",
                )
            on = second_factors.update().where(this).values(confirmed_at=now, last_step=step)
            await change.connection.execute(on)
            await change.note("second_factor.on", administrator.id, name=administrator.name)
            return await self._new_codes(change, administrator.id)

    async def turn_off(self, administrator: Administrator, password: Secret) -> None:
        """NotFound where there is none."""
        await self._passwords.prove(administrator, password)
        async with self._audit.change(administrator.actor) as change:
            if not await turn_off_second_factor(change, administrator.id, administrator.name):
                raise NotFound("There is no second factor.")

    async def new_recovery_codes(self, administrator: Administrator, password: Secret) -> list[Secret]:
        """Other ones; those from before are good for nothing. NotFound where there is no second factor."""
        await self._passwords.prove(administrator, password)
        async with self._audit.change(administrator.actor) as change:
            if await _get(change.connection, administrator.id) is None:
                raise NotFound("There is no second factor.")
            await change.note("second_factor.new_recovery_codes", administrator.id, name=administrator.name)
            return await self._new_codes(change, administrator.id)

    async def reset(self, name: str, *, by: str = COMMAND_LINE) -> bool:
        """Turns it off for somebody else; whether there was one. NotFound for an unknown name."""
        async with self._audit.change(by) as change:
            administrator = await find_administrator(change.connection, name)
            return await turn_off_second_factor(change, administrator.id, administrator.name)

    # --- at a sign-in -----------------------------------------------------------------------------------

    async def check(self, administrator: Administrator, code: str | None) -> None:
        """Nothing where there is no second factor, or the code is good, which it is just once.

        Unauthenticated with the code `code_required` where none is given, `invalid_code` for any other.
        """
        this = (second_factors.c.administrator_id == administrator.id) & second_factors.c.confirmed_at.is_not(None)
        async with self._database.read() as connection:
            sealed = await connection.scalar(select(second_factors.c.secret).where(this))
        if sealed is None:
            return
        given = typed(code or "")
        if not given:
            raise Unauthenticated("A one-time code is needed too.", code="code_required")
        if is_of_time(given):
            secret = await self._vault.unseal(sealed, _place(administrator.id))
            for step in steps_of(secret, given, self._clock()):
                async with self._database.write() as connection:
                    first = this & (second_factors.c.last_step < step)
                    taken = await connection.execute(second_factors.update().where(first).values(last_step=step))
                if taken.rowcount == 1:
                    return
        elif await self._take_recovery_code(administrator, given):
            return
        raise Unauthenticated("The one-time code is wrong, or was used already.", code="invalid_code")

    async def _take_recovery_code(self, administrator: Administrator, code: Secret) -> bool:
        mine = recovery_codes.c.administrator_id == administrator.id
        hashed = self._hash.of(code, administrator.id)
        async with self._audit.change(administrator.actor) as change:
            taken = await change.connection.execute(delete(recovery_codes).where(mine, recovery_codes.c.hash == hashed))
            if taken.rowcount != 1:
                return False
            left = await change.connection.scalar(select(func.count()).select_from(recovery_codes).where(mine))
            await change.note("second_factor.recovery_code_used", administrator.id, name=administrator.name, left=left)
            return True

    async def _new_codes(self, change: Change, administrator_id: str) -> list[Secret]:
        mine = recovery_codes.c.administrator_id == administrator_id
        codes = [new_recovery_code() for _ in range(RECOVERY_CODES)]
        rows: list[dict[str, Any]] = [
            {"hash": self._hash.of(typed(code.reveal()), administrator_id), "administrator_id": administrator_id}
            for code in codes
        ]
        await change.connection.execute(delete(recovery_codes).where(mine))
        await change.connection.execute(recovery_codes.insert(), rows)
        return codes

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)


async def _get(connection: AsyncConnection, administrator_id: str) -> SecondFactor | None:
    this = (second_factors.c.administrator_id == administrator_id) & second_factors.c.confirmed_at.is_not(None)
    since = await connection.scalar(select(second_factors.c.confirmed_at).where(this))
    mine = recovery_codes.c.administrator_id == administrator_id
    left = await connection.scalar(select(func.count()).select_from(recovery_codes).where(mine))
    return None if since is None else SecondFactor(since, left or 0)


def _qr_code(address: Secret) -> Secret:
    """An SVG element for a page: black on white in every colour scheme, and without a style of its own."""
    import segno  # reads files, which no start should wait for

    return Secret(segno.make(address.reveal(), error="m").svg_inline(scale=4, border=4, light="#fff"))


def _place(administrator_id: str) -> Place:
    return Place("second_factors.secret", administrator_id)
