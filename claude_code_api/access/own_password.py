"""An administrator's own password: proved anew before what matters, and changed (policy A2, A3)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import msgspec

from claude_code_api.access import endings
from claude_code_api.access.administrator import Administrator
from claude_code_api.access.administrators import Administrators
from claude_code_api.access.password_hash import PasswordHasher
from claude_code_api.access.password_rules import check_strength
from claude_code_api.access.throttle import Throttle
from claude_code_api.audit import AuditLog
from claude_code_api.errors import InvalidRequest, Overloaded, StorageFailure, Unauthenticated
from claude_code_api.secret import Secret
from claude_code_api.storage.tables import admin_sessions, administrators


class OwnPassword:
    def __init__(self, administrators: Administrators, audit: AuditLog, hasher: PasswordHasher) -> None:
        self.throttle = Throttle()
        self._administrators = administrators
        self._audit = audit
        self._hasher = hasher

    async def prove(self, administrator: Administrator, password: Secret) -> None:
        """Nothing where it is his (ASVS 5.0, 7.5.1): a session that somebody took is not enough for what matters.

        InvalidRequest with the code `wrong_password` otherwise; RateLimited where it is guessed.
        """
        attempt = self.throttle.begin(administrator.name, password, "", administrator.id)
        try:
            await self._administrators.check(administrator.name, password)
        except Unauthenticated:
            await self._audit.note(administrator.actor, "administrator.not_proved", administrator.id)
            raise InvalidRequest("This is not your password.", code="wrong_password", param="password") from None
        except (Overloaded, StorageFailure):
            attempt.take_back()
            raise
        attempt.take_back()

    async def change(
        self, administrator: Administrator, current: Secret, new: Secret, *, session_id: str | None = None
    ) -> Administrator:
        """Ends all his sessions but the one that is named.

        InvalidRequest for a weak one, or as for `prove`; Unauthenticated where somebody else changed it meanwhile.
        """
        await self.prove(administrator, current)
        await asyncio.to_thread(check_strength, new, administrator.name)
        kept = await self._hasher.hash(new)
        now = datetime.now(UTC)
        set_at = {"password_set_at": now, "sessions_valid_from": now}
        row = administrators.c
        this = (row.id == administrator.id) & (row.sessions_valid_from == administrator.sessions_valid_from)
        async with self._audit.change(administrator.actor, announced=True) as change:
            update = administrators.update().where(this).values(**set_at, password_hash=kept)
            if (await change.connection.execute(update)).rowcount != 1:
                raise Unauthenticated("This session has ended, or never was; sign in.", code="invalid_session")
            await change.note("administrator.password_changed", administrator.id, name=administrator.name)
            await endings.end_sessions(change, administrator.id, session_id)
            mine = (admin_sessions.c.id == session_id) & (admin_sessions.c.administrator_id == administrator.id)
            await change.connection.execute(admin_sessions.update().where(mine).values(valid_from=now))
        return msgspec.structs.replace(administrator, password_set_at=now, sessions_valid_from=now)
