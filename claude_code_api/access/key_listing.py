"""API keys, page by page: searched, filtered and sorted by the database, which 10,000 of them do not burden."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
from sqlalchemy import ColumnElement, and_, func, literal, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from claude_code_api.access import names
from claude_code_api.access.api_key import COLUMNS, LAST_USE, UNUSED_AFTER, ApiKey, api_key
from claude_code_api.storage.pages import Page, checked_limit, cursor_of, place_of, wrong_cursor
from claude_code_api.storage.tables import UTCDateTime, api_keys, credentials

State = Literal["live", "expired", "revoked", "unused"]
"""Unused ones live, too."""
Sort = Literal["name", "created_at", "last_used_at", "expires_at"]

BETWEEN = "\n"
"""No name has one."""
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_NEVER = datetime(9999, 1, 1, tzinfo=UTC)

# What is never used comes before all uses, what never ends behind all ends.
_ORDERS: dict[Sort, ColumnElement[Any]] = {
    "name": func.lower(api_keys.c.name),
    "created_at": api_keys.c.created_at.expression,
    "last_used_at": func.coalesce(LAST_USE.element, literal(_LONG_AGO, UTCDateTime), type_=UTCDateTime),
    "expires_at": func.coalesce(api_keys.c.expires_at, literal(_NEVER, UTCDateTime), type_=UTCDateTime),
}


def conditions(search: str, state: State | None, credential: str | None) -> list[ColumnElement[bool]]:
    """What a key must be to fit. `search` is a part of its name, id or hint, small and capital letters alike;
    `credential` is an id, or the name of one that is not removed.
    """
    wanted = []
    if sought := names.composed(search):
        texts = api_keys.c.name + BETWEEN + api_keys.c.id + BETWEEN + api_keys.c.hint  # one call of `lower` each
        # Both by the database, which has its own view of what is small: of a Turkish or Greek letter, and in some all.
        literally = re.sub("([/%_])", r"/\1", sought)
        wanted.append(func.lower(texts).contains(func.lower(literally), escape="/"))
    if state is not None:
        wanted.append(_in_state(state))
    if credential is not None:
        named = and_(credentials.c.name == credential, credentials.c.removed_at.is_(None))
        which = select(credentials.c.id).where(or_(credentials.c.id == credential, named))
        wanted.append(api_keys.c.credential_id.in_(which))
    return wanted


async def page(
    connection: AsyncConnection,
    wanted: list[ColumnElement[bool]],
    *,
    sort: Sort,
    descending: bool,
    after: str | None,
    limit: int,
) -> Page[ApiKey]:
    """InvalidRequest (`invalid_cursor`) for an `after` that belongs to another order."""
    order = _ORDERS[sort]
    place = tuple_(order, api_keys.c.id)
    beyond = list(wanted)
    if after is not None:
        reached = tuple_(*_read_place(after, sort, descending))
        beyond.append(place < reached if descending else place > reached)
    directed = (order.desc(), api_keys.c.id.desc()) if descending else (order, api_keys.c.id)
    # Apart, so that the last use is looked up for those that are shown, and not for all that are sorted.
    chosen = select(api_keys.c.id).where(*beyond).order_by(*directed).limit(checked_limit(limit) + 1)
    rows = await connection.execute(
        select(*COLUMNS, LAST_USE, order.label("place")).where(api_keys.c.id.in_(chosen)).order_by(*directed)
    )
    found = rows.mappings().all()
    total = await connection.scalar(select(func.count()).select_from(api_keys).where(*wanted))
    shown = found[:limit]
    more = len(found) > limit
    return Page(
        items=tuple(api_key({name: row[name] for name in row if name != "place"}) for row in shown),
        total=total or 0,
        next=cursor_of(sort, descending, shown[-1]["place"], shown[-1]["id"]) if more else None,
    )


async def live_by_credential(connection: AsyncConnection) -> dict[str, int]:
    on = api_keys.c.credential_id
    rows = await connection.execute(select(on, func.count()).where(_in_state("live")).group_by(on))
    return {credential: number for credential, number in rows}  # noqa: C416 - rows, not pairs


def _in_state(state: State) -> ColumnElement[bool]:
    now = datetime.now(UTC)
    ends, revoked = api_keys.c.expires_at, api_keys.c.revoked_at
    live = and_(revoked.is_(None), or_(ends.is_(None), ends > now))
    match state:
        case "live":
            return live
        case "expired":
            return and_(revoked.is_(None), ends <= now)
        case "revoked":
            return revoked.is_not(None)
        case "unused":
            used = func.coalesce(LAST_USE.element, api_keys.c.created_at, type_=UTCDateTime)
            return and_(live, used < now - UNUSED_AFTER)


def _read_place(after: str, sort: Sort, descending: bool) -> tuple[ColumnElement[Any], ColumnElement[str]]:
    sorted_by, direction, text, key_id = place_of(after, tuple[str, bool, str, str])
    if (sorted_by, direction) != (sort, descending):
        raise wrong_cursor()
    if sort == "name":
        return literal(text), literal(key_id)
    try:
        moment = msgspec.convert(text, datetime)
        if moment.tzinfo is None:
            raise wrong_cursor()
        return literal(moment.astimezone(UTC), UTCDateTime), literal(key_id)
    except (msgspec.ValidationError, OverflowError):
        raise wrong_cursor() from None
