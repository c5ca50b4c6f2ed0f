"""What ends with an administrator's password, role or place: sessions, second factor, tokens. Parts of a change."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, delete, select

from claude_code_api.audit import Change
from claude_code_api.storage.tables import (
    admin_sessions,
    admin_tokens,
    administrators,
    recovery_codes,
    second_factors,
)

_SESSIONS = admin_sessions.join(administrators, admin_sessions.c.administrator_id == administrators.c.id)


async def end_sessions(change: Change, administrator_id: str, except_id: str | None = None) -> int:
    """An administrator's sessions, but for the one that is named; how many they were."""
    these = admin_sessions.c.administrator_id == administrator_id
    if except_id is not None:
        these &= admin_sessions.c.id != except_id
    return await end_these_sessions(change, these)


async def end_these_sessions(change: Change, which: ColumnElement[bool]) -> int:
    row = admin_sessions.c
    query = select(row.id, row.administrator_id, administrators.c.name).select_from(_SESSIONS).where(which)
    ended = (await change.connection.execute(query)).all()
    await change.connection.execute(delete(admin_sessions).where(row.id.in_([each.id for each in ended])))
    for each in ended:
        await change.note("session.ended", each.administrator_id, session=each.id, name=each.name)
    return len(ended)


async def turn_off_second_factor(change: Change, administrator_id: str, name: str) -> bool:
    """Whether there was one."""
    this = second_factors.c.administrator_id == administrator_id
    on = await change.connection.scalar(select(second_factors.c.confirmed_at).where(this))
    await change.connection.execute(delete(second_factors).where(this))
    await change.connection.execute(delete(recovery_codes).where(recovery_codes.c.administrator_id == administrator_id))
    if on is not None:
        await change.note("second_factor.off", administrator_id, name=name)
    return on is not None


async def revoke_tokens(change: Change, administrator_id: str, roles: Iterable[str]) -> None:
    """Those that an administrator made, of these roles."""
    row = admin_tokens.c
    these = (row.administrator_id == administrator_id) & row.revoked_at.is_(None) & row.role.in_(list(roles))
    tokens = (await change.connection.execute(select(row.id, row.name).where(these))).all()
    await change.connection.execute(admin_tokens.update().where(these).values(revoked_at=datetime.now(UTC)))
    for each in tokens:
        await change.note("admin_token.revoked", each.id, name=each.name)
